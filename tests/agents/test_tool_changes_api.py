"""An organization's own tools over the API: made, written anew, changed, renamed, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import Tool as SdkTool

from accounts.models import AuditEntry
from agents.models import Agent, AgentTool, Tool, ToolType
from agents.tools.registry import BASE_TOOLS
from tests.support.api import Api, Tenant
from tests.support.contract import contract, keys

SOURCE = '''
def add(a: int, b: int = 2) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a + b
'''
PROPERTIES = {
    "a": {"type": "integer", "description": "The first."},
    "b": {"type": "integer", "description": "The second.", "default": 2},
}


@pytest.fixture
def made(api: Api) -> dict[str, Any]:
    return dict(api.post("/tools/", {"source_code": SOURCE, "tags": ["math", "math"]}).ok())


def test_a_tool_is_made_from_its_source(made: dict[str, Any], api: Api, tenant: Tenant) -> None:
    assert keys(made) == contract("tool")
    tool = SdkTool.model_validate(api.get(f"/tools/{made['id']}").ok())
    assert (tool.name, tool.description, tool.tool_type, tool.source_type) == (
        "add",
        "Add two numbers.",
        "custom",
        "python",
    )
    assert tool.json_schema == {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": PROPERTIES, "required": ["a"]},
    }
    assert (tool.tags, tool.return_char_limit, made["created_by_id"]) == (["math"], 50_000, tenant.user.pk)


def test_every_field_is_kept(api: Api) -> None:
    sent = {
        "tags": ["a", "b"],
        "return_char_limit": 77,
        "pip_requirements": [{"name": "requests", "version": "2.31.0"}, {"name": "numpy", "version": None}],
        "npm_requirements": [{"name": "@scope/x", "version": "^1.2"}],
        "default_requires_approval": True,
        "enable_parallel_execution": True,
        "args_json_schema": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        "description": "Mine.",
    }
    shown = api.put("/tools/", {"source_code": SOURCE, **sent}).ok()
    assert {name: shown[name] for name in sent} == sent
    assert shown["json_schema"]["parameters"] == sent["args_json_schema"]
    assert shown["json_schema"]["description"] == "Mine."


def test_creating_and_upserting_a_name_again_writes_the_same_tool_anew(api: Api, made: dict[str, Any]) -> None:
    for send in (api.post, api.put):
        again = send("/tools/", {"source_code": SOURCE.replace("two", "2"), "return_char_limit": 9}).ok()
        assert (again["id"], again["description"], again["tags"]) == (made["id"], "Add 2 numbers.", ["math"])
    assert api.get("/tools/count", exclude_letta_tools=True).ok() == 1


def test_writing_a_tool_anew_forgets_the_schema_it_was_given(api: Api) -> None:
    given = {"type": "object", "properties": {"a": {"type": "string"}}}
    api.post("/tools/", {"source_code": SOURCE, "args_json_schema": given, "default_requires_approval": True}).ok()
    again = api.put("/tools/", {"source_code": SOURCE, "default_requires_approval": None}).ok()
    assert again["args_json_schema"] is None
    assert again["json_schema"]["parameters"]["properties"] == PROPERTIES
    assert again["default_requires_approval"] is True


def test_two_organizations_may_use_the_same_name(made: dict[str, Any], their_api: Api) -> None:
    theirs = their_api.post("/tools/", {"source_code": SOURCE}).ok()
    assert theirs["id"] != made["id"]


def test_a_change_touches_only_what_was_sent(api: Api, made: dict[str, Any]) -> None:
    path = f"/tools/{made['id']}"
    changed = api.patch(path, {"description": "adds", "tags": ["x"], "default_requires_approval": True}).ok()
    assert changed["json_schema"]["description"] == changed["description"] == "adds"
    assert changed["json_schema"]["parameters"] == made["json_schema"]["parameters"]
    changed = api.patch(path, {"source_code": SOURCE.replace("b: int = 2", "b: int"), "metadata": {"k": 1}}).ok()
    assert changed["json_schema"]["parameters"]["required"] == ["a", "b"]
    assert (changed["tags"], changed["default_requires_approval"], changed["metadata_"]) == (["x"], True, {"k": 1})
    own = {"name": "add", "description": "By hand.", "parameters": {"type": "object", "properties": {"a": {}}}}
    changed = api.patch(path, {"json_schema": own, "default_requires_approval": None}).ok()
    assert changed["json_schema"]["parameters"]["properties"] == {"a": {}}
    assert (changed["description"], changed["default_requires_approval"]) == ("By hand.", None)


def test_renaming_onto_a_name_that_is_taken_is_refused(api: Api, made: dict[str, Any]) -> None:
    other = api.post("/tools/", {"source_code": SOURCE.replace("def add", "def plus")}).ok()
    answer = api.patch(f"/tools/{other['id']}", {"source_code": SOURCE})
    assert (answer.status, "add" in answer.detail, "another name" in answer.detail) == (400, True, True)
    assert api.get(f"/tools/{other['id']}").ok()["name"] == "plus"


def test_a_rename_reaches_the_rules_of_the_agents(api: Api, made: dict[str, Any]) -> None:
    rules = [
        {"type": "requires_approval", "tool_name": "add"},
        {"type": "constrain_child_tools", "tool_name": "memory_insert", "children": ["add", "memory_replace"]},
        {
            "type": "conditional",
            "tool_name": "memory_insert",
            "child_output_mapping": {"x": "add"},
            "default_child": "add",
        },
    ]
    body = {"model": "scripted/demo", "tool_ids": [made["id"]], "tool_rules": rules}
    agent = Agent.objects.get(pk=api.post("/agents/", body).ok()["id"])
    api.patch(f"/tools/{made['id']}", {"source_code": SOURCE.replace("def add", "def plus")}).ok()
    version = agent.prompt_version
    agent.refresh_from_db()
    approval, parent, conditional = agent.tool_rules
    assert (approval["tool_name"], parent["children"]) == ("plus", ["plus", "memory_replace"])
    assert (conditional["child_output_mapping"], conditional["default_child"]) == ({"x": "plus"}, "plus")
    assert agent.prompt_version > version


def test_other_source_or_packages_take_the_network_back(api: Api, made: dict[str, Any]) -> None:
    for change in ({"source_code": SOURCE.replace("a + b", "a - b")}, {"pip_requirements": [{"name": "requests"}]}):
        Tool.objects.filter(pk=made["id"]).update(network=True)
        api.patch(f"/tools/{made['id']}", {"tags": ["kept"]}).ok()
        assert Tool.objects.get(pk=made["id"]).network
        api.patch(f"/tools/{made['id']}", change).ok()
        assert not Tool.objects.get(pk=made["id"]).network


def test_a_deleted_tool_is_gone_from_its_agents(api: Api, made: dict[str, Any]) -> None:
    agent_id = api.post("/agents/", {"model": "scripted/demo", "tool_ids": [made["id"]]}).ok()["id"]
    assert api.delete(f"/tools/{made['id']}").ok() is None
    assert api.get(f"/tools/{made['id']}").status == 404
    assert made["id"] not in {tool["id"] for tool in api.get(f"/agents/{agent_id}/tools").ok()}
    assert api.delete(f"/tools/{made['id']}").status == 404


def test_base_tools_and_tools_of_servers_keep_what_is_theirs(api: Api, tenant: Tenant) -> None:
    base = Tool.objects.get(name="memory_insert", organization=None)
    for answer in (api.patch(f"/tools/{base.pk}", {"tags": ["x"]}), api.delete(f"/tools/{base.pk}")):
        assert (answer.status, "base tool" in answer.detail) == (403, True)
    served = Tool.objects.create(
        organization=tenant.organization, name="add", tool_type=ToolType.EXTERNAL_MCP, json_schema={"name": "add"}
    )
    assert api.post("/tools/", {"source_code": SOURCE}).status == 400
    assert api.patch(f"/tools/{served.pk}", {"source_code": SOURCE}).status == 400
    assert api.patch(f"/tools/{served.pk}", {"tags": ["x"]}).ok()["tags"] == ["x"]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"source_code": "def f(a: int):\n    '''F.'''\n"}, 400, "'a' has no description"),
        ({"source_code": "def f(:"}, 400, "line 1"),
        ({"source_code": SOURCE, "source_type": "cobol"}, 400, "cobol"),
        ({"source_code": SOURCE, "json_schema": {"name": "no good"}}, 400, "no good"),
        ({"source_code": SOURCE, "return_char_limit": 0}, 422, "return_char_limit"),
        ({"source_code": SOURCE, "return_char_limit": 1_000_001}, 422, "return_char_limit"),
        ({"source_code": SOURCE, "pip_requirements": [{"name": "--index-url=http://x"}]}, 422, "pip_requirements"),
        ({"source_code": SOURCE, "npm_requirements": [{"name": "../x y"}]}, 422, "npm_requirements"),
        ({}, 422, "source_code"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_with_its_mend(api: Api, body: dict[str, Any], status: int, word: str) -> None:
    answer = api.post("/tools/", body)
    assert (answer.status, word in answer.detail) == (status, True), answer.detail


def test_a_schema_is_shown_without_keeping_anything(api: Api) -> None:
    shown = api.post("/tools/generate-schema", {"code": SOURCE, "source_type": "python"}).ok()
    assert shown["parameters"]["properties"] == PROPERTIES
    script = "/** Now. */\nexport function now(): string { return '' }"
    assert api.post("/tools/generate-schema", {"code": script, "source_type": "typescript"}).ok()["name"] == "now"
    assert api.get("/tools/count", exclude_letta_tools=True).ok() == 0


def test_base_tools_are_put_back(api: Api) -> None:
    Tool.objects.filter(name="memory_insert", organization=None).delete()
    shown = api.post("/tools/add-base-tools").ok()
    assert [tool["name"] for tool in shown] == sorted(BASE_TOOLS)


def test_approval_is_asked_for_by_agent(api: Api, made: dict[str, Any]) -> None:
    agent_id = api.post("/agents/", {"model": "scripted/demo", "tool_ids": [made["id"]]}).ok()["id"]
    path = f"/agents/{agent_id}/tools/approval"
    link = AgentTool.objects.get(tool_id=made["id"])
    for sent, query, wanted in (({"requires_approval": True}, "", True), (None, "?requires_approval=false", False)):
        assert api.patch(f"{path}/add{query}", sent).ok() is None
        link.refresh_from_db()
        assert link.requires_approval is wanted
    assert api.patch(f"{path}/add", {}).status == 422
    assert api.patch(f"{path}/memory_rethink", {"requires_approval": True}).status == 404


def test_what_is_done_to_tools_is_audited_without_their_source(api: Api, made: dict[str, Any]) -> None:
    api.patch(f"/tools/{made['id']}", {"source_code": SOURCE + "# changed\n"}).ok()
    api.delete(f"/tools/{made['id']}").ok()
    entries = list(AuditEntry.objects.filter(target=made["id"]).order_by("created_at"))
    assert [entry.action for entry in entries] == ["tool.create", "tool.update", "tool.delete"]
    changed = entries[1]
    assert changed.before is not None
    assert changed.after is not None
    assert changed.before["source_sha256"] != changed.after["source_sha256"]
    assert "return a + b" not in str([(entry.before, entry.after) for entry in entries])
