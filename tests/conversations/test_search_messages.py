"""What an agent finds of its own past: by any word, the best first, and never what is not its own."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.threads import FoundMessage, MessageSearch, threads
from conversations.models import Conversation, Message
from core.time import now
from tests.support.api import Tenant
from tests.support.factories import default_of, make_agent, make_conversation, say
from tests.support.turns import messages, thinker, turn


@pytest.fixture
def conversation(tenant: Tenant) -> Conversation:
    conversation = default_of(make_agent(tenant.organization))
    say(conversation, "user", "My fig tree has no figs this year")
    say(conversation, "assistant", "Give the fig tree more water")
    say(conversation, "user", "Something else about tomatoes")
    return conversation


def find(conversation: Conversation, query: str = "", **more: Any) -> list[FoundMessage]:
    scope = more | {"organization_id": conversation.organization_id, "agent_id": conversation.agent_id}
    return threads().search_messages(MessageSearch(query=query, **scope))


def texts(found: list[FoundMessage]) -> list[str]:
    return [message.text for message in found]


def test_any_word_finds_and_more_words_find_better(conversation: Conversation) -> None:
    found = find(conversation, "What did I say about the figs on my tree?")
    assert texts(found)[0] == "My fig tree has no figs this year"
    assert set(texts(found)) == {
        "My fig tree has no figs this year",
        "Give the fig tree more water",
        "Something else about tomatoes",
    }
    ranks = [message.relevance for message in found]
    assert None not in ranks
    assert ranks == sorted(ranks, key=lambda rank: -(rank or 0))


def test_quotes_and_minus_work_as_on_the_web(conversation: Conversation) -> None:
    assert texts(find(conversation, '"fig tree" -water')) == ["My fig tree has no figs this year"]
    assert find(conversation, '"tree fig"') == []


@pytest.mark.parametrize("query", ["nothing", "!!!", "':*", "a & | b"])
def test_what_is_not_there_is_not_found_and_no_query_is_an_error(conversation: Conversation, query: str) -> None:
    assert find(conversation, query) == []


def test_words_can_be_looked_up_in_the_index(conversation: Conversation) -> None:
    """As the search asks for them, so the index holds them."""
    with CaptureQueriesContext(connection) as asked:
        find(conversation, "fig")
    [ranked] = [query["sql"] for query in asked.captured_queries if "MATERIALIZED" in query["sql"]]
    matching = ranked.partition("MATERIALIZED (")[2].partition("ORDER BY")[0]
    [condition] = re.findall(r"to_tsvector\S+ COALESCE\([^)]*\)\) @@ \(to_tsquery\([^)]*\)\)", matching)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN SELECT id FROM conversations_message WHERE {condition}")
        assert "message_text" in "".join(line for (line,) in cursor.fetchall())


def test_without_a_query_the_newest_come_first(conversation: Conversation) -> None:
    found = find(conversation, limit=2)
    assert texts(found) == ["Something else about tomatoes", "Give the fig tree more water"]
    assert [message.relevance for message in found] == [None, None]


def test_roles_times_and_a_limit_narrow_it_down(conversation: Conversation) -> None:
    assert [message.role for message in find(conversation, "fig", roles=("assistant",))] == ["assistant"]
    assert len(find(conversation, "fig", limit=1)) == 1
    Message.objects.filter(conversation=conversation, seq=1).update(created_at=now() - timedelta(days=2))
    yesterday = now() - timedelta(days=1)
    assert [message.role for message in find(conversation, "fig", start=yesterday)] == ["assistant"]
    assert [message.role for message in find(conversation, "fig", end=yesterday)] == ["user"]


def test_all_conversations_of_the_agent_are_searched_also_what_is_out_of_context(conversation: Conversation) -> None:
    say(make_conversation(conversation.agent), "user", "fig jam")
    Message.objects.filter(conversation=conversation).update(in_context=False)
    assert len(find(conversation, "fig")) == 3


def test_nobody_elses_messages_are_found(conversation: Conversation, tenant: Tenant, stranger: Tenant) -> None:
    colleague, foreigner = make_agent(tenant.organization), make_agent(stranger.organization)
    for agent in (colleague, foreigner):
        say(default_of(agent), "user", "fig secrets")
    assert "fig secrets" not in texts(find(conversation, "fig"))
    assert find(conversation, "secrets") == []
    assert "fig secrets" not in texts(find(conversation))
    crossed = MessageSearch(organization_id=conversation.organization_id, agent_id=foreigner.pk, query="secrets")
    assert threads().search_messages(crossed) == []


def test_the_system_prompt_and_empty_messages_are_not_found(conversation: Conversation) -> None:
    say(conversation, "assistant", "", tool_calls=[{"id": "c", "name": "fig", "arguments": "{}"}])
    assert find(conversation, "helpful agent") == []
    assert "" not in texts(find(conversation))


@pytest.mark.usefixtures("redis")
def test_a_search_does_not_find_what_searches_found(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    search = 'conversation_search {"query": "platypus"}'
    keep = 'memory_insert {"label": "human", "new_string": "likes the platypus"}'
    turn(tenant, conversation, "The platypus is my favourite. [[say Noted]]")
    for calls in (search, f"{search} ; {keep}", f"{keep} ; {search}"):
        turn(tenant, conversation, f"[[tools {calls} then say Found]]")
    returned = [text for role, text in messages(conversation) if role == "tool"]
    assert returned[0] == ""
    assert all(text.startswith("Name: ?") and "Showing" not in text for text in returned[1:])
    found = find(conversation, "platypus", roles=("tool",))
    assert len(found) == 2
    assert not any("Showing" in message.text for message in found)
    last = Message.objects.filter(conversation=conversation, role="tool").latest("seq")
    result = json.loads(last.tool_returns[1]["content"])
    assert "The platypus is my favourite. [[say Noted]]" in [item["content"] for item in result["results"]]
