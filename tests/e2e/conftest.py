"""One live installation for all end-to-end tests of a worker; what its processes logged is shown with a failure."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from letta_client import Letta

from tests.support.live import MODEL, Live
from tests.support.parts import TestParts

pytest.register_assert_rewrite("tests.e2e.surface")

HERE = Path(__file__).parent
SHOWN_BYTES = 6_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.xdist_group("live"))


@pytest.fixture(scope="session")
def live(parts: TestParts) -> Iterator[Live]:
    installation = Live(parts, os.environ.get("PYTEST_XDIST_WORKER", "master"))
    try:
        try:
            installation.start()
        except BaseException:
            for log in installation.logs.glob("*.log"):
                print(f"--- log of {log.stem}\n{log.read_text(errors='replace')[-SHOWN_BYTES:]}")
            raise
        yield installation
    finally:
        installation.stop()


@pytest.fixture
def client(live: Live) -> Letta:
    return live.client()


@pytest.fixture
def agent_id(client: Letta) -> str:
    """An agent with two memory blocks and the tools that edit them."""
    agent = client.agents.create(
        model=MODEL,
        memory_blocks=[{"label": "human", "value": "Name: ?"}, {"label": "persona", "value": "I am brief."}],
        tools=["memory_insert", "memory_replace"],
    )
    return agent.id


@pytest.fixture
def slow_tokens(live: Live) -> Iterator[None]:
    """The models say a token every 10 ms, so that streams have a middle."""
    live.mock("__config", {"token_ms": 10})
    yield
    live.mock("__config", {"token_ms": 0})


@pytest.fixture(autouse=True)
def _logs(request: pytest.FixtureRequest) -> None:
    if "live" in request.fixturenames:
        request.node.logs_before = request.getfixturevalue("live").log_sizes()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    before = getattr(item, "logs_before", None)
    if report.failed and before is not None:
        for log, start in item.funcargs["live"].log_sizes().items():  # type: ignore[attr-defined]
            fresh = log.read_bytes()[before.get(log, 0) :] if start else b""
            if fresh:
                report.sections.append((f"log of {log.stem}", fresh[-SHOWN_BYTES:].decode(errors="replace")))
    return report
