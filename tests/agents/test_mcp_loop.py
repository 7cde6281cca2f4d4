"""The event loop of MCP sessions: it gives threads back in time, and is there again after a fork or a death."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from agents.mcp.loop import LoopThread
from agents.mcp.places import OF_ONE, Places
from core.errors import LimitExceeded


async def one() -> int:
    return 1


@pytest.fixture
def thread() -> LoopThread:
    return LoopThread()


def test_work_that_never_ends_gives_its_caller_back(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.mcp.loop.GRACE_S", 0.1)
    with pytest.raises(TimeoutError):
        thread.run(asyncio.sleep(60), 0.1)
    assert thread.run(one(), 5) == 1
    _end(thread)


def test_a_loop_that_is_blocked_gives_its_caller_back(thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    async def blocks() -> None:
        time.sleep(1)  # noqa: ASYNC251 - as a parser that is given too much

    monkeypatch.setattr("agents.mcp.loop.GRACE_S", 0.1)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        thread.run(blocks(), 0.1)
    assert time.monotonic() - began < 1
    _end(thread)


def test_a_loop_whose_thread_ended_is_started_anew(thread: LoopThread) -> None:
    first = thread.loop()
    _end(thread)
    assert thread.run(one(), 5) == 1
    assert thread.loop() is not first
    _end(thread)


def test_a_forked_process_has_a_loop_of_its_own(thread: LoopThread) -> None:
    assert thread.run(one(), 5) == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if thread.run(one(), 5) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    _end(thread)


def test_one_organization_leaves_places_to_others() -> None:
    places = Places()
    taken = [places.place("one") for _ in range(OF_ONE)]
    for place in taken:
        place.__enter__()
    with pytest.raises(LimitExceeded), places.place("one"):
        pass
    with places.place("another"):
        pass
    for place in taken:
        place.__exit__(None, None, None)
    with places.place("one"):
        pass


def _end(thread: LoopThread) -> None:
    kept = thread._thread
    assert kept is not None
    thread.loop().call_soon_threadsafe(thread.loop().stop)
    kept.join(5)
    assert not kept.is_alive()
