"""Sends into a running turn: taken in by its next step, or turns of their own where it ends before.

Such a send is a run that waits (`conversations.queue`), with the mark `steers`. A step that begins takes all of them
in, in one transaction: their messages become messages of the turn, and they are completed, `folded_into` it. So a send
is taken in once or not at all, whoever dies, and one that is not begins like any that waits.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import redis
from asgiref.sync import sync_to_async
from django.db import transaction
from django.db.models import QuerySet

from conversations import history as histories
from conversations import sse
from conversations.commit import LeaseLost, check_fence, insert_rows
from conversations.events import encode
from conversations.models import ACTIVE, Conversation, Run, RunStatus
from conversations.retelling import ended_event
from conversations.rows import Row, fresh_row
from conversations.schemas import runs
from conversations.sse import Answered, Framing
from conversations.turn import Work, answers_approval
from core.db import release_connection
from core.time import now
from streams.publish import ENDED, Batch, append


def takes_in(work: Work) -> bool:
    """Whether the step may: not before what the turn began with is stored."""
    return work.conversation.sends_wait and bool(work.run.step_count or answers_approval(work.run))


def fold(work: Work) -> list[Row]:
    """What was sent into this turn, stored as its messages now. Raises LeaseLost.

    The worker's memory of the conversation is void then: load the step's work anew.
    """
    conversation = work.conversation
    with transaction.atomic():
        check_fence(work.run)
        waiting = list(waiting_in(conversation.pk).select_for_update())
        if not waiting:
            return []
        sent = [(run, row) for run in waiting for row in run.input]
        rows = [
            fresh_row(conversation, run.created_at, **row, run_id=work.run.pk, seq=conversation.next_seq + offset)
            for offset, (run, row) in enumerate(sent)
        ]
        ours = Conversation.objects.filter(pk=conversation.pk, next_seq=conversation.next_seq)
        if not ours.update(next_seq=conversation.next_seq + len(rows)):
            raise LeaseLost(work.run.pk)
        insert_rows(conversation.organization_id, rows)
        ended = {"status": RunStatus.COMPLETED, "waits_turn": False, "completed_at": now()}
        Run.objects.filter(pk__in=[run.pk for run in waiting]).update(folded_into=work.run, **ended)
    histories.forget(conversation.pk)
    for run in Run.objects.filter(pk__in=[run.pk for run in waiting]):
        _tell(run)
    return rows


def _tell(run: Run) -> None:
    """Those who follow the run that it might have become; where it is not told, they look for themselves."""
    try:
        append(run.pk, run.fence, Batch([encode(ended_event(run))], "folded", ENDED))
    except redis.RedisError:
        return


def waiting_in(conversation_id: str) -> QuerySet[Run]:
    waiting = Run.objects.filter(conversation_id=conversation_id, status=RunStatus.QUEUED, waits_turn=True)
    return waiting.filter(steers=True).order_by("created_at", "id")


def answering(run: Run) -> Run:
    """The run that answers a send: the one that took it in, or is about to; else its own."""
    if run.folded_into is not None:
        return run.folded_into
    if not (run.steers and run.waits_turn and run.status == RunStatus.QUEUED):
        return run
    turn = Run.objects.filter(conversation_id=run.conversation_id, status__in=ACTIVE, waits_turn=False)
    return turn.first() or run


async def frames(framing: Framing, own: Run) -> AsyncGenerator[bytes, None]:
    """The frames of the turn that `own` was sent into; then of its own, where that one has ended without it."""
    alone: Run | None = None
    async for frame in sse.frames(framing):
        alone = await _left_alone(own) if frame.endswith(sse.DONE) else None
        if alone is None:
            yield frame
    if alone is not None:
        async for frame in sse.frames(sse.framing_of(alone, pings=framing.pings)):
            yield frame


async def drain(run: Run, own: Run | None) -> Answered:
    """The same for a call that does not stream; without `own`, simply the run."""
    if own is None:
        return await sse.drain(run)
    answered = await sse.drain(run, sse.view_of(own.options))
    alone = await _left_alone(own)
    return answered if alone is None else await sse.drain(alone)


def run_wire(run: Run, own: Run | None) -> dict[str, Any]:
    shown = runs.run_wire(run)
    if own is not None:
        shown["metadata"]["own_run_id"] = own.pk
    return shown


@sync_to_async
def _left_alone(run: Run) -> Run | None:
    """The send as a turn of its own. None where it was taken in, or where the turn that it was sent into only pauses
    for an approval: what follows takes it in."""
    try:
        own = Run.objects.select_related("conversation").get(pk=run.pk)
    finally:
        release_connection()
    paused = own.waits_turn and own.conversation.pending_approval_id
    return None if own.folded_into_id or paused else own
