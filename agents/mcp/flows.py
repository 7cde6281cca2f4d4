"""Connecting a server as a stream of events; the connecting itself goes on where its listener leaves."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings

from agents.mcp import sessions
from agents.mcp.target import Target
from core.errors import LimitExceeded

Event = dict[str, Any]
Tell = Callable[[Event], None]
AT_ONCE = 100
KEEPALIVE_S = 15.0
_ENDS = frozenset({"success", "error"})
_WORDS = _ENDS | {"authorization_url"}
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


def first_word(flow: Connecting) -> Event:
    """What a person has to be told first: the page to open, or how it ended. Raises LimitExceeded."""
    told: queue.SimpleQueue[Event] = queue.SimpleQueue()
    within_s = settings.MCP_CONNECT_TIMEOUT_S + settings.MCP_LIST_TIMEOUT_S
    begin(flow, told.put)
    try:
        while (event := told.get(timeout=within_s))["event"] not in _WORDS:
            pass
    except queue.Empty:  # another one took its place, and it tells no end
        return {"event": "error", "message": "The MCP server is being connected elsewhere: try again in a moment."}
    return event


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
