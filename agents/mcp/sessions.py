"""Connections to MCP servers, kept open between calls: every wait has an end, and a bad one takes no other with it."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings

from agents.mcp import failures
from agents.mcp.errors import McpFailure
from agents.mcp.loop import LoopThread
from agents.mcp.target import Target

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from agents.mcp.link import Link

T = TypeVar("T")
IDLE_S = 120.0
MOST = 200
_CLOSING_S = 5.0

_thread = LoopThread()
_open: dict[str, _Session] = {}
_home: asyncio.AbstractEventLoop | None = None


def list_tools(target: Target) -> list[dict[str, Any]]:
    """By a connection of its own, so that it tells what is now. Raises McpFailure."""
    limits = settings.MCP_CONNECT_TIMEOUT_S + settings.MCP_LIST_TIMEOUT_S
    return _thread.run(_listed(target), limits)


def call_tool(
    target: Target, name: str, args: Mapping[str, Any], abandoned: Callable[[], bool] = bool
) -> CallToolResult:
    """Raises McpFailure; what the tool itself says went wrong is in the result."""
    limits = settings.MCP_CONNECT_TIMEOUT_S + settings.MCP_EXECUTE_TIMEOUT_S
    return _thread.run(_called(target, name, args), limits, abandoned)


def submit(work: Coroutine[Any, Any, None]) -> concurrent.futures.Future[None]:
    """Let something run in the loop of this process that limits its own time."""
    return asyncio.run_coroutine_threadsafe(work, _thread.loop())


def close_all() -> None:
    """End every connection of this process, and the commands behind them."""
    if _thread.runs(_home) and _open:
        with contextlib.suppress(TimeoutError):
            _thread.run(_closed(), _CLOSING_S)


def forget(server_id: str) -> None:
    """End the connections to a server that was changed or deleted."""
    if _thread.runs(_home) and any(key.startswith(server_id) for key in list(_open)):
        _thread.loop().call_soon_threadsafe(_forget, server_id)


def _forget(server_id: str) -> None:
    for key in [key for key in _open if key.startswith(server_id)]:
        _open.pop(key).task.cancel()


async def _closed() -> None:
    tasks = [session.task for session in _open.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _listed(target: Target) -> list[dict[str, Any]]:
    session = _Session(target, keep=False)
    try:
        return await session.ask(lambda link: link.list_tools(), settings.MCP_LIST_TIMEOUT_S, "list its tools")
    finally:
        session.task.cancel()


async def _called(target: Target, name: str, args: Mapping[str, Any]) -> CallToolResult:
    session = _session(target)
    reused = session.asked > 0
    try:
        return await _call(session, name, args)
    except failures.Forgotten:
        if not reused:
            raise
    # A connection from before, which the server knows no more: nothing was done on it.
    return await _call(_session(target), name, args)


async def _call(session: _Session, name: str, args: Mapping[str, Any]) -> CallToolResult:
    try:
        return await session.ask(lambda link: link.call_tool(name, args), settings.MCP_EXECUTE_TIMEOUT_S, name)
    except failures.Refused:
        raise
    except McpFailure:
        _drop(session)
        raise


def _session(target: Target) -> _Session:
    global _home  # noqa: PLW0603 - what an earlier loop held, of this process or of its parent, is lost with it
    if _home is not asyncio.get_running_loop():
        _open.clear()
        _home = asyncio.get_running_loop()
    found = _open.get(target.key)
    if found is None or found.ended:
        _make_room()
        found = _open[target.key] = _Session(target, keep=True)
    return found


def _make_room() -> None:
    if len(_open) < MOST:
        return
    idle = [(session.used_at, key) for key, session in _open.items() if not session.busy]
    if not idle:
        raise McpFailure(f"{MOST} connections to MCP servers are busy on this machine: try again in a moment.")
    _open.pop(min(idle)[1]).task.cancel()


def _drop(session: _Session) -> None:
    """No call after a failure finds it; the calls that are on it go on."""
    if _open.get(session.target.key) is session:
        del _open[session.target.key]
    session.keep = False
    session.stir()


class _Session:
    """One connection, held by one task from its opening to its end, as the SDK wants it."""

    def __init__(self, target: Target, *, keep: bool) -> None:
        self.target = target
        self.keep = keep
        self.busy = self.asked = 0
        self.used_at = time.monotonic()
        self._stirred = asyncio.Event()
        self._link: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        self._wire: Any = None
        self.task = asyncio.create_task(self._hold())

    async def ask(self, what: Callable[[Link], Awaitable[T]], within_s: float, doing: str) -> T:
        self.busy += 1
        try:
            link = await self._connected()
            if self.busy == 1:
                link.wire.begin()
            self.asked += 1
            return await self._answered(what(link), within_s, doing)
        finally:
            self.busy -= 1
            self.used_at = time.monotonic()
            self.stir()

    @property
    def ended(self) -> bool:
        return self.task.done() or (self._link.done() and not self._link.exception() and self._link.result().ended)

    def stir(self) -> None:
        self._stirred.set()

    async def _connected(self) -> Link:
        within_s = settings.MCP_CONNECT_TIMEOUT_S
        done, _ = await asyncio.wait({self._link}, timeout=within_s)
        if not done:
            self.task.cancel()
            raise failures.late("did not let us connect", within_s, self._wire)
        return self._link.result()

    async def _answered(self, asking: Awaitable[T], within_s: float, doing: str) -> T:
        work = asyncio.ensure_future(asking)
        try:
            done, _ = await asyncio.wait({work, self.task}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if work in done:
                return work.result()
            if self.task in done:
                raise failures.broken(self._wire)
            raise failures.late(f"did not answer ({doing})", within_s, self._wire)
        except McpFailure:
            raise
        except Exception as error:
            raise failures.told(error, self._wire) from None
        finally:
            work.cancel()

    async def _hold(self) -> None:
        # 0.6 s and 30 MB, which a process that asks no server is spared.
        from agents.mcp.http import Wire
        from agents.mcp.link import connect
        from agents.mcp.oauth import auth_of

        self._wire = Wire()
        try:
            async with connect(self.target, auth_of(self.target), self._wire) as link:
                self._link.set_result(link)
                while self.busy or (self.keep and time.monotonic() - self.used_at < IDLE_S):
                    self._stirred.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stirred.wait(), IDLE_S)
        except BaseException as error:  # of whatever kind, it is told to whoever waits
            if not self._link.done():
                self._link.set_exception(failures.told(error, self._wire))
                self._link.exception()  # also where nobody waits any more
            if isinstance(error, asyncio.CancelledError):
                raise
        finally:
            if _open.get(self.target.key) is self:
                del _open[self.target.key]


atexit.register(close_all)
