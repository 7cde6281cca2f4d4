"""Agents as files: what is written comes back whole, and a hostile file changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from letta_client.types import AgentState

from accounts.models import AuditEntry
from agents.models import Agent, Block, Tool
from agents.schemas.agent_files import MAX_BYTES
from agents.tools.variables import variables_of
from conversations.models import Conversation, Message
from tests.support.api import Answer, Api, Tenant
from tests.support.factories import default_of, make_conversation, make_tool_turn, say
from tests.support.turns import turn

RECORDED = Path("../shared/contract/transcripts/127_agents.export.json")
SOURCE = (
    'def add(a: int, b: int) -> int:\n    """Add two numbers.\n\n    Args:\n        a: One.\n        b: Two.\n    """\n'
)
SOURCE += "    return a + b\n"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALL = {"id": "c9", "name": "add", "arguments": "{}"}


@pytest.fixture
def agent(api: Api) -> Agent:
    tool = api.post("/tools/", {"source_code": SOURCE, "tags": ["sum"], "return_char_limit": 99}).ok()
    made = api.post(
        "/agents/",
        {
            "name": "Sam",
            "model": "scripted/demo",
            "memory_blocks": [
                {"label": "human", "value": "Ada", "limit": 500, "description": "who", "tags": ["t"]},
                {"label": "rules", "value": "none", "read_only": True, "metadata": {"k": 1}},
            ],
            "tool_ids": [tool["id"]],
            "tool_rules": [{"type": "run_first", "tool_name": "add", "args": {"a": 1}}],
            "tags": ["x"],
            "metadata": {"deep": {"er": [1]}},
            "model_settings": {"temperature": 0.3, "max_output_tokens": 55},
            "compaction_settings": {"mode": "all", "clip_chars": 7},
            "response_format": {"type": "json_object"},
            "timezone": "Europe/Zurich",
            "secrets": {"TOKEN": "hunter2"},
        },
    ).ok()
    api.patch(f"/agents/{made['id']}/tools/approval/add", {"requires_approval": True}).ok()
    row = Agent.objects.get(pk=made["id"])
    conversation = default_of(row)
    say(conversation, "user", "long ago", in_context=False)
    say(conversation, "summary", "They met.", stats={"trigger": "manual"})
    make_tool_turn(conversation)
    image = {"type": "image", "media_type": "image/png", "data": PNG, "detail": None}
    say(conversation, "user", content=[{"type": "text", "text": "look"}, image], text="look", sender_id="ada", name="a")
    thought = {"type": "reasoning", "text": "hm", "id": "rs_1", "encrypted": "xyz"}
    say(conversation, "approval", content=[thought], tool_calls=[CALL], stats={"awaits": ["c9"]})
    say(conversation, "approval", approvals=[{"type": "approval", "tool_call_id": "c9", "approve": False}])
    refused = {"tool_call_id": "c9", "name": "add", "content": '{"a": 1}', "is_error": True, "refused": True}
    say(conversation, "tool", tool_returns=[refused | {"stdout": ["o"], "stderr": None}])
    say(conversation, "assistant", content=[{"type": "redacted_reasoning", "data": "r"}])
    return row


def export(api: Api, agent_id: str, **query: Any) -> Any:
    return api.get(f"/agents/{agent_id}/export", **query).ok()


def send(api: Api, file: Any, **form: Any) -> Answer:
    raw = file if isinstance(file, bytes) else json.dumps(file).encode()
    body = {"file": SimpleUploadedFile("a.af", raw, "application/json"), **form}
    return Answer(api.client.post("/v1/agents/import", body, headers=api.headers))


def comparable(file: Any) -> Any:
    """Without what is of the moment: when it was written, and the compiled prompt with the agent's id."""
    agents = [agent | {"messages": agent["messages"][1:], "secrets": None} for agent in file["agents"]]
    return file | {"agents": agents, "created_at": None}


def test_what_is_exported_imported_and_exported_again_is_the_same(api: Api, agent: Agent) -> None:
    first = export(api, agent.pk)
    assert len(first["agents"][0]["messages"]) == 12
    answer = send(api, first, append_copy_suffix="false").ok()
    assert answer["left_out"] == {"secrets": 1}
    assert comparable(export(api, answer["agent_ids"][0])) == comparable(first)


def test_the_stored_messages_are_the_same_and_ready_for_the_next_turn(api: Api, agent: Agent) -> None:
    copy = send(api, export(api, agent.pk)).ok()["agent_ids"][0]
    columns = ("seq", "role", "content", "tool_calls", "tool_returns", "approvals", "stats", "in_context")
    rows = [
        [dict(row) for row in Message.objects.filter(agent_id=one, seq__gt=0).order_by("seq").values(*columns)]
        for one in (agent.pk, copy)
    ]
    for row in (*rows[0], *rows[1]):  # what is null may also be absent
        for returned in row["tool_returns"]:
            returned.setdefault("stdout", None), returned.setdefault("stderr", None)
        for part in row["content"]:
            part.pop("detail", None)
    assert rows[0] == rows[1]
    conversation = default_of(Agent.objects.get(pk=copy))
    assert conversation.next_seq == conversation.vector_seq == 12
    assert (conversation.pending_approval_id, conversation.runs.count()) == ("", 0)
    shown = api.get(f"/agents/{copy}/messages").ok()
    assert {"user_message", "reasoning_message", "approval_request_message"} <= {m["message_type"] for m in shown}


@pytest.mark.usefixtures("redis")
def test_an_imported_agent_goes_on_talking(api: Api, tenant: Tenant, agent: Agent) -> None:
    copy = Agent.objects.get(pk=send(api, export(api, agent.pk)).ok()["agent_ids"][0])
    Agent.objects.filter(pk=copy.pk).update(tool_rules=[], response_format=None)
    run = turn(tenant, default_of(copy), "[[say hi]]")
    assert (run.status, run.stop_reason) == ("completed", "end_turn")


def test_secrets_stay_behind_and_can_be_given_anew(api: Api, agent: Agent) -> None:
    file = export(api, agent.pk)
    assert "hunter2" not in json.dumps(file)
    made = send(api, file, secrets='{"TOKEN": "new"}', name="Eve", model="scripted/demo").ok()
    assert made["left_out"] == {}
    assert variables_of(made["agent_ids"][0]) == {"TOKEN": "new"}
    assert Agent.objects.get(pk=made["agent_ids"][0]).name == "Eve"
    assert AuditEntry.objects.filter(action="agent.import", target=made["agent_ids"][0]).count() == 1


def test_messages_are_scrubbed_stripped_or_of_one_conversation(api: Api, agent: Agent) -> None:
    scrubbed = export(api, agent.pk, scrub_messages="true")["agents"][0]
    assert (scrubbed["messages"], scrubbed["in_context_message_ids"]) == ([], [])
    copy = send(api, export(api, agent.pk), strip_messages="true").ok()["agent_ids"][0]
    assert list(Message.objects.filter(agent_id=copy).values_list("role", flat=True)) == ["system"]
    other = make_conversation(agent)
    say(other, "user", "elsewhere")
    written = export(api, agent.pk, conversation_id=other.pk)["agents"][0]["messages"]
    assert [message["role"] for message in written] == ["system", "user"]
    stranger = make_conversation(Agent.objects.get(pk=copy))
    assert api.get(f"/agents/{agent.pk}/export", conversation_id=stranger.pk).status == 404


def test_existing_tools_are_overwritten_or_kept(api: Api, agent: Agent) -> None:
    file = export(api, agent.pk)
    own = next(tool for tool in file["tools"] if tool["tool_type"] == "custom")
    own["source_code"] = SOURCE + "# changed\n"
    send(api, file, override_existing_tools="false").ok()
    assert "# changed" not in str(Tool.objects.get(name="add").source_code)
    send(api, file).ok()
    assert "# changed" in str(Tool.objects.get(name="add").source_code)
    assert Tool.objects.filter(name="memory_insert").count() == 1


def test_a_file_of_the_retired_server_is_imported(api: Api) -> None:
    recorded = json.loads(RECORDED.read_text())["response"]["body"]
    recorded["tools"] = [tool for tool in recorded["tools"] if isinstance(tool, dict)]
    (old,) = recorded["agents"]
    old["messages"] = [message for message in old["messages"] if isinstance(message, dict)]
    known = {message["id"] for message in old["messages"]}
    old["in_context_message_ids"] = [one for one in old["in_context_message_ids"] if one in known]
    old["tool_ids"] = [tool["id"] for tool in recorded["tools"]]
    recorded["sources"], old["newer_than_us"] = [{"id": "source-0", "name": "papers"}], 1
    assert "agents.0" in send(api, recorded).detail  # its model is not here
    made = send(api, recorded, model="scripted/demo").ok()
    assert made["left_out"]["sources"] == 1
    state = api.get(f"/agents/{made['agent_ids'][0]}", include=["agent.blocks", "agent.tools"]).ok()
    AgentState.model_validate(state)
    assert {block["label"] for block in state["blocks"]} == {"human", "persona"}
    rows = {row.seq: row for row in Message.objects.filter(agent_id=state["id"])}
    assert rows[1].text == "only"  # the summary, out of its packing
    returned = [item for row in rows.values() for item in row.tool_returns]
    assert {"client result"} <= {item["content"] for item in returned}
    assert all(item["name"] for item in returned)


def test_a_call_that_nobody_answered_is_answered(api: Api, agent: Agent) -> None:
    file = export(api, agent.pk)
    spec = file["agents"][0]
    asked = next(m for m in spec["messages"] if m["role"] == "approval")
    at = spec["messages"].index(asked)
    spec["messages"] = spec["messages"][: at + 1]
    spec["in_context_message_ids"] = [m["id"] for m in spec["messages"]]
    copy = send(api, file).ok()["agent_ids"][0]
    last = Message.objects.filter(agent_id=copy).latest("seq")
    assert (last.role, last.tool_returns[0]["tool_call_id"], last.in_context) == ("tool", "c9", True)


@pytest.mark.parametrize("awaits", [7, ["other"], [["c9"]], {"c9": 1}])
def test_a_request_that_waits_for_nonsense_can_be_read(api: Api, agent: Agent, awaits: Any) -> None:
    file = export(api, agent.pk)
    spec = file["agents"][0]
    spec["messages"] = [spec["messages"][0], next(m for m in spec["messages"] if m["role"] == "approval")]
    spec["messages"][1]["stats"] = {"awaits": awaits}
    spec["in_context_message_ids"] = [m["id"] for m in spec["messages"]]
    copy = send(api, file).ok()["agent_ids"][0]
    shown = api.get(f"/agents/{copy}/messages", include_return_message_types="approval_request_message").ok()
    assert shown[0]["tool_call"]["tool_call_id"] == "c9"


def broken(file: Any, path: str, value: Any) -> Any:
    changed: Any = json.loads(json.dumps(file))
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = changed
    for part in way:
        at = at[part]
    at[last] = value
    return changed


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"k": value}
    return value


def test_a_hostile_file_is_refused_with_the_place_and_leaves_nothing(api: Api, agent: Agent, stranger: Any) -> None:
    foreign = Block.objects.create(organization=stranger.organization, label="theirs", value="secret")
    file = export(api, agent.pk)
    counts = [model._default_manager.count() for model in (Agent, Block, Tool, Message, Conversation)]
    wrong = {
        "agents.0.block_ids": [foreign.pk],
        "agents.0.tool_ids": ["tool-99"],
        "agents.0.in_context_message_ids": ["message-99"],
        "agents.0.messages.3.role": "root",
        "agents.0.messages.3.content": [{"type": "video"}],
        "agents.0.messages.3.created_at": "0001-01-01T00:00:00+00:00",
        "agents.0.model": "nobody/nothing",
        "agents.0.timezone": "Moon/Base",
        "agents.0.secrets": {"A B": "hunter2"},
        "agents.0.metadata": nested(100),
        "agents.0.name": "a\u0000b",
        "blocks.0.value": "x" * 501,
        "tools.0": 7,
        "agents": [],
    }
    for path, value in wrong.items():
        answer = send(api, broken(file, path, value))
        assert answer.status in (400, 422), path
        assert "hunter2" not in answer.detail
        if path not in ("agents.0.metadata", "agents.0.name"):
            assert path.split(".")[0] in answer.detail, answer.detail
    for raw in (b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"agents": 1}', b'{"agents": [{"id": "agent-0"}]}'):
        assert send(api, raw, model="nobody/nothing").status in (400, 422), raw[:20]
    assert send(api, b" " * (MAX_BYTES + 1)).status == 413
    assert send(api, file, secrets="[1]").status == 422
    assert counts == [model._default_manager.count() for model in (Agent, Block, Tool, Message, Conversation)]


def test_a_clone_has_the_same_tools_messages_and_secrets(api: Api, agent: Agent) -> None:
    made = api.post(f"/agents/{agent.pk}/clone", {"name": "Twin"}).ok()
    AgentState.model_validate(made)
    assert variables_of(made["id"]) == {"TOKEN": "hunter2"}
    assert len(made["message_ids"]) == len(default_of(agent).messages.filter(in_context=True))
    mine = {block.pk for block in agent.blocks.all()}
    assert mine.isdisjoint(block["id"] for block in made["blocks"])
    assert {tool["id"] for tool in made["tools"]} == set(agent.tools.values_list("pk", flat=True))
    shared = api.post(
        f"/agents/{agent.pk}/clone", {"copy_blocks": False, "with_messages": False, "copy_secrets": False}
    ).ok()
    assert {block["id"] for block in shared["blocks"]} == mine
    assert (shared["name"], len(shared["message_ids"]), shared["secrets"]) == ("Sam_copy", 1, [])
    assert AuditEntry.objects.filter(action="agent.clone").count() == 2
