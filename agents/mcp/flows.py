"""Connecting a server as a stream of events; the connecting itself goes on where its listener leaves."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from agents.mcp import sessions
from agents.mcp.target import Target
from core.errors import LimitExceeded

Event = dict[str, Any]
Tell = Callable[[Event], None]
AT_ONCE = 100
KEEPALIVE_S = 15.0
_ENDS = frozenset({"success", "error"})
_going: dict[str, concurrent.futures.Future[None]] = {}


@dataclass(frozen=True, slots=True)
class Connecting:
    """Whom to connect, and where browsers come back to."""

    target: Target
    server_name: str
    redirect_uri: str


def begin(flow: Connecting, tell: Tell) -> None:
    """`tell` is called from another thread. One at a time for a server: an earlier one ends. Raises LimitExceeded."""
    from agents.mcp.connecting import connected  # the SDK: see `sessions`

    if earlier := _going.pop(flow.target.server_id, None):
        earlier.cancel()
    for server_id in [known for known, future in _going.items() if future.done()]:
        _going.pop(server_id, None)
    if len(_going) >= AT_ONCE:
        raise LimitExceeded("Many MCP servers are being connected already: try again in a moment.")
    _going[flow.target.server_id] = sessions.submit(connected(flow, tell))


async def frames(flow: Connecting) -> AsyncGenerator[bytes, None]:
    told: asyncio.Queue[Event] = asyncio.Queue()
    here = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop of whoever listened is closed
            here.call_soon_threadsafe(told.put_nowait, event)

    try:
        begin(flow, tell)
    except LimitExceeded as error:  # the answer has begun: only an event can say it
        told.put_nowait({"event": "error", "message": error.message})
    while True:
        try:
            event = await asyncio.wait_for(told.get(), KEEPALIVE_S)
        except TimeoutError:
            yield b": waiting\n\n"
            continue
        yield b"data: " + orjson.dumps(event) + b"\n\n"
        if event["event"] in _ENDS:
            return
