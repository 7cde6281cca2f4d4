"""Waiting model calls of batches' runs, gathered into vendors' batches, submitted once, looked after until they end.

All of it is by rows, a short transaction at a time, and may die anywhere: `VendorBatch.due_at` brings it to somebody
else. What must not happen twice is the submission: it is noted before it is sent, and one of which nobody knows whether
it arrived is looked for at the vendor.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Max, Min, Sum

from conversations import vendor_results
from conversations.models import ACTIVE
from conversations.vendor_models import CallState, VendorBatch, VendorBatchState, VendorCall
from core.db import release_connection
from core.time import now
from providers import batching
from providers.clients.base import Credential
from providers.clients.batching import Batching, Line, NotMade, Submission, Undecided, Wanted
from providers.errors import AuthenticationFailed, ProviderError
from providers.use import note_use

log = logging.getLogger(__name__)

MOST_CALLS = 5_000
MOST_BYTES = 32_000_000
MOST_A_ROUND = 20
HELD = timedelta(minutes=10)  # longer than anything here may take
POLL = timedelta(seconds=30)
ARRIVED_BY = timedelta(minutes=3)  # what was sent and is not listed by then has not arrived
LATE = timedelta(hours=26)  # vendors end a batch after 24
MOST_FAILURES = 10
_LOCK = 0x76656E64
_TRANSIENT = frozenset({408, 409, 429})


class Overtaken(Exception):
    """Somebody else has taken the batch over: what we know of it is old."""


def tend() -> int:
    """One round; how many vendor batches were looked at."""
    vendor_results.drop_unwanted()
    gather()
    looked_at = 0
    while looked_at < MOST_A_ROUND and (batch := _take()) is not None:
        looked_at += 1
        _tend(batch)
    vendor_results.trace_left_behind()
    return looked_at


# Gathering


def gather() -> int:
    """Make batches of calls that wait: once none has joined them for a while, or they have waited long."""
    key = ("organization_id", "provider_id", "provider_name", "dialect", "model")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        waiting = VendorCall.objects.filter(state=CallState.WAITING)
        groups: Any = (
            waiting.order_by()
            .values(*key)
            .annotate(count=Count("pk"), size=Sum("request_bytes"), first=Min("created_at"), last=Max("created_at"))
        )
        return sum(_gather({name: group[name] for name in key}) for group in list(groups) if _is_ready(group))


def _is_ready(group: dict[str, Any]) -> bool:
    quiet, at = timedelta(seconds=settings.BATCH_GATHER_S), now()
    full = group["count"] >= MOST_CALLS or group["size"] >= MOST_BYTES
    return full or group["last"] + quiet <= at or group["first"] + 5 * quiet <= at


def _gather(key: dict[str, Any]) -> int:
    """All of a group, in as many batches as it takes."""
    left = list(
        VendorCall.objects.filter(**key, state=CallState.WAITING)
        .order_by("created_at")
        .values_list("pk", "request_bytes")
    )
    made = 0
    while left:
        taken, size = 0, 0
        while taken < min(len(left), MOST_CALLS) and (not taken or size + left[taken][1] <= MOST_BYTES):
            size += left[taken][1]
            taken += 1
        ids, left = [pk for pk, _ in left[:taken]], left[taken:]
        batch = VendorBatch.objects.create(**key, call_count=len(ids), due_at=now())
        VendorCall.objects.filter(pk__in=ids).update(state=CallState.GIVEN, batch=batch)
        made += 1
    return made


# One batch, one step further


@transaction.atomic
def _take() -> VendorBatch | None:
    """Who dies over it leaves it to another."""
    due = VendorBatch.objects.filter(due_at__lte=now()).order_by("due_at")
    batch = due.select_for_update(skip_locked=True).first()
    if batch is not None:
        batch.due_at = now() + HELD
        batch.save(update_fields=["due_at"])
    return batch


def _tend(batch: VendorBatch) -> None:
    credential = _credential(batch)
    api = batching.batching_of(credential) if credential else None
    if credential is None or api is None:
        why = AuthenticationFailed("The provider that this batch was made for is gone, or its key cannot be read.")
        vendor_results.give_up(batch, why, None)
        return
    step = {
        VendorBatchState.GATHERED: _submit,
        VendorBatchState.SUBMITTING: _find,
        VendorBatchState.SENT: _look,
    }[VendorBatchState(batch.state)]
    release_connection()
    try:
        try:
            step(batch, api)
        except ProviderError as error:
            _failed(batch, error)
    except Overtaken:
        log.warning("%s was taken over by another worker", batch.pk)


def _credential(batch: VendorBatch) -> Credential | None:
    return batching.credential_of(str(batch.organization_id), batch.provider_id, batch.provider_name, batch.dialect)


def _failed(batch: VendorBatch, error: ProviderError) -> None:
    """Again later, unless the vendor has refused it for good, or for too long."""
    note_use(batch.provider_id or None, error)
    refused = 400 <= (error.upstream_status or 0) < 500 and error.upstream_status not in _TRANSIENT
    failures, is_late = batch.failures + 1, batch.created_at < now() - LATE
    log.warning("%s (%s): %s", batch.pk, batch.state, error.message)
    unsent = batch.state == VendorBatchState.GATHERED
    if (
        is_late
        or (refused and (unsent or batch.state == VendorBatchState.SENT))
        or (unsent and failures > MOST_FAILURES)
    ):
        vendor_results.give_up(batch, error, _credential(batch))
        return
    wait = POLL * min(2 ** (failures - 1), 20)
    _save(batch, error=error.message[:2000], failures=failures, due_at=now() + wait)


def _save(batch: VendorBatch, **changes: Any) -> None:
    """As long as it is ours. Raises Overtaken."""
    mine = VendorBatch.objects.filter(pk=batch.pk, due_at=batch.due_at)
    if not mine.update(**changes, updated_at=now()):
        raise Overtaken(batch.pk)
    for name, value in changes.items():
        setattr(batch, name, value)


def _submit(batch: VendorBatch, api: Batching) -> None:
    vendor_results.drop_unwanted(batch)
    lines = _lines(batch)
    if not lines:
        _save(batch, state=VendorBatchState.ENDED, call_count=0, ended_at=now(), due_at=None)
        return
    release_connection()
    name = str(batch.pk)
    file_id = batch.file_id if batch.call_count == len(lines) else ""
    if not file_id:
        file_id = api.prepare(Submission(name=name, lines=lines))
    noted = {"state": VendorBatchState.SUBMITTING, "submitted_at": now(), "call_count": len(lines)}
    _save(batch, file_id=file_id, **noted)
    release_connection()
    try:
        vendor_id = api.submit(Submission(name=name, lines=lines, prepared=file_id))
    except ProviderError as error:
        if error.upstream_status is not None and 400 <= error.upstream_status < 500 and error.upstream_status != 408:
            _save(batch, state=VendorBatchState.GATHERED)  # it was read and refused: it is not there
        raise
    _arrived(batch, vendor_id)


def _lines(batch: VendorBatch) -> list[Line]:
    calls = batch.calls.filter(state=CallState.GIVEN).order_by("pk").values_list("pk", "request")
    return [Line(pk, bytes(request)) for pk, request in calls]


def _arrived(batch: VendorBatch, vendor_id: str) -> None:
    note_use(batch.provider_id or None)
    sent = {"state": VendorBatchState.SENT, "vendor_id": vendor_id, "vendor_word": "", "error": "", "failures": 0}
    _save(batch, **sent, due_at=now() + POLL)


def _find(batch: VendorBatch, api: Batching) -> None:
    """Whether a submission of unknown fate arrived: it is adopted then, and else sent again, once that is sure."""
    submitted_at = batch.submitted_at or batch.created_at
    same_key = {"provider_id": batch.provider_id, "provider_name": batch.provider_name}
    others = VendorBatch.objects.filter(created_at__gte=submitted_at - LATE, **same_key)
    wanted = Wanted(
        name=str(batch.pk),
        line_ids=frozenset(batch.calls.values_list("pk", flat=True)),
        since=submitted_at,
        known=frozenset(others.exclude(vendor_id="").values_list("vendor_id", flat=True)),
    )
    release_connection()
    try:
        vendor_id = api.find(wanted)
    except Undecided:
        if batch.created_at < now() - LATE:
            why = NotMade("Nobody knows whether this batch reached its vendor.")
            vendor_results.give_up(batch, why, _credential(batch))
        else:
            _save(batch, due_at=now() + POLL)
        return
    if vendor_id is not None:
        _arrived(batch, vendor_id)
    elif submitted_at + ARRIVED_BY > now():
        _save(batch, due_at=now() + POLL)
    else:
        _save(batch, state=VendorBatchState.GATHERED, due_at=now(), failures=batch.failures + 1)


def _look(batch: VendorBatch, api: Batching) -> None:
    if batch.cancelled_at is None and not _is_wanted(batch):
        release_connection()
        api.cancel(batch.vendor_id)
        _save(batch, cancelled_at=now())
    release_connection()
    state = api.state(batch.vendor_id)
    shown = {"vendor_word": state.word[:40], "done_count": state.done, "failed_count": state.failed}
    _save(batch, **shown, error=state.message, failures=0)
    if state.ended:
        vendor_results.collect(batch, api, state, _credential(batch))
    elif batch.created_at < now() - LATE:
        api.cancel(batch.vendor_id)
        why = NotMade("The vendor has not ended this batch in time.")
        vendor_results.give_up(batch, why, _credential(batch))
    else:
        _save(batch, due_at=now() + POLL)


def _is_wanted(batch: VendorBatch) -> bool:
    """Whether anybody still waits for one of its calls."""
    return batch.calls.filter(state=CallState.GIVEN, run__status__in=ACTIVE).exists()


def costs_of(batches: Iterable[VendorBatch]) -> dict[str, Any]:
    """USD by batch. One query."""
    calls = VendorCall.objects.filter(batch__in=list(batches)).order_by()
    return dict(calls.values_list("batch").annotate(Sum("cost_usd")))
