"""Files of the older form, with one agent and no ids, and archival memory in files: both come in, and go out again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from agents.models import Agent, Archive, Passage, Tool
from agents.tools.variables import variables_of
from conversations.models import Message
from tests.support.api import Answer, Api
from tests.support.factories import make_agent

AT = "2025-05-07T05:25:00.104503+00:00"
ROW = {"created_at": AT, "updated_at": AT}


def said(role: str, text: Any, **more: Any) -> dict[str, Any]:
    text = text if isinstance(text, str) else json.dumps(text)
    known = {"group_id": None, "model": "m", "name": None, "tool_call_id": None, "tool_calls": [], "tool_returns": []}
    return {**ROW, **known, "role": role, "content": [{"type": "text", "text": text}], **more}


def tool(name: str, **more: Any) -> dict[str, Any]:
    beat = {"type": "boolean", "description": "Go on at once."}
    parameters = {
        "type": "object",
        "properties": {"words": {"type": "string", "description": "What."}, "request_heartbeat": beat},
        "required": ["words", "request_heartbeat"],
    }
    schema = {"name": name, "description": "Does it.", "parameters": parameters, "type": None, "required": []}
    known = {"args_json_schema": None, "description": "Does it.", "return_char_limit": 6000, "source_code": None}
    return {**ROW, **known, "name": name, "json_schema": schema, "source_type": "python", "tags": [], **more}


def older() -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "shout", "arguments": '{"words": "hi"}'}}
    when = "2025-05-06 10:25:00 PM PDT-0700"
    return {
        **ROW,
        "agent_type": "memgpt_agent",
        "name": "Old",
        "description": "An agent of long ago.",
        "system": "You are old.",
        "version": "0.7.8",
        "core_memory": [
            {**ROW, "label": "human", "value": "Ada", "limit": 5000, "description": None, "metadata_": {"k": 1}},
            {**ROW, "label": "plan", "value": "", "limit": 700, "is_template": False, "template_name": None},
        ],
        "messages": [
            said("system", "You are old. Ada."),
            said("user", {"type": "user_message", "message": "long ago", "time": when}),
            said("user", {"type": "login", "last_login": "Never", "time": when}),
            said("assistant", "I think.", tool_calls=[call]),
            said("tool", {"status": "Failed", "message": "no voice", "time": when}, name="shout", tool_call_id="c1"),
        ],
        "in_context_message_indices": [0, 2, 3, 4],
        "llm_config": {"model": "demo", "model_endpoint_type": "scripted", "context_window": 8192, "temperature": 0.7},
        "embedding_config": {"embedding_endpoint_type": "openai", "embedding_model": "gone", "handle": "openai/gone"},
        "metadata_": {"from": "shelf"},
        "multi_agent_group": None,
        "message_buffer_autoclear": False,
        "tags": ["x"],
        "tool_rules": [
            {"tool_name": "shout", "type": "continue_loop"},
            {"tool_name": "shout", "type": "max_count_per_step", "max_count_limit": 3},
        ],
        "tool_exec_environment_variables": [{**ROW, "key": "TOKEN", "value": "", "description": None}],
        "tools": [
            tool("shout", tool_type="custom", source_code="def shout(words: str):\n    return words.upper()\n"),
            tool("send_message", tool_type="letta_core"),
            tool("star", tool_type="external_composio"),
        ],
    }


def send(api: Api, file: Any, **form: Any) -> Answer:
    body = {"file": SimpleUploadedFile("a.af", json.dumps(file).encode(), "application/json"), **form}
    return Answer(api.client.post("/v1/agents/import", body, headers=api.headers))


def test_an_older_file_comes_in_whole(api: Api) -> None:
    made = send(api, older(), append_copy_suffix="false").ok()
    assert made["left_out"] == {"embedding": 1, "secrets": 1, "tools": 1}
    agent = Agent.objects.get(pk=made["agent_ids"][0])
    assert (agent.name, agent.agent_type, agent.model, agent.system) == (
        "Old",
        "memgpt_agent",
        "scripted/demo",
        "You are old.",
    )
    assert (agent.metadata, agent.tags, agent.context_window_limit) == ({"from": "shelf"}, ["x"], 8192)
    assert {(b.label, b.value, b.limit) for b in agent.blocks.all()} == {("human", "Ada", 5000), ("plan", "", 700)}
    assert [rule["type"] for rule in agent.tool_rules] == ["continue_loop", "max_count_per_step"]
    assert set(agent.tools.values_list("name", flat=True)) == {"shout", "send_message"}
    parameters = Tool.objects.get(name="shout").json_schema["parameters"]
    assert (set(parameters["properties"]), parameters["required"]) == ({"words"}, ["words"])
    rows = list(Message.objects.filter(agent=agent).order_by("seq"))
    assert [row.in_context for row in rows] == [True, False, True, True, True]
    assert rows[1].text == "long ago"
    assert '"type": "login"' in rows[2].text
    returned = rows[4].tool_returns[0]
    assert (returned["name"], returned["content"], returned["is_error"]) == ("shout", "no voice", True)
    assert rows[3].created_at.isoformat() == AT


def test_an_older_file_is_the_same_when_it_goes_out_and_comes_in_again(api: Api) -> None:
    def written(agent_id: str) -> Any:
        file = api.get(f"/agents/{agent_id}/export").ok()
        file["agents"][0]["messages"] = file["agents"][0]["messages"][1:]
        return file | {"created_at": None}

    made = send(api, older(), secrets='{"TOKEN": "new"}').ok()["agent_ids"][0]
    assert variables_of(made) == {"TOKEN": "new"}
    first = written(made)
    again = send(api, api.get(f"/agents/{made}/export").ok(), append_copy_suffix="false").ok()["agent_ids"][0]
    assert written(again) | {"agents": None} == first | {"agents": None}
    assert written(again)["agents"][0] | {"secrets": {"TOKEN": ""}} == first["agents"][0]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("core_memory", 7, "core_memory"),
        ("core_memory", [{"label": "x"}], "core_memory.0.value"),
        ("messages", ["hello"], "messages.0"),
        ("messages", [{"role": "root"}], "messages.0.role"),
        ("in_context_message_indices", [99], "message-99"),
        ("in_context_message_indices", [-1], "message--1"),
        ("tool_exec_environment_variables", [{"value": "hunter2"}], "tool_exec_environment_variables.0.key"),
        ("tools", [{"name": "a", "json_schema": {"parameters": {"properties": 7, "required": 7}}}], None),
        ("llm_config", {"model": "gone", "model_endpoint_type": "nobody"}, "agents.0"),
        ("tool_rules", [{"type": "of_tomorrow"}], "tool_rules"),
    ],
)
def test_a_broken_older_file_is_refused_with_the_place(api: Api, field: str, value: Any, told: str | None) -> None:
    answer = send(api, older() | {field: value})
    if told is None:
        assert answer.ok()["left_out"]["tools"] == 1
        return
    assert answer.status in (400, 422)
    assert told in answer.detail
    assert "hunter2" not in answer.detail
    assert not Agent.objects.exists()


def test_archival_memory_goes_with_its_agent_unless_it_is_left_away(api: Api) -> None:
    agent = make_agent(Agent.objects.get(pk=send(api, older()).ok()["agent_ids"][0]).organization, name="Keeper")
    for number in range(2):
        archive = Archive.objects.create(organization=agent.organization, name=f"a{number}")
        agent.archives.add(archive)
        Passage.objects.create(
            organization=agent.organization, archive=archive, text=f"fact {number}", tags=["t"], metadata={"n": number}
        )
    file = api.get(f"/agents/{agent.pk}/export").ok()
    assert [passage["text"] for passage in file["agents"][0]["passages"]] == ["fact 0", "fact 1"]
    copy = send(api, file).ok()
    assert copy["left_out"] == {}
    assert (
        api.get(f"/agents/{copy['agent_ids'][0]}/export").ok()["agents"][0]["passages"] == file["agents"][0]["passages"]
    )
    found = api.get(f"/agents/{copy['agent_ids'][0]}/archival-memory/search", query="fact").ok()
    assert found["count"] == 2
    for path, form in ((f"/agents/{agent.pk}/export?scrub_passages=true", {}), ("", {"strip_passages": "true"})):
        left = api.get(path).ok() if path else file
        bare = send(api, left, **form).ok()["agent_ids"][0]
        assert not Passage.objects.filter(archive__agents=bare).exists()
    assert "passages" not in api.get(f"/agents/{bare}/export").ok()["agents"][0]
    for wrong in (
        {"text": " "},
        {"text": "x", "tags": ["y" * 300]},
        {"text": "x", "created_at": "0001-01-01T00:00:00Z"},
    ):
        file["agents"][0]["passages"] = [{"text": "fine"}, wrong]
        refused = send(api, file)
        assert (refused.status, "agents.0.passages" in refused.detail) == (422, True), refused.detail
