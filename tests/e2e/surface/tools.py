"""`client.tools`, `client.agents.tools` and `client.mcp_servers`, method by method."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client import NotFoundError

from tests.e2e.surface.world import GREETING, World, calls


@calls("tools.create")
def tools_create(world: World) -> Any:
    made = world.client.tools.create(source_code=GREETING.replace("greet", "greet_new"), tags=["social"])
    assert (made.name, made.tool_type, made.tags) == ("greet_new", "custom", ["social"])
    assert made.json_schema["parameters"]["properties"]["name"]["type"] == "string"
    return made


@calls("tools.upsert")
def tools_upsert(world: World) -> Any:
    first = world.new_tool("greet_again")
    second = world.client.tools.upsert(
        source_code=GREETING.replace("greet", "greet_again").replace("Hello", "Hi"), description="Greets."
    )
    assert (second.id, second.description) == (first.id, "Greets.")
    assert '"Hi, "' in second.source_code
    return second


@calls("tools.retrieve")
def tools_retrieve(world: World) -> Any:
    made = world.new_tool("greet_kept")
    found = world.client.tools.retrieve(made.id)
    assert found.source_code == made.source_code
    return found


@calls("tools.update")
def tools_update(world: World) -> Any:
    made = world.new_tool("greet_changed")
    changed = world.client.tools.update(made.id, description="Says hello.", return_char_limit=500)
    assert (changed.description, changed.return_char_limit) == ("Says hello.", 500)
    return changed


@calls("tools.list")
def tools_list(world: World) -> Any:
    world.new_tool("greet_listed")
    page = world.client.tools.list(name="greet_listed")
    assert [tool.name for tool in page.items] == ["greet_listed"]
    return page


@calls("tools.search")
def tools_search(world: World) -> Any:
    world.new_tool("greet_zebra")
    found = world.client.tools.search(query="greet_zebra", search_mode="fts")
    assert found[0].tool.name == "greet_zebra"
    return found


@calls("tools.delete")
def tools_delete(world: World) -> Any:
    made = world.new_tool("greet_gone")
    answer = world.client.tools.delete(made.id)
    with pytest.raises(NotFoundError):
        world.client.tools.retrieve(made.id)
    return answer


@calls("agents.tools.list")
def agents_tools_list(world: World) -> Any:
    page = world.client.agents.tools.list(world.agent.id)
    assert "memory_insert" in {tool.name for tool in page.items}
    return page


@calls("agents.tools.attach")
def agents_tools_attach(world: World) -> Any:
    made, tool = world.new_agent(), world.new_tool("greet_attached")
    answer = world.client.agents.tools.attach(tool.id, agent_id=made.id)
    assert tool.id in {tool.id for tool in world.client.agents.tools.list(made.id).items}
    return answer


@calls("agents.tools.detach")
def agents_tools_detach(world: World) -> Any:
    tool = world.new_tool("greet_detached")
    made = world.new_agent(tool_ids=[tool.id])
    answer = world.client.agents.tools.detach(tool.id, agent_id=made.id)
    assert tool.id not in {tool.id for tool in world.client.agents.tools.list(made.id).items}
    return answer


@calls("agents.tools.update_approval")
def agents_tools_update_approval(world: World) -> Any:
    made = world.new_agent()
    answer = world.client.agents.tools.update_approval("memory_insert", agent_id=made.id, body_requires_approval=True)
    asked = world.say('tool memory_insert {"label": "human", "new_string": "x"} then say ok', made.id)
    assert asked.stop_reason.stop_reason == "requires_approval"
    return answer


@calls("agents.tools.run")
def agents_tools_run(world: World) -> Any:
    tool = world.new_tool("greet_run")
    made = world.new_agent(tool_ids=[tool.id])
    answer = world.client.agents.tools.run("greet_run", agent_id=made.id, args={"name": "Ada"})
    assert (answer.status, answer.func_return) == ("success", "Hello, Ada")
    return answer
