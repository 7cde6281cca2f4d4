"""Following a run from the web process: its events as they come, and an end even where the stream lost it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from redis.exceptions import RedisError

from conversations.events import statistics
from conversations.models import TERMINAL, Message, Run, RunStatus
from conversations.rows import row_of
from core.db import release_connection
from core.errors import Unavailable
from providers.usage import Usage
from streams.follow import hub

FIRST_CHECK_S = 1.0
CHECK_S = 10.0

Seen = tuple[int, dict[str, Any]]


async def follow_run(run_id: str, after: int = 0, idle_s: float = CHECK_S) -> AsyncGenerator[Seen | None, None]:
    """(number, event) beyond `after`, up to and with `run_ended`; None after each `idle_s` seconds of silence.

    After a silence the run's row is looked at: where the run has ended and the stream does not say so (it was lost, or
    is no longer kept), what is missing is made from the database. Raises Unavailable where Redis does not answer.
    """
    events = hub().follow(run_id, after)
    waiting: asyncio.Task[tuple[int, bytes]] | None = None
    number, told, silence = after, set[str](), FIRST_CHECK_S
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({waiting}, timeout=silence)
            if not done:
                for event in await _missed(run_id, None if after else told):
                    number += 1
                    yield number, event
                    if event["type"] == "run_ended":
                        return
                if silence == idle_s:
                    yield None
                silence = idle_s
                continue
            number, raw = waiting.result()
            waiting = None
            event = orjson.loads(raw)
            if event["type"] == "message_added":
                told.add(event["message"]["id"])
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


@sync_to_async
def _missed(run_id: str, told: Collection[str] | None) -> list[dict[str, Any]]:
    """Of a run that has ended: its messages that were not told of (None: nobody knows which), and its end."""
    try:
        run = Run.objects.filter(pk=run_id).first()
        if run is not None and run.status not in (*TERMINAL, RunStatus.WAITING_APPROVAL):
            return []
        stored = [] if told is None else Message.objects.filter(run_id=run_id).exclude(pk__in=told).order_by("seq")
        return [*({"type": "message_added", "message": row_of(message)} for message in stored), ended_event(run)]
    finally:
        release_connection()


def ended_event(run: Run | None) -> dict[str, Any]:
    """The last event of a run, made from its row."""
    if run is None:
        error = {"type": "not_found", "message": "The run was deleted.", "detail": "", "status": 404}
        return {"type": "run_ended", "status": "failed", "stop_reason": "error", "usage": {}, "error": error}
    return {
        "type": "run_ended",
        "status": run.status,
        "stop_reason": run.stop_reason or "",
        "usage": statistics(Usage(**run.usage)),
        "step_count": run.step_count,
        "context_tokens": 0,
        "error": run.error,
    }
