"""Sends that wait for the turn before them: the next one begins when it ends, in the order in which they came.

A run that waits is queued, and `waits_turn` keeps it out of the index that allows one running turn. To begin is to lose
that mark: one conditional UPDATE, so that it happens once, whoever tries; the index decides races with other senders.
Whoever ends a turn tries, and the sweeper does where he died before.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from conversations import doorbell
from conversations.models import ACTIVE, Conversation, Run, RunStatus
from core.errors import Conflict
from core.time import now

MOST_WAITING = 50
_BEGIN = """
UPDATE conversations_run SET waits_turn = false, lease_expires_at = %s
WHERE id = (
    SELECT id FROM conversations_run WHERE conversation_id = %s AND status = 'queued' AND waits_turn
    ORDER BY created_at, id LIMIT 1 FOR UPDATE
) AND status = 'queued' AND waits_turn AND NOT EXISTS (
    SELECT FROM conversations_run AS other
    WHERE other.conversation_id = %s AND other.status IN ('queued', 'running') AND NOT other.waits_turn
) AND EXISTS (SELECT FROM conversations_conversation WHERE id = %s AND pending_approval_id = '')
RETURNING id
"""


def must_wait(conversation: Conversation) -> bool:
    """Whether a send that may wait has to. Raises Conflict where too many do."""
    active = Run.objects.filter(conversation=conversation, status__in=ACTIVE)
    waiting = active.filter(waits_turn=True).count()
    if waiting >= MOST_WAITING:
        raise Conflict(f"{waiting} sends wait in this conversation: let some begin, or cancel them.")
    return waiting > 0 or active.exists()


def waited_for(conversation_id: str) -> bool:
    return Run.objects.filter(conversation_id=conversation_id, status=RunStatus.QUEUED, waits_turn=True).exists()


def begin_next(conversation_id: str) -> str | None:
    """The run whose turn it is now; None where none waits, or a turn runs, or an approval is awaited."""
    if not waited_for(conversation_id):
        return None
    bare = UUID(conversation_id[-36:])
    until = now() + timedelta(seconds=settings.RUN_LEASE_S)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_BEGIN, [until, bare, bare, bare])
            row = cursor.fetchone()
            run_id = None if row is None else f"run-{row[0]}"
            if run_id is not None:
                transaction.on_commit(partial(doorbell.ring, run_id, 0))
    except IntegrityError:  # another send was let in: this one begins when that turn ends
        return None
    return run_id


def begin_left_behind() -> None:
    """For turns that ended without a word."""
    waiting = Run.objects.filter(status=RunStatus.QUEUED, waits_turn=True)
    going = Run.objects.filter(status__in=ACTIVE, waits_turn=False).values("conversation_id")
    left = waiting.exclude(conversation_id__in=going).values_list("conversation_id", flat=True).order_by().distinct()
    for conversation_id in left[:1_000]:
        begin_next(conversation_id)
