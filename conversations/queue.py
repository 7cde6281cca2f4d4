"""Sends that wait for the turn before them: the next one begins when it ends, in the order in which they came.

A run that waits is queued, and `waits_turn` keeps it out of the index that allows one running turn. To begin is to lose
that mark, once, whoever tries; the index decides races with other senders. Whoever ends a turn tries, and the sweeper
does where he died before. That nobody need look where nobody waits, who waits leaves word in the conversation's row,
which each step writes: one that does not find it as it was has to look.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from conversations import doorbell
from conversations.models import ACTIVE, Conversation, Run, RunStatus
from core.errors import Conflict
from core.time import now

MOST_WAITING = 50


def must_wait(conversation: Conversation) -> bool:
    """Whether a send that may wait has to. Raises Conflict where too many do."""
    waiting = _waiting().filter(conversation=conversation).count()
    if waiting >= MOST_WAITING:
        raise Conflict(f"{waiting} sends wait in this conversation: let some begin, or cancel them.")
    return waiting > 0 or _running(conversation.pk).exists()


def is_waited_for(conversation: Conversation) -> bool:
    return conversation.sends_wait and _waiting().filter(conversation=conversation).exists()


def note_waiting(conversation: Conversation) -> None:
    """In the transaction that makes the waiting run. The turn that it waits for may end meanwhile: try, after it."""
    Conversation.objects.filter(pk=conversation.pk).update(sends_wait=True)
    transaction.on_commit(partial(begin_next, conversation.pk))


def begin_next(conversation_id: str) -> str | None:
    """The run whose turn it is now; None where none waits, or a turn runs, or an approval is awaited."""
    if not _waiting().filter(conversation_id=conversation_id).exists():
        return None
    try:
        with transaction.atomic():
            return _begin(conversation_id)
    except IntegrityError:  # another send was let in: this one begins when that turn ends
        return None


def _begin(conversation_id: str) -> str | None:
    # The lock first: who leaves word that he waits has been counted then, or leaves it afterwards.
    row = Conversation.objects.filter(pk=conversation_id)
    if row.select_for_update(no_key=True).values_list("pending_approval_id", flat=True).first() != "":
        return None
    first = _waiting().filter(conversation_id=conversation_id).order_by("created_at", "id")
    run_ids = list(first.values_list("pk", flat=True)[:2])
    if not run_ids or _running(conversation_id).exists():
        return None
    until = now() + timedelta(seconds=settings.RUN_LEASE_S)
    if not _waiting().filter(pk=run_ids[0]).update(waits_turn=False, lease_expires_at=until):
        return None  # just cancelled, and who did it tries anew
    row.update(sends_wait=len(run_ids) > 1)
    transaction.on_commit(partial(doorbell.ring, run_ids[0], 0))
    return run_ids[0]


def begin_left_behind() -> None:
    """For turns that ended without a word."""
    going = Run.objects.filter(status__in=ACTIVE, waits_turn=False).values("conversation_id")
    left = _waiting().exclude(conversation_id__in=going).values_list("conversation_id", flat=True)
    for conversation_id in left.order_by().distinct()[:1_000]:
        begin_next(conversation_id)


def _waiting() -> QuerySet[Run]:
    return Run.objects.filter(status=RunStatus.QUEUED, waits_turn=True)


def _running(conversation_id: str) -> QuerySet[Run]:
    return Run.objects.filter(conversation_id=conversation_id, status__in=ACTIVE, waits_turn=False)
