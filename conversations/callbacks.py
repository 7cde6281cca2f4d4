"""Tells the `callback_url` of a send that its run has ended: signed, at least once, later and later while it fails.

A run is its own outbox: what ends it writes no more than the run, so that no way of ending can forget the callback.
One that is taken and not settled (the worker died) is free again after `HELD`, and is sent anew with the same id. A run
that waits for approval has ended on the wire, and is told of then.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Model, Q, QuerySet

from accounts.audit import Deed, note
from conversations import doorbell, retelling, sse
from conversations.models import ACTIVE, Run, WebhookSecret
from conversations.schemas.runs import run_wire
from core import outbound
from core.db import release_connection
from core.errors import Conflict
from core.ids import bare_uuid
from core.outbound import NotDelivered, Policy
from core.outbox import Outbox, later
from core.secrets import Undecryptable
from core.time import now

log = logging.getLogger(__name__)

# Of a run, what its callback is told from.
COLUMNS = (
    "created_at",
    "callback_url",
    "callback_due_at",
    "callback_attempts",
    "callback_sent_at",
    "callback_status_code",
    "callback_error",
)
PAUSES = tuple(timedelta(seconds=s) for s in (10, 60, 300, 1_800, 7_200, 21_600, 43_200))
# Who takes a callback has so long to send it; then another may. Longer than a sending can last.
HELD = timedelta(seconds=60)
# Slow receivers hold threads of the workers: not many of all, and few of one organization.
MOST_AT_ONCE, MOST_OF_ONE = 16, 4
MOST_BODY = 1_000_000
R = TypeVar("R", bound=Model)


def checked(url: str | None) -> str | None:
    """The address as it is kept. Raises Invalid."""
    return outbound.clean_url(url, policy()) if url else None


def delivery_id(row: Model) -> str:
    return f"delivery-{bare_uuid(row.pk)}"


def with_callback(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.filter(callback_url__isnull=False)


def state_of(run: Run) -> str:
    """waiting: for the run's end or the next attempt; sent: it was taken; given_up: it was not, and none follows."""
    if run.callback_due_at is not None:
        return "waiting"
    return "sent" if run.callback_sent_at is not None else "given_up"


class Callbacks(Outbox[R]):
    """Of rows that are their own outbox, by the columns `callback_*`."""

    attempts, holds, held = "callback_attempts", "callback_held_until", HELD
    # What else is written where a row is settled.
    released: Mapping[str, Any] = {"callback_held_until": None}

    def sent(self, row: Any, answer: int, at: datetime) -> None:
        done = {"callback_due_at": None, "callback_sent_at": at}
        self.settle(row, {**self.released, **done, "callback_status_code": answer, "callback_error": None})

    def failed(self, row: Any, error: NotDelivered, at: datetime) -> None:
        over = error.final or row.callback_attempts > len(PAUSES)
        due = None if over else later(PAUSES, row.callback_attempts, at)
        log.warning("%s: its callback was not taken (attempt %d): %s", row.pk, row.callback_attempts, error)
        told = {"callback_status_code": error.status, "callback_error": str(error)[:500]}
        self.settle(row, {**self.released, "callback_due_at": due, **told})

    def post(self, row: Any, body: bytes) -> int:
        headers = outbound.signed_headers(secret_of(row.organization_id), delivery_id(row), body)
        release_connection()
        return outbound.post(row.callback_url or "", body, headers, policy())


class RunCallbacks(Callbacks[Run]):
    def due(self, at: datetime) -> QuerySet[Run]:
        held = Run.objects.filter(callback_held_until__gt=at).values_list("organization_id", flat=True)
        holding = Counter(held)
        if holding.total() >= MOST_AT_ONCE:
            return Run.objects.none()
        busy = [organization_id for organization_id, count in holding.items() if count >= MOST_OF_ONE]
        free = Q(callback_held_until=None) | Q(callback_held_until__lte=at)
        due = Run.objects.filter(free, callback_due_at__lte=at).exclude(status__in=ACTIVE)
        due = due.exclude(folded_into__status__in=ACTIVE)  # what took it in is not done with it
        due = due.exclude(organization_id__in=busy).select_related("conversation")
        return due.order_by("callback_due_at")

    def send(self, row: Run) -> int:
        return self.post(row, body_of(row.folded_into or row))


OUTBOX = RunCallbacks()


def send_due(at: datetime | None = None, *, seconds: float = 20.0) -> int:
    """Send what is due, for some seconds; how many were taken by their receivers."""
    return OUTBOX.deliver(at, seconds=seconds)


def body_of(run: Run) -> bytes:
    """The contract's `{run_id, status, completed_at, metadata}`; `metadata.result` is what a waiting send would get."""
    shown = run_wire(run)
    body = {"run_id": run.pk, "status": shown["status"], "completed_at": shown["completed_at"]}
    metadata = dict(shown["metadata"])
    if run.error is None:
        metadata["result"] = sse.answered_of(run, retelling.events_of(run)).body
    found = orjson.dumps(body | {"metadata": metadata})
    if len(found) > MOST_BODY:
        metadata["result"] = None
        metadata["result_omitted"] = f"It has more than {MOST_BODY} bytes: read the run's messages."
        found = orjson.dumps(body | {"metadata": metadata})
    return found


def send_again(run: Run, actor_id: str) -> None:
    """Begin anew with the attempts, at once. Raises Conflict where there is nothing to send."""
    if not run.callback_url:
        raise Conflict("This run was sent without a callback_url.")
    if run.status in ACTIVE:
        raise Conflict("This run has not ended: its callback is sent when it has.")
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).update(callback_due_at=now(), callback_attempts=0)
        note(run.organization_id, actor_id, Deed(action="callback.send_again", target=run.pk))
        transaction.on_commit(doorbell.ring_callbacks)


def renew_secret(organization_id: str, actor_id: str) -> str:
    """A new one, which signs from now on: the only time that anybody sees it."""
    secret = outbound.new_secret()
    with transaction.atomic():
        row, _ = WebhookSecret.objects.update_or_create(organization_id=organization_id, defaults={"secret": secret})
        note(organization_id, actor_id, Deed(action="webhook_secret.new", target=row.pk))
    return secret


def secret_of(organization_id: str) -> str:
    """One that nobody has seen, where nobody asked for one yet. Raises NotDelivered."""
    row, _ = WebhookSecret.objects.get_or_create(
        organization_id=organization_id, defaults={"secret": outbound.new_secret()}
    )
    kept: Any = row.secret
    try:
        return kept if isinstance(kept, str) else str(kept.reveal())
    except Undecryptable:
        raise NotDelivered("The stored signing secret cannot be decrypted: make a new one.") from None


def policy() -> Policy:
    return Policy(settings.WEBHOOK_PRIVATE_ADDRESSES, "WEBHOOK_PRIVATE_ADDRESSES", "Perennial-Webhooks/1")
