"""A stored message whose words are changed: for readers, for the model, and for searches."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import AuditEntry
from agents.models import Agent
from conversations import vectors
from conversations.models import Conversation, Message
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_tool_turn, say
from tests.support.turns import fresh, messages, thinker, traces, turn


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


def edit(api: Api, message: Message, **update: Any) -> Any:
    return api.patch(f"/agents/{message.agent_id}/messages/{message.pk}", update)


def test_each_kind_is_changed_where_it_stands(api: Api, agent: Agent) -> None:
    asked, said, returned, _ = make_tool_turn(default_of(agent)).messages
    shown = edit(api, asked, message_type="user_message", content="I am Grace").ok()
    assert (shown["id"], shown["message_type"], shown["content"]) == (asked.pk, "user_message", "I am Grace")
    assert edit(api, said, message_type="assistant_message", content="Wait.").ok()["content"] == "Wait."
    thought = edit(api, said, message_type="reasoning_message", reasoning="Another name.").ok()
    assert (thought["reasoning"], thought["signature"]) == ("Another name.", None)
    said.refresh_from_db()
    assert [part["type"] for part in said.content] == ["reasoning", "text"]
    assert len(said.tool_calls) == 1
    refused = edit(api, returned, message_type="assistant_message", content="x")
    assert (refused.status, "assistant_message" in refused.detail) == (405, True)


def test_what_an_old_agent_said_by_a_tool_is_changed(api: Api, agent: Agent) -> None:
    call = {"id": "c", "name": "send_message", "arguments": '{"message": "Ahoy"}'}
    message = say(default_of(agent), "assistant", "", tool_calls=[call])
    assert edit(api, message, message_type="assistant_message", content="Hello").ok()["content"] == "Hello"
    message.refresh_from_db()
    assert message.text == "Hello"


def test_a_change_is_noted_and_found(api: Api, tenant: Tenant) -> None:
    conversation = default_of(make_agent(tenant.organization, embedding="scripted/hashing-384"))
    message = say(conversation, "user", "figs")
    assert vectors.embed_round(10) == 1
    edit(api, message, message_type="user_message", content="plums").ok()
    entry = AuditEntry.objects.get(target=message.pk)
    assert (entry.action, entry.before, entry.after) == ("message.edit", {"text": "figs"}, {"text": "plums"})
    assert vectors.embed_round(10) == 1
    [found] = api.post("/agents/messages/search", {"query": "plums", "search_mode": "hybrid"}).ok()
    assert (found["fts_rank"], found["vector_rank"]) == (1, 1)
    assert Conversation.objects.get(pk=conversation.pk).vector_seq == 2


@pytest.mark.usefixtures("redis")
def test_the_model_reads_the_changed_words(api: Api, tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "My name is Ada [[say Hi]]")
    message = Message.objects.get(conversation=conversation, role="user")
    edit(api, message, message_type="user_message", content="My name is Grace").ok()
    [trace] = traces(turn(tenant, fresh(conversation), "[[say Hello]]"))
    assert b"Grace" in trace["request"]
    assert b"Ada" not in trace["request"]
    assert messages(conversation)[0] == ("user", "My name is Grace")


def test_a_message_of_another_agent_is_not_found(api: Api, tenant: Tenant, agent: Agent) -> None:
    message = say(default_of(make_agent(tenant.organization)), "user", "mine")
    path = f"/agents/{agent.pk}/messages/{message.pk}"
    assert api.patch(path, {"message_type": "user_message", "content": "x"}).status == 404
