"""Following a run from the web process: its events as they come, and an end even where the stream lost it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from redis.exceptions import RedisError

from conversations.events import statistics
from conversations.models import TERMINAL, Run, RunStatus
from core.errors import Unavailable
from providers.usage import Usage
from streams.follow import hub

ENDED = b'"type":"run_ended"'
CHECK_S = 10.0

Seen = tuple[int, dict[str, Any]]


async def follow_run(run_id: str, after: int = 0, idle_s: float = CHECK_S) -> AsyncGenerator[Seen | None, None]:
    """(number, event) beyond `after`, up to and with `run_ended`; None after each `idle_s` seconds of silence.

    After a silence the run's row is looked at: where it has ended and its last event is gone, the end is made from the
    row. Raises Unavailable where Redis does not answer.
    """
    events = hub().follow(run_id, after)
    waiting: asyncio.Task[tuple[int, bytes]] | None = None
    number = after
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({waiting}, timeout=idle_s)
            if not done:
                ended = await _ended(run_id)
                if ended is not None:
                    yield number + 1, ended
                    return
                yield None
                continue
            number, raw = waiting.result()
            waiting = None
            yield number, orjson.loads(raw)
            if ENDED in raw:
                return
    except RedisError as error:
        raise Unavailable("The event stream does not answer: Redis is away. The run goes on.") from error
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await events.aclose()


@sync_to_async
def _ended(run_id: str) -> dict[str, Any] | None:
    run = Run.objects.filter(pk=run_id).first()
    if run is not None and run.status not in (*TERMINAL, RunStatus.WAITING_APPROVAL):
        return None
    return ended_event(run)


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
