"""One event loop in a thread of its own per process, for callers that are threads: MCP sessions live in it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GRACE_S = 5.0
_LATE = "The event loop of MCP sessions did not answer in time."


class LoopThread:
    """Started when it is first needed, and again where it is gone: after a fork, or if its thread ever died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or not self._alive():
                self._loop = asyncio.SelectorEventLoop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="mcp", daemon=True)
                self._pid = os.getpid()
                self._thread.start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Whatever the work does, the caller has its thread back a little after `within_s`. Raises TimeoutError."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop())
        try:
            return future.result(within_s + GRACE_S)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # the work's own
            future.cancel()
            raise TimeoutError(_LATE) from None

    def _alive(self) -> bool:
        return self._pid == os.getpid() and self._thread is not None and self._thread.is_alive()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
