"""Custom tools in turns: a tenant's Python, in the sandbox, with the agent's memory in its hands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents.memory import touch_prompt
from agents.models import AgentTool, Tool
from agents.sandbox import configured
from conversations.beginning import NewConversation, create_conversation
from conversations.models import Conversation, Message, Run, RunStatus
from tests.support.api import Tenant
from tests.support.turns import block, fresh, thinker, turn

pytestmark = pytest.mark.usefixtures("redis")
ADD = """
import os

def helper():
    return 1

def add(a: int, b: int = 0) -> dict:
    print("adding")
    return {"sum": a + b, "agent": os.environ["LETTA_AGENT_ID"]}
"""
REMEMBER = """
def remember(agent_state, agent_id, fact):
    memory = agent_state.memory
    assert agent_state.id == agent_id and agent_state.llm_config.model == "demo"
    memory.update_block_value("human", memory.get_block("human").value + fact)
    return memory.list_block_labels()
"""
INTEGER, STRING = {"type": "integer"}, {"type": "string"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(autouse=True)
def sandbox_of_this_test(settings: Any, folder: Any) -> Iterator[None]:
    settings.SANDBOX_DIR, settings.SANDBOX_POOL = folder, 0
    configured.sandbox.cache_clear()
    yield
    configured.sandbox.cache_clear()


def with_tool(tenant: Tenant, name: str, source: str | None, **properties: Any) -> Conversation:
    more = properties.pop("more", {})
    parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    tool = Tool.objects.create(
        organization=tenant.organization,
        name=name,
        source_code=source,
        json_schema={"name": name, "description": "A tool.", "parameters": parameters},
        **more,
    )
    conversation = thinker(tenant)
    AgentTool.objects.create(agent=conversation.agent, tool=tool)
    touch_prompt([conversation.agent_id])
    return fresh(conversation)


def returned(run: Run) -> dict[str, Any]:
    [item] = Message.objects.get(run=run, role="tool").tool_returns
    return dict(item)


def test_a_custom_tool_sees_and_edits_the_block_that_its_conversation_has_to_itself(tenant: Tenant) -> None:
    default = with_tool(tenant, "remember", REMEMBER, fact=STRING)
    own = create_conversation(tenant.caller, default.agent, NewConversation(isolated_block_labels=("human",)))
    turn(tenant, own, '[[tool remember {"fact": " Ada"} then say Done]]')
    assert own.own_blocks.get().block.value == "Name: ? Ada"
    assert block(default) == "Name: ?"


def test_a_custom_tool_runs_in_a_turn(tenant: Tenant) -> None:
    conversation = with_tool(tenant, "add", ADD, a=INTEGER, b=INTEGER)
    run = turn(tenant, conversation, '[[tool add {"a": 40, "b": 2} then say Done]]')
    item = returned(run)
    assert item["content"] == f'{{"sum": 42, "agent": "{conversation.agent_id}"}}'
    assert (item["is_error"], item["stdout"], item["stderr"]) == (False, ["adding\n"], None)
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 2)


def test_a_custom_tool_reads_and_changes_the_agents_memory(tenant: Tenant) -> None:
    conversation = with_tool(tenant, "remember", REMEMBER, fact=STRING)
    run = turn(tenant, conversation, '[[tool remember {"fact": " Ada"} then say Done]]')
    assert returned(run)["content"] == '["human", "persona"]'
    assert block(conversation) == "Name: ? Ada"


def test_a_typescript_tool_runs_in_a_turn(tenant: Tenant) -> None:
    source = "export function add(a: number, b: number): number { return a - b; }"
    conversation = with_tool(tenant, "add", source, a=INTEGER, b=INTEGER, more={"source_type": "typescript"})
    assert returned(turn(tenant, conversation, '[[tool add {"b": 2, "a": 44} then say Done]]'))["content"] == "42"


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        ("def add(a):\n    return 1 / a\n", {}, "ZeroDivisionError: division by zero"),
        ("def add(a):\n    return 'x' * 100\n", {"return_char_limit": 10}, "xxxxxxxxxx… [the result has 100"),
        (None, {}, "has no source code"),
        ("sub add()", {"source_type": "perl"}, "cannot be run on this server"),
    ],
    ids=["it raises", "it says too much", "no source", "another language"],
)
def test_the_model_is_told_what_went_wrong(tenant: Tenant, source: str | None, more: Any, said: str) -> None:
    conversation = with_tool(tenant, "add", source, a=INTEGER, more=more)
    run = turn(tenant, conversation, '[[tool add {"a": 0} then say Hm]]')
    assert said in returned(run)["content"]
    assert run.status == RunStatus.COMPLETED
