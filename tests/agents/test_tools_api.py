"""Tools over the API: those there are, and those an agent has."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import Tool as SdkTool

from agents.models import AgentTool, Tool, ToolType
from agents.tools.registry import BASE_TOOLS
from tests.support.api import Api, Tenant
from tests.support.contract import contract, keys


@pytest.fixture
def own(tenant: Tenant) -> Tool:
    return Tool.objects.create(
        organization=tenant.organization,
        name="add_numbers",
        description="Add two numbers.",
        json_schema={"name": "add_numbers", "parameters": {"type": "object", "properties": {}}},
        tags=["math"],
    )


@pytest.fixture
def agent_id(api: Api) -> str:
    return str(api.post("/agents/", {"model": "scripted/demo"}).ok()["id"])


def test_a_tool_has_the_shape_of_the_contract(api: Api, own: Tool) -> None:
    shown = api.get(f"/tools/{own.pk}").ok()
    assert keys(shown) == contract("tool")
    assert SdkTool.model_validate(shown).name == "add_numbers"


def test_base_tools_are_everybodys(api: Api, their_api: Api, own: Tool) -> None:
    ours = {tool["name"] for tool in api.get("/tools/", limit=200).ok()}
    assert ours == {*BASE_TOOLS, "add_numbers"}
    assert {tool["name"] for tool in their_api.get("/tools/", limit=200).ok()} == set(BASE_TOOLS)
    assert their_api.get(f"/tools/{own.pk}").status == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"name": "add_numbers"}, {"add_numbers"}),
        ({"names": ["add_numbers", "memory_insert"]}, {"add_numbers", "memory_insert"}),
        ({"search": "TWO NUM"}, {"add_numbers"}),
        ({"search": "Y_FINISH"}, {"memory_finish_edits"}),
        ({"tool_types": ["custom"]}, {"add_numbers"}),
        ({"tool_ids": ["nonsense"]}, set()),
        ({"return_only_letta_tools": True, "name": "add_numbers"}, set()),
        ({"exclude_tool_types": [t.value for t in ToolType if t != ToolType.CUSTOM]}, {"add_numbers"}),
    ],
)
def test_tools_are_found_by_every_filter(api: Api, own: Tool, query: dict[str, Any], names: set[str]) -> None:
    assert {tool["name"] for tool in api.get("/tools/", **query).ok()} == names
    assert api.get("/tools/count", **query).ok() == len(names)


def test_letta_tools_can_be_left_out_of_the_count(api: Api, own: Tool) -> None:
    assert api.get("/tools/count", exclude_letta_tools=True).ok() == 1
    assert [tool["id"] for tool in api.get("/tools/", tool_ids=[own.pk]).ok()] == [own.pk]


def test_attaching_and_detaching_answer_null_and_can_be_repeated(api: Api, agent_id: str, own: Tool) -> None:
    path = f"/agents/{agent_id}/tools"
    for _ in range(2):
        assert api.patch(f"{path}/attach/{own.pk}").ok() is None
    assert own.pk in {tool["id"] for tool in api.get(path).ok()}
    assert AgentTool.objects.filter(agent_id=agent_id, tool=own).count() == 1
    for _ in range(2):
        assert api.patch(f"{path}/detach/{own.pk}").ok() is None
    assert own.pk not in {tool["id"] for tool in api.get(path).ok()}


def test_an_agents_tools_come_in_pages(api: Api, agent_id: str) -> None:
    path = f"/agents/{agent_id}/tools"
    everything = [tool["id"] for tool in api.get(path, order="asc").ok()]
    first = api.get(path, order="asc", limit=1).ok()
    rest = api.get(path, order="asc", after=first[0]["id"]).ok()
    assert [tool["id"] for tool in [*first, *rest]] == everything
    assert len(everything) == 3


def test_another_organizations_tool_or_agent_is_404(api: Api, their_api: Api, agent_id: str, own: Tool) -> None:
    theirs = their_api.post("/agents/", {"model": "scripted/demo"}).ok()["id"]
    assert their_api.patch(f"/agents/{theirs}/tools/attach/{own.pk}").status == 404
    assert their_api.get(f"/agents/{agent_id}/tools").status == 404
    base = Tool.objects.get(name="memory_rethink")
    assert their_api.patch(f"/agents/{agent_id}/tools/attach/{base.pk}").status == 404
    assert their_api.patch(f"/agents/{agent_id}/tools/detach/{base.pk}").status == 404
    assert api.patch(f"/agents/{agent_id}/tools/attach/tool-00000000-0000-4000-8000-000000000000").status == 404


def test_an_own_tool_goes_before_a_base_tool_of_the_same_name(api: Api, tenant: Tenant) -> None:
    schema = {"name": "memory_insert", "parameters": {"type": "object", "properties": {}}}
    mine = Tool.objects.create(organization=tenant.organization, name="memory_insert", json_schema=schema)
    made = api.post("/agents/", {"model": "scripted/demo"}).ok()
    assert mine.pk in {tool["id"] for tool in made["tools"]}
    assert len(made["tools"]) == 3
