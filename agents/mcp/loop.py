"""One event loop in a thread of its own per process, for callers that are threads: MCP sessions live in it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GRACE_S = 5.0
_LOOK_EVERY_S = 0.5
_LATE = "The event loop of MCP sessions did not answer in time."


class LoopThread:
    """Started when it is first needed, and again where it is gone: in a forked process, or if its thread ever ended."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.SelectorEventLoop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name="mcp", daemon=True)
                self._thread.start()
            return self._loop

    def runs(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether it is the loop that runs now."""
        return loop is not None and loop is self._loop and self._thread is not None and self._thread.is_alive()

    def run(self, work: Coroutine[Any, Any, T], within_s: float, abandoned: Callable[[], bool] = bool) -> T:
        """Whatever the work does, the caller has its thread back a little after `within_s`, or soon after the call was
        abandoned. Raises TimeoutError."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop())
        until = time.monotonic() + within_s + GRACE_S
        while not future.done() and not abandoned() and time.monotonic() < until:
            concurrent.futures.wait([future], _LOOK_EVERY_S)
        future.cancel()
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise TimeoutError(_LATE) from None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
