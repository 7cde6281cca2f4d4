"""Following a run from the web process: its events as they come, and an end even where the stream lost it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from redis.exceptions import RedisError

from conversations import retelling
from conversations.models import ACTIVE, Message, Run
from conversations.rows import row_of
from core.db import release_connection
from core.errors import Unavailable
from streams.follow import hub

FIRST_CHECK_S = 1.0
CHECK_S = 10.0
LATE_CHECKS = 30

Seen = tuple[int, dict[str, Any]]


async def follow_run(run_id: str, after: int = 0, idle_s: float = CHECK_S) -> AsyncGenerator[Seen | None, None]:
    """(number, event) beyond `after`, up to and with `run_ended`; None after each `idle_s` seconds of silence.

    After a silence the run's row is looked at: where the run has ended and the stream does not say so (it was lost, or
    is no longer kept), what is missing is made from the database. Raises Unavailable where Redis does not answer.
    """
    events = hub().follow(run_id, after)
    waiting: asyncio.Task[tuple[int, bytes]] | None = None
    number, silence, retold, late = after, FIRST_CHECK_S, False, 0
    told: set[str] | None = None if after else set()
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({waiting}, timeout=silence)
            if not done:
                if late < LATE_CHECKS and await hub().last_number(run_id) > number:
                    late += 1  # the stream has more, and a busy process has not come to it yet
                    continue
                missed = await _missed(run_id, told, retold=retold)
                for offset, event in enumerate(missed or (), 1):
                    yield number + offset, event
                if missed:
                    return
                if silence == idle_s:
                    yield None
                silence, retold = (FIRST_CHECK_S if missed is None else idle_s), True
                continue
            number, raw = waiting.result()
            waiting, late = None, 0
            event = orjson.loads(raw)
            _note(told, event)
            yield number, event
            if event["type"] == "run_ended":
                return
    except RedisError as error:
        raise Unavailable("The event stream does not answer: Redis is away. The run goes on.") from error
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()


def _note(told: set[str] | None, event: dict[str, Any]) -> None:
    if told is not None and event["type"] == "message_added":
        told.add(event["message"]["id"])


@sync_to_async
def _missed(run_id: str, told: Collection[str] | None, *, retold: bool) -> list[dict[str, Any]] | None:
    """Of a run that has ended: its messages that were not told of, and its end.

    `told` None: the follower began in the middle, and nobody knows which. Then the stream itself is mended first, and
    None says so.
    """
    try:
        run = Run.objects.filter(pk=run_id).first()
        if run is not None and run.status in ACTIVE:
            return []
        if told is None and run is not None and not retold and retelling.retell(run):
            return None
        stored = [] if told is None else Message.objects.filter(run_id=run_id).exclude(pk__in=told).order_by("seq")
        return [*({"type": "message_added", "message": row_of(message)} for message in stored), ended_event(run)]
    finally:
        release_connection()


def ended_event(run: Run | None) -> dict[str, Any]:
    """The last event of a run, made from its row."""
    if run is not None:
        return retelling.ended_event(run).model_dump()
    error = {"type": "not_found", "message": "The run was deleted.", "detail": "", "status": 404}
    return {"type": "run_ended", "status": "failed", "stop_reason": "error", "usage": {}, "error": error}
