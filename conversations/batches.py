"""Many sends given at once, made of runs when there is room: a few at a time, and never in the way of the others.

Batches give way by being let in slowly: of all workers' threads, their runs take a share (`BATCH_RUNS`), and each
organization a share of that. Organizations come one after another; within one, each conversation has one run at a time.
An item's run has the item's id as its idempotency key, so that who dies between start and note starts nothing twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import chain, zip_longest
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q

from accounts import audit
from accounts.access import Caller, still_holds
from accounts.audit import Deed
from agents.models import Agent
from conversations import actions, callbacks, doorbell
from conversations.actions import Send
from conversations.batch_models import BATCH_RUN, Batch, BatchItem, BatchStatus, ItemStatus
from conversations.models import ACTIVE, Conversation, Run, RunStatus
from conversations.schemas.batches import CreateBatch
from conversations.schemas.runs import STATUSES
from conversations.vendor_models import VendorCall
from core.errors import AppError, Conflict, LimitExceeded, NotFound, PermissionDenied
from core.ids import bare_uuid
from core.time import now

log = logging.getLogger(__name__)

MOST_WAITING = 50_000
MOST_PARKED = 10_000  # of an organization's runs, with vendors
MOST_REFUSALS = 20
LIFE = timedelta(hours=24)
BUSY = timedelta(seconds=10)
STARTING = timedelta(seconds=120)
_ENDED = tuple(status for status in RunStatus if status not in ACTIVE)
_LOCK = 0x62617463


def create_batch(caller: Caller, data: CreateBatch) -> Batch:
    """Raises NotFound, PermissionDenied, BadInput, Invalid, LimitExceeded; then nothing of it is kept."""
    if caller.agent_id:
        raise PermissionDenied("A tool makes no batches: send messages to the agents, or let a program make the batch.")
    agent_ids = {request.agent_id for request in data.requests}
    known = Agent.objects.filter(organization_id=caller.organization_id, pk__in=agent_ids)
    if missing := sorted(agent_ids - set(known.values_list("pk", flat=True))):
        raise NotFound(f"Agent with ID {missing[0]} not found")
    waiting = BatchItem.objects.filter(organization_id=caller.organization_id, status=ItemStatus.WAITING).count()
    if waiting + len(data.requests) > MOST_WAITING:
        raise LimitExceeded(f"{waiting} requests of batches wait; at most {MOST_WAITING} may: let some be done.")
    batch = Batch(
        organization_id=caller.organization_id,
        request_count=len(data.requests),
        project_id=caller.project_id or "",
        api_key_id=caller.api_key_id,
        user_id=caller.user_id,
        callback_url=callbacks.checked(data.callback_url),
    )
    items = [
        BatchItem(
            batch=batch,
            organization_id=caller.organization_id,
            place=place,
            agent_id=request.agent_id,
            rows=rows,
            options=options,
            created_at=batch.created_at,
        )
        for place, (request, rows, options) in enumerate(data.sends())
    ]
    with transaction.atomic():
        batch.save(force_insert=True)
        BatchItem.objects.bulk_create(items, batch_size=1_000)
    return batch


def cancel_batch(batch: Batch, actor_id: str) -> None:
    """Nothing of it begins any more, and what runs is cancelled. Raises Conflict where it has ended."""
    with transaction.atomic():
        _lock()
        ours = Batch.objects.filter(pk=batch.pk, status=BatchStatus.RUNNING)
        if not ours.update(status=BatchStatus.CANCELLED, completed_at=now(), callback_due_at=_due(batch)):
            raise Conflict("This batch has ended already.")
        batch.items.filter(run=None).update(status=ItemStatus.ENDED, rows=[], options={})
        audit.note(batch.organization_id, actor_id, Deed(action="batch.cancel", target=batch.pk))
    actions.cancel_runs(list(Run.objects.filter(batch_item__batch=batch, status__in=ACTIVE)))
    Batch.objects.filter(pk=batch.pk).update(counts=counts_of([batch])[batch.pk])
    batch.refresh_from_db()


def counts_of(batches: Sequence[Batch]) -> dict[str, dict[str, int]]:
    """How the items of each stand, in the wire's words. One query, none for batches that have ended."""
    found: dict[str, dict[str, int]] = {batch.pk: dict(batch.counts) for batch in batches}
    going = [pk for pk, counts in found.items() if not counts]
    if not going:
        return found
    items = BatchItem.objects.filter(batch__in=going).order_by().annotate(failed=Q(error__isnull=False))
    rows: Any = items.values("batch_id", "status", "run__status", "failed").annotate(count=Count("pk"))
    for row in rows:
        counts, word = found[row["batch_id"]], _word(row)
        counts[word] = counts.get(word, 0) + row["count"]
    return found


def refusals_of(batch: Batch) -> list[dict[str, str]]:
    """Why no run was made of some items: the first of them."""
    refused: Any = batch.items.filter(error__isnull=False).values_list("pk", "agent_id", "error")[:MOST_REFUSALS]
    return [{"batch_item_id": pk, "agent_id": agent_id, **error} for pk, agent_id, error in refused]


def feed() -> int:
    """Make runs of what waits, as far as there is room; how many."""
    picked = _pick()
    started = sum(map(_start, picked))
    _finish()
    return started


def _pick() -> list[BatchItem]:
    """What is to be started now, marked so; runs whose vendors have answered go on before that. One at a time picks."""
    with transaction.atomic():
        _lock()
        at = now()
        started = BatchItem.objects.filter(status=ItemStatus.STARTED)
        deleted = Q(run=None, not_before=None)
        started.filter(deleted | Q(run__status__in=_ENDED)).update(status=ItemStatus.ENDED, rows=[], options={})
        started.filter(not_before__lt=at).update(status=ItemStatus.WAITING, not_before=None)
        parked = VendorCall.objects.filter(let_in_at=None)
        at_work = started.exclude(Exists(parked.filter(run=OuterRef("run"))))
        busy = Counter(at_work.values_list("organization_id", flat=True))
        waits = dict(parked.order_by().values_list("organization_id").annotate(Count("pk")))
        organizations = sorted(_organizations(), key=lambda pk: busy[pk])
        rooms = {pk: settings.BATCH_RUNS_OF_ONE - busy[pk] for pk in organizations}
        queues = [_queue_of(pk, rooms[pk], MOST_PARKED - waits.get(pk, 0)) for pk in organizations]
        in_turn = [one for one in chain.from_iterable(zip_longest(*queues)) if one is not None]
        picked = in_turn[: max(0, settings.BATCH_RUNS - busy.total())]
        _let_in([one for one in picked if isinstance(one, VendorCall)])
        items = [one for one in picked if isinstance(one, BatchItem)]
        for item in items:
            item.status, item.not_before = ItemStatus.STARTED, at + STARTING
        BatchItem.objects.bulk_update(items, ["status", "not_before"])
    return items


def _organizations() -> list[str]:
    running = Batch.objects.filter(status=BatchStatus.RUNNING)
    return list(running.order_by().values_list("organization_id", flat=True).distinct())


def _queue_of(organization_id: str, room: int, room_to_park: int) -> list[VendorCall | BatchItem]:
    """Whom it lets in next: first those who had been in, and come back with an answer."""
    if room <= 0:
        return []
    ended = VendorCall.objects.filter(organization_id=organization_id, let_in_at=None, ended_at__isnull=False)
    back = list(ended.order_by("ended_at").only("run_id", "step_index")[:room])
    return [*back, *_next_of(organization_id, min(room - len(back), room_to_park))]


def _let_in(calls: Sequence[VendorCall]) -> None:
    """Wake the parked runs. A ring that is lost is rung again by the sweep."""
    at = now()
    VendorCall.objects.filter(pk__in=[call.pk for call in calls]).update(let_in_at=at)
    parked = Run.objects.filter(pk__in=[call.run_id for call in calls], status=RunStatus.RUNNING, worker="")
    parked.update(lease_expires_at=at + timedelta(seconds=settings.RUN_LEASE_S))
    for call in calls:
        if call.run_id is not None:
            transaction.on_commit(partial(doorbell.ring, call.run_id, call.step_index))


def _next_of(organization_id: str, room: int) -> list[BatchItem]:
    """Its oldest, one an agent, but none of an agent that is at one already."""
    if room <= 0:
        return []
    items = BatchItem.objects.filter(organization_id=organization_id)
    at_one = items.filter(status=ItemStatus.STARTED).values("agent_id")
    waiting = items.filter(Q(not_before=None) | Q(not_before__lte=now()), status=ItemStatus.WAITING)
    first = waiting.exclude(agent_id__in=at_one).order_by("agent_id", "created_at", "place").distinct("agent_id")
    oldest = sorted(first.only("created_at", "place"), key=lambda item: (item.created_at, item.place))[:room]
    return list(BatchItem.objects.filter(pk__in=[item.pk for item in oldest]).select_related("batch"))


def _start(item: BatchItem) -> bool:
    conversation = Conversation.objects.select_related("agent").get(agent_id=item.agent_id, is_default=True)
    send = Send(
        rows=item.rows,
        options=item.options,
        background=True,
        run_type=BATCH_RUN,
        idempotency_key=item.pk,
        request_hash=bare_uuid(item.pk),
    )
    try:
        _check_key(item.batch)
        run = actions.start_run(_caller_of(item.batch), conversation, send).run
    except LimitExceeded as error:
        _postpone(item, timedelta(seconds=error.retry_after or BUSY.total_seconds()))
        return False
    except Conflict as error:
        if conversation.pending_approval_id:
            _fail(item, error)
        else:
            _postpone(item, BUSY)
        return False
    except AppError as error:
        _fail(item, error)
        return False
    return _note_run(item, run)


def _check_key(batch: Batch) -> None:
    """Raises PermissionDenied: a key that leaked must not go on spending after it was revoked."""
    if batch.api_key_id and not still_holds(batch.api_key_id):
        raise PermissionDenied("The API key that the batch was given with no longer holds: send it with another one.")


def _note_run(item: BatchItem, run: Run) -> bool:
    """A batch that was cancelled meanwhile takes the run with it."""
    BatchItem.objects.filter(pk=item.pk).update(run=run, not_before=None)
    if not Batch.objects.filter(pk=item.batch_id, status=BatchStatus.RUNNING).exists():
        actions.cancel_run(run)
        return False
    return True


def _postpone(item: BatchItem, wait: timedelta) -> None:
    """All of the agent's: what stands in the way of one does so for the others."""
    same = BatchItem.objects.filter(organization_id=item.organization_id, agent_id=item.agent_id)
    same.filter(Q(pk=item.pk, status=ItemStatus.STARTED) | Q(status=ItemStatus.WAITING)).update(
        status=ItemStatus.WAITING, not_before=now() + wait
    )


def _fail(item: BatchItem, error: AppError) -> None:
    told = {"type": error.code, "message": error.message}
    BatchItem.objects.filter(pk=item.pk).update(status=ItemStatus.ENDED, rows=[], options={}, error=told)


def _finish() -> None:
    """Batches of which nothing waits or runs have ended; what waited too long waits no more."""
    running = Batch.objects.filter(status=BatchStatus.RUNNING)
    late = running.filter(created_at__lt=now() - LIFE)
    told = {"type": "expired", "message": f"No room was found for it within {LIFE}."}
    BatchItem.objects.filter(batch__in=late, status=ItemStatus.WAITING).update(
        status=ItemStatus.ENDED, rows=[], options={}, error=told
    )
    open_items = BatchItem.objects.filter(status__in=(ItemStatus.WAITING, ItemStatus.STARTED))
    open_items = open_items.exclude(status=ItemStatus.STARTED, run__status__in=_ENDED)
    for batch in running.exclude(pk__in=open_items.values("batch_id")):
        expired = batch.items.filter(error__type="expired").exists()
        status = BatchStatus.EXPIRED if expired else BatchStatus.COMPLETED
        ended = {"status": status, "completed_at": now(), "callback_due_at": _due(batch)}
        Batch.objects.filter(pk=batch.pk, status=BatchStatus.RUNNING).update(
            counts=counts_of([batch])[batch.pk], **ended
        )


def _caller_of(batch: Batch) -> Caller:
    return Caller(batch.organization_id, batch.user_id, frozenset(), batch.api_key_id, batch.project_id or None)


def _due(batch: Batch) -> Any:
    return now() if batch.callback_url else None


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _word(row: dict[str, Any]) -> str:
    if row["failed"]:
        return "failed"
    if row["run__status"] is None:
        return "pending" if row["status"] != ItemStatus.ENDED else "cancelled"
    shown = STATUSES[row["run__status"]]
    return "running" if shown == "created" else shown
