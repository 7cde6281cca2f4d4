"""`kill -9` of worker and web at each stage of an approval: what was asked is answered once, and what was approved done once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from letta_client import ConflictError, Letta

from tests.support.live import MODEL, Live, get_json, wait_for

LATENCY_MS = 700
RECOVERED_S = 30
SLOW = 'import time\n\n\ndef listen(word: str) -> str:\n    """Listen.\n\n    Args:\n        word: what to.\n    """\n'
SLOW += "    time.sleep(1.5)\n    return 'heard ' + word\n"
INSERT = 'tool memory_insert {"label": "human", "new_string": "asked for"}'
LISTEN = 'tool listen {"word": "you"}'


@pytest.fixture
def slow_models(live: Live) -> Iterator[None]:
    live.mock("__config", {"latency_ms": LATENCY_MS})
    yield
    live.mock("__config", {"latency_ms": 0})


@dataclass
class Asked:
    """One agent whose call waits for a human. `runs`: the one that asks, and the one that goes on from the answer."""

    live: Live
    client: Letta
    call: str
    agent_id: str = ""
    runs: list[str] = field(default_factory=list)

    def ask(self) -> None:
        agent = self.client.agents.create(
            model=MODEL,
            include_base_tools=False,
            tools=["memory_insert", "listen"],
            memory_blocks=[{"label": "human", "value": "Nothing yet."}],
        )
        self.agent_id = agent.id
        self._send(input=f"[[{self.call} then say done]]")

    def answer(self, **more: Any) -> None:
        request = self.pending()
        given = {"type": "approval", "tool_call_id": request["tool_call"]["tool_call_id"], "approve": True, **more}
        self._send(messages=[{"type": "approval", "approvals": [given]}])

    def _send(self, **body: Any) -> None:
        self.runs.append(self.client.agents.messages.create_async(self.agent_id, **body).id)

    def pending(self) -> dict[str, Any]:
        agent = self.client.agents.retrieve(self.agent_id, include=["agent.pending_approval"])
        found = agent.model_dump(mode="json")["pending_approval"]
        assert found is not None
        return dict(found)

    def state(self) -> tuple[str, str, int]:
        """Of the newest run: its status, its worker, how many messages hold what tools returned."""
        query = """SELECT status, worker, (SELECT count(*) FROM conversations_message m
            WHERE m.run_id = r.id AND role = 'tool') FROM conversations_run r WHERE id = %s"""
        ((status, worker, returned),) = self.live.sql(query, self.runs[-1][-36:])
        return status, worker, returned

    def ended(self) -> bool:
        return self.state()[0] == "completed"

    def check(self, returned: str, human: str) -> None:
        """It was asked once, answered once and done once, and the agent goes on."""
        messages = [m.model_dump() for m in self.client.agents.messages.list(self.agent_id, order="asc").items]
        kinds = [
            m["message_type"] for m in messages if m["message_type"] not in ("system_message", "reasoning_message")
        ]
        assert kinds == [
            "user_message",
            "approval_request_message",
            "approval_response_message",
            "tool_return_message",
            "assistant_message",
        ]
        assert returned in messages[-2]["tool_return"]
        assert self.client.agents.blocks.retrieve("human", agent_id=self.agent_id).value == human
        asking = self.client.runs.retrieve(self.runs[0])
        assert (asking.status, asking.stop_reason) == ("completed", "requires_approval")
        assert self.client.agents.messages.create(self.agent_id, input="[[say on]]").messages[-1].content == "on"  # type: ignore[union-attr]


def kill(live: Live, *names: str) -> None:
    for name in names:
        live.kill(name)


def revive(live: Live) -> None:
    live.start_service("worker")
    live.start_service("web")
    wait_for(lambda: get_json(f"{live.url}/v1/health/"), RECOVERED_S, what="the web server is back")


@pytest.mark.timeout(180)
def test_an_approval_outlives_worker_and_web_at_each_of_its_stages(
    live: Live, client: Letta, slow_models: None
) -> None:
    client.tools.create(source_code=SLOW, default_requires_approval=True)
    insert = next(iter(client.tools.list(name="memory_insert").items))
    live.sql("UPDATE agents_tool SET default_requires_approval = true WHERE id = %s", insert.id[-36:])
    asking, asked, accepted, mid_tool, thinking = flows = [
        Asked(live, client, call) for call in (INSERT, INSERT, INSERT, LISTEN, INSERT)
    ]
    try:
        with ThreadPoolExecutor(len(flows)) as pool:
            list(pool.map(Asked.ask, flows[1:]))
        wait_for(lambda: all(flow.state()[0] == "waiting_approval" for flow in flows[1:]), RECOVERED_S, what="asked")

        # In the model call that asks, and while the question waits.
        asking.ask()
        wait_for(lambda: asking.state()[1], RECOVERED_S, 0.01, "the worker has the run")
        kill(live, "worker", "web")
        revive(live)
        wait_for(lambda: asking.state()[0] == "waiting_approval", RECOVERED_S, what="it asks after all")
        with pytest.raises(ConflictError, match="PENDING_APPROVAL"):
            client.agents.messages.create(asked.agent_id, input="Hi")

        # Answered, and nobody has acted on it.
        kill(live, "worker")
        accepted.answer()
        asking.answer(edited_arguments={"label": "human", "new_string": "edited"})
        kill(live, "web")
        revive(live)
        wait_for(lambda: accepted.ended() and asking.ended(), RECOVERED_S, what="the answers were acted on")

        # In the tool that was approved, and in the model call behind it.
        mid_tool.answer()
        begun = "SELECT count(*) FROM conversations_toolexecution WHERE started_at IS NOT NULL AND result IS NULL"
        wait_for(lambda: live.sql(begun)[0][0], RECOVERED_S, 0.01, "the tool runs")
        thinking.answer()
        wait_for(lambda: all(thinking.state()), RECOVERED_S, 0.01, "its tool has returned, and the model is asked")
        kill(live, "worker", "web")
        revive(live)
        asked.answer(approve=False, reason="Not now.")
        wait_for(lambda: all(flow.ended() for flow in flows), RECOVERED_S, what="all turns ended")
    finally:
        live.sql("UPDATE agents_tool SET default_requires_approval = NULL WHERE id = %s", insert.id[-36:])

    # A worker that is alive and starved beyond its lease of two seconds loses steps as well: at least one of each run.
    lost = "SELECT count(DISTINCT run_id) FROM conversations_step WHERE run_id = ANY(%s) AND error_type = 'worker_lost'"
    assert live.sql(lost, [asking.runs[0][-36:], thinking.runs[1][-36:]]) == [(2,)], "the kills met what they were for"
    asking.check("", "Nothing yet.\nedited")
    asked.check("Not now.", "Nothing yet.")
    for flow in (accepted, thinking):
        flow.check("", "Nothing yet.\nasked for")
    mid_tool.check("heard you", "Nothing yet.")
