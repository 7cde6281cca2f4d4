"""/v1/agents as the SDK uses it: the shape of AgentState, what creating and changing does, and how agents are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from letta_client.types import AgentState

from tests.support.api import Api

TRANSCRIPTS = Path(__file__).resolve().parents[3] / "shared" / "contract" / "transcripts"
BLOCKS = [{"label": "human", "value": "Name: Ada."}, {"label": "persona", "value": "I am Sam."}]


def recorded(name: str) -> Any:
    return json.loads((TRANSCRIPTS / name).read_text())["response"]["body"]


def keys(value: Any) -> Any:
    """The key sets of a JSON value, at every depth where objects are of one fixed shape."""
    return {name: keys(part) if isinstance(part, dict) else None for name, part in value.items()}


@pytest.fixture
def agent(api: Api) -> dict[str, Any]:
    return api.post("/agents/", {"name": "Sam", "model": "scripted/demo", "memory_blocks": BLOCKS, "tags": ["a"]}).ok()


def test_a_created_agent_has_the_shape_of_the_contract(api: Api, agent: dict[str, Any]) -> None:
    shown, wanted = dict(agent), recorded("004_agents.create.json")
    for own in ("metadata", "embedding_config"):
        shown.pop(own), wanted.pop(own)
    assert keys(shown) == keys(wanted)
    assert [set(block) for block in agent["blocks"]] == [set(block) for block in wanted["blocks"]]
    assert set(agent["tools"][0]) == set(wanted["tools"][0])


def test_a_created_agent_reads_as_the_sdks_type(agent: dict[str, Any]) -> None:
    state = AgentState.model_validate(agent, strict=False)
    assert state.memory.blocks[0].label == "human"
    assert [block.value for block in state.blocks] == ["Name: Ada.", "I am Sam."]
    assert {tool.name for tool in state.tools} == {"conversation_search", "memory_insert", "memory_replace"}
    assert state.llm_config.handle == state.model == "scripted/demo"
    assert state.tags == ["a"]
    assert state.system
    assert len(state.message_ids or []) == 1
