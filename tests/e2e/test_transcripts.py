"""What the retired server answered to a request, as recorded, is what this one answers: kinds, order, fields, status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from letta_client import Letta

from tests.support.live import Live

EXCHANGES: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "exchanges.json").read_text())
USAGE = EXCHANGES["010_agents.messages.create"]["usage"]
# Where this server does better on purpose: what the recording has, overridden, and why.
PARALLEL = ["tool_call_message", "tool_return_message", "assistant_message"]
DEVIATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "013_agents.messages.create.reasoning_tool": (
        {
            "order": [
                "reasoning_message",
                "assistant_message",
                "tool_call_message",
                "tool_return_message",
                "assistant_message",
            ]
        },
        "what the model says beside a tool call is shown; it was dropped",
    ),
    "014_agents.messages.create.parallel_tools": ({"order": PARALLEL}, "both calls run in one step; recorded were two"),
    "021_agents.messages.create.refusal": (
        {
            "status": 200,
            "body": ["logprobs", "messages", "stop_reason", "turns", "usage"],
            "order": ["assistant_message"],
            "stop_reason": "end_turn",
            "error_type": None,
        },
        "a refusal is an answer and is shown; it was an error 500",
    ),
    "030_agents.messages.stream.parallel": (
        {"order": ["ping", *PARALLEL, "stop_reason", "usage_statistics", "[DONE]"]},
        "both calls run in one step; recorded were two",
    ),
    "033_agents.messages.stream.cut": (
        {"stop_reason": "llm_api_error", "error_type": "llm_error"},
        "the failure is named; recorded was internal_error behind two stop reasons",
    ),
    "034_agents.messages.stream.midstream_error": (
        {"stop_reason": "llm_api_error", "error_type": "llm_error"},
        "the failure is named; recorded was internal_error behind two stop reasons",
    ),
    "155_error.upstream.500": ({"status": 503}, "the vendor's failure, not this server's: try again later"),
}


def frames_of(text: str) -> list[Any]:
    """The data of each frame of an event stream."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def kinds(items: list[Any]) -> list[str]:
    """Message types in order, repeats beside one another taken as one."""
    found: list[str] = []
    for item in items:
        kind = item if isinstance(item, str) else item["message_type"]
        if not found or found[-1] != kind:
            found.append(kind)
    return found


def fields(items: list[Any]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for item in items:
        if isinstance(item, dict):
            found.setdefault(item["message_type"], set()).update(item)
    return {kind: sorted(names) for kind, names in found.items()}


def send(live: Live, client: Letta, agent_id: str, exchange: dict[str, Any]) -> httpx.Response:
    route = exchange["route"].replace("{agent_id}", agent_id)
    if "{conversation_id}" in route:
        route = route.replace("{conversation_id}", client.conversations.create(agent_id=agent_id).id)
    body = {name: agent_id if value == "{agent_id}" else value for name, value in exchange["request"].items()}
    return httpx.post(f"{live.url}{route}", json=body, headers={"Authorization": f"Bearer {live.key}"}, timeout=30)


@pytest.mark.parametrize("name", EXCHANGES)
def test_a_recorded_exchange_has_the_same_shape(live: Live, client: Letta, agent_id: str, name: str) -> None:
    exchange = EXCHANGES[name] | DEVIATIONS.get(name, ({}, ""))[0]
    answer = send(live, client, agent_id, exchange)
    assert answer.status_code == exchange["status"], answer.text
    if exchange["stream"]:
        found = frames_of(answer.text)
        assert found[-1] == "[DONE]"
        expected = exchange["order"] if exchange["order"][-1] == "[DONE]" else [*exchange["order"], "[DONE]"]
        assert kinds(found) == expected
    elif exchange["status"] != 200:
        assert set(exchange["error"]) <= set(answer.json())
        error = answer.json().get("error")
        assert (error and error["type"]) == exchange["error_type"]
        assert error is None or sorted(error) == exchange["error"]["error"]
        return
    else:
        body = answer.json()
        assert sorted(body) == exchange["body"]
        assert sorted(body["usage"]) == USAGE
        found = [*body["messages"], body["stop_reason"]]
        assert kinds(body["messages"]) == exchange["order"]
    found_fields = fields(found)
    expected_fields = exchange.get("keys", {})
    assert {kind: found_fields[kind] for kind in expected_fields} == expected_fields
    assert (
        next(item["stop_reason"] for item in found if item["message_type"] == "stop_reason") == exchange["stop_reason"]
    )
    failure = next((item for item in found if isinstance(item, dict) and item["message_type"] == "error_message"), None)
    assert (failure and failure["error_type"]) == exchange.get("error_type")
