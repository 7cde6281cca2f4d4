"""What a worker committed and did not live to tell: told to the run's followers from the database, once."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from agents.events import Compacted, Event, MessageAdded, RunEnded
from conversations.events import encode, mark_of, statistics
from conversations.models import ACTIVE, Message, Role, Run
from conversations.rows import row_of
from core.time import now
from providers.usage import Usage
from streams.publish import Batch, Fenced, append, told


def retell(run: Run) -> bool:
    """Whether all that is stored of the run is in its stream now. Raises redis.RedisError.

    A worker tells within milliseconds of its commit, so this is for runs that have been silent for seconds. A stream
    that has expired is not begun anew.
    """
    if _expired(run):
        return False
    mark = told(run.pk)
    events = events_of(run, mark)
    if run.status not in ACTIVE:
        events.append(ended_event(run))
    marks = [mark_of(event) for event in events]
    if marks and max(marks) > mark:
        batch = Batch([encode(event) for event in events], f"{run.fence}.retold.{mark}", max(marks))
        try:
            append(run.pk, run.fence, batch)
        except Fenced:  # somebody has the run, and tells
            return True
    return True


def events_of(run: Run, beyond: int = -1) -> list[Event]:
    """What is stored of the run behind the message numbered `beyond`; its end is not among it."""
    rows = Message.objects.filter(run_id=run.pk, seq__gt=beyond).exclude(role=Role.SYSTEM).order_by("seq")
    return [_event(message) for message in rows]


def ended_event(run: Run) -> RunEnded:
    """The last event of a run, made from its row."""
    return RunEnded.model_construct(
        status=run.status,
        stop_reason=run.stop_reason or ("folded" if run.folded_into_id else ""),
        usage=statistics(Usage(**run.usage)),
        step_count=run.step_count,
        context_tokens=0,
        error=run.error,
    )


def _expired(run: Run) -> bool:
    return run.completed_at is not None and run.completed_at < now() - timedelta(seconds=settings.STREAM_TTL_S)


def _event(message: Message) -> Event:
    row = row_of(message)
    if message.role == Role.SUMMARY:
        return Compacted(message=row, stats=message.stats or {})
    return MessageAdded(message=row)
