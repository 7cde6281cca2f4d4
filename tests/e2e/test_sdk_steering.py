"""Messages sent into a running turn with the SDK: the turn takes them in, and all who sent get its answer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from letta_client import Letta

from tests.support.live import Live, wait_for

INSERT = 'tool memory_insert {"label": "human", "new_string": "one"}'
STEER: dict[str, Any] = {"input": "[[say minded]]", "extra_body": {"when_busy": "steer"}}


@pytest.fixture
def slow_models(live: Live) -> Iterator[None]:
    live.mock("__config", {"latency_ms": 1500})
    yield
    live.mock("__config", {"latency_ms": 0})


def test_what_is_sent_into_a_running_turn_is_answered_by_it(
    live: Live, client: Letta, agent_id: str, slow_models: None
) -> None:
    run = client.agents.messages.create_async(agent_id, input=f"[[{INSERT} then say done]]")
    wait_for(lambda: client.runs.retrieve(run.id).status == "running", 20, what="the turn runs")

    def waits() -> list[Any]:
        return list(client.agents.messages.create(agent_id, **STEER).messages)

    def streams() -> list[Any]:
        return list(client.agents.messages.create(agent_id, streaming=True, **STEER))

    with ThreadPoolExecutor(2) as pool:
        answers = [found.result(60) for found in [pool.submit(waits), pool.submit(streams)]]
    for messages in answers:
        said = [m for m in messages if m.message_type == "assistant_message"]
        assert [(m.content, m.run_id) for m in said] == [("minded", run.id)]
    stored = [m.message_type for m in client.runs.messages.list(run.id, order="asc").items]
    assert stored.count("user_message") == 3
    late = client.agents.messages.create_async(agent_id, **STEER)
    assert late.id != run.id, "nothing runs: it is a turn of its own"
