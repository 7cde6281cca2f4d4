"""Messages found by what they mean: vectors made behind the turns, searched beside words, and never somebody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from letta_client.types import MessageSearchResponse
from pydantic import TypeAdapter

from agents.models import Agent
from agents.threads import MessageSearch
from conversations import search, vectors
from conversations.models import Conversation, Message
from conversations.rows import searchable
from conversations.vector_models import MessageVector
from core.time import now
from providers.errors import AuthenticationFailed, BadRequest
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_conversation, say
from tests.support.turns import thinker, turn

EMBEDDING = "scripted/hashing-384"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization, embedding=EMBEDDING)


@pytest.fixture
def conversation(agent: Agent) -> Conversation:
    conversation = default_of(agent)
    for role, text in (("user", "figs in autumn"), ("assistant", "water the tree"), ("user", "tomatoes want sun")):
        say(conversation, role, text)
    return conversation


def seen(conversation: Conversation) -> int:
    return Conversation.objects.get(pk=conversation.pk).vector_seq


def found(api: Api, query: str, **more: Any) -> list[str]:
    return [hit["content"] for hit in api.post("/messages/search", {"query": query, **more}).ok()]


def test_a_round_makes_vectors_of_what_was_said_once(conversation: Conversation) -> None:
    say(conversation, "tool", "a tool's return")
    say(conversation, "assistant", "", tool_calls=[{"id": "c", "name": "x", "arguments": "{}"}])
    assert vectors.embed_round(100) == 3
    assert seen(conversation) == 6
    kept = MessageVector.objects.select_related("message").get(message__text="water the tree")
    assert (kept.handle, kept.dim, kept.role) == (EMBEDDING, len(kept.embedding), "assistant")
    assert kept.created_at == kept.message.created_at
    assert vectors.embed_round(100) == 0


def test_a_round_is_bounded_and_the_next_goes_on(conversation: Conversation, agent: Agent) -> None:
    other = make_conversation(agent)
    for number in range(3):
        say(other, "user", f"more {number}")
    made = [vectors.embed_round(2) for _ in range(4)]
    assert made == [2, 2, 2, 0]
    assert MessageVector.objects.count() == 6


def test_without_an_embedding_model_nothing_is_asked_for(tenant: Tenant) -> None:
    plain = default_of(make_agent(tenant.organization))
    say(plain, "user", "words alone")
    assert vectors.embed_round(100) == 0
    assert seen(plain) == 1


def test_a_model_that_fails_is_asked_again_later(conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: Any, **kwargs: Any) -> None:
        raise AuthenticationFailed("no")

    with monkeypatch.context() as patched:
        patched.setattr(vectors, "embed_texts", failing)
        assert vectors.embed_round(100) == 0
    assert vectors.embed_round(100) == 0
    Conversation.objects.filter(pk=conversation.pk).update(vectors_after=now() - timedelta(seconds=1))
    assert vectors.embed_round(100) == 3


def test_messages_that_a_model_refuses_stand_in_nobodys_way(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*args: Any, **kwargs: Any) -> None:
        raise BadRequest("too long")

    with monkeypatch.context() as patched:
        patched.setattr(vectors, "embed_texts", refusing)
        assert vectors.embed_round(100) == 0
    say(conversation, "user", "something new")
    assert vectors.embed_round(100) == 1


def test_a_message_high_in_both_lists_comes_first(api: Api, conversation: Conversation) -> None:
    vectors.embed_round(100)
    body = {"query": "figs in autumn", "agent_id": conversation.agent_id}
    first, *rest = api.post("/agents/messages/search", body).ok()
    assert (first["embedded_text"], first["fts_rank"], first["vector_rank"]) == ("figs in autumn", 1, 1)
    assert first["rrf_score"] == pytest.approx(2 / 61)
    assert first["message"]["content"] == [{"type": "text", "text": "figs in autumn", "signature": None}]
    assert [hit["fts_rank"] for hit in rest] == [None, None]
    by_meaning = api.post("/agents/messages/search", body | {"search_mode": "vector"}).ok()
    assert [(hit["fts_rank"], hit["vector_rank"]) for hit in by_meaning] == [(None, 1), (None, 2), (None, 3)]
    assert len(api.post("/agents/messages/search", body | {"search_mode": "fts"}).ok()) == 1


def test_filters_hold_for_words_and_meaning_alike(api: Api, agent: Agent, conversation: Conversation) -> None:
    other = make_conversation(agent)
    say(other, "user", "figs elsewhere")
    vectors.embed_round(100)
    assert len(found(api, "figs")) == 4
    assert found(api, "figs", conversation_id=other.pk) == ["figs elsewhere"]
    assert found(api, "figs", limit=1) == ["figs elsewhere"] or found(api, "figs", limit=1) == ["figs in autumn"]
    tomorrow = (now() + timedelta(days=1)).isoformat()
    assert found(api, "figs", start_date=tomorrow) == []
    assert len(found(api, "figs", end_date=tomorrow)) == 4
    said = api.post("/agents/messages/search", {"query": "figs", "roles": ["assistant"]}).ok()
    assert [hit["embedded_text"] for hit in said] == ["water the tree"]
    project = "project-00000000-0000-4000-8000-000000000000"
    assert api.post("/agents/messages/search", {"query": "figs", "project_id": project}).ok() == []
    newest = api.post("/agents/messages/search", {"limit": 1}).ok()
    assert [hit["embedded_text"] for hit in newest] == ["figs elsewhere"]


def test_the_sdk_reads_what_is_found(api: Api, conversation: Conversation) -> None:
    say(conversation, "system", "figs are in season")
    shown = api.post("/messages/search", {"query": "figs water", "conversation_id": "default"} | of(conversation)).ok()
    read = TypeAdapter(MessageSearchResponse).validate_python(shown)
    kinds = {(message.message_type, message.content) for message in read}
    assert kinds == {
        ("user_message", "figs in autumn"),
        ("assistant_message", "water the tree"),
        ("system_message", "figs are in season"),
    }
    assert {message.conversation_id for message in read} == {conversation.pk}


def of(conversation: Conversation) -> dict[str, str]:
    return {"agent_id": conversation.agent_id}


def test_by_meaning_alone_needs_an_embedding_model(api: Api, tenant: Tenant) -> None:
    agent = make_agent(tenant.organization)
    say(default_of(agent), "user", "figs")
    answer = api.post("/messages/search", {"query": "figs", "search_mode": "vector", "agent_id": agent.pk})
    assert answer.status == 400
    assert "embedding" in answer.detail
    assert found(api, "figs", agent_id=agent.pk) == ["figs"]


def test_words_do_where_the_embedding_model_fails(
    api: Api, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors.embed_round(100)

    def failing(*args: Any, **kwargs: Any) -> None:
        raise AuthenticationFailed("no")

    monkeypatch.setattr(search, "embed_texts", failing)
    assert found(api, "figs") == ["figs in autumn"]
    assert api.post("/messages/search", {"query": "figs", "search_mode": "vector"}).status == 401


def test_nobody_elses_messages_are_near(api: Api, their_api: Api, conversation: Conversation, stranger: Tenant) -> None:
    theirs = make_agent(stranger.organization, embedding=EMBEDDING)
    say(default_of(theirs), "user", "figs in autumn")
    vectors.embed_round(100)
    assert len(found(api, "figs in autumn")) == 3
    assert found(their_api, "figs in autumn") == ["figs in autumn"]
    assert api.post("/messages/search", {"query": "figs", "agent_id": theirs.pk}).status == 404


def test_the_nearest_of_an_organization_are_looked_up_in_an_index(conversation: Conversation) -> None:
    vector = [0.1] * 384
    wanted = MessageSearch(organization_id=conversation.organization_id, query="x")
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as asked:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
        search.find(wanted, {EMBEDDING: vector})
        [near] = [query["sql"] for query in asked.captured_queries if "<=>" in query["sql"]]
        cursor.execute(f"EXPLAIN {near}")
        assert "vectors_of_384" in "".join(line for (line,) in cursor.fetchall())


@pytest.mark.usefixtures("redis")
def test_an_agent_finds_its_past_by_meaning(tenant: Tenant) -> None:
    conversation = thinker(tenant, embedding=EMBEDDING)
    turn(tenant, conversation, "I am fond of the platypus [[say Noted]]")
    assert vectors.embed_round(100) == 2
    turn(tenant, conversation, '[[tools conversation_search {"query": "Noted!?"} then say Found]]')
    returned = Message.objects.get(conversation=conversation, role="tool").tool_returns[0]["content"]
    assert "I am fond of the platypus" in returned


def test_what_an_old_agent_says_by_a_tool_is_found() -> None:
    call = {"id": "c", "name": "send_message", "arguments": '{"message": "Ahoy"}'}
    assert searchable({"content": [], "tool_calls": [call], "tool_returns": []}) == "Ahoy"
