"""Messages as lists of `/v1` show them: their shapes, their order, their pages, and how little they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from letta_client.types import MessageListResponse
from letta_client.types.agents import Message as SdkMessage
from pydantic import TypeAdapter

from agents.models import Agent
from conversations.models import Message
from tests.support.api import Api, Tenant
from tests.support.factories import Turn, default_of, make_agent, make_conversation, make_tool_turn, make_turn, say

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden" / "contract_keys.json").read_text())
SDK = TypeAdapter(list[SdkMessage])
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


@pytest.fixture
def turn(agent: Agent) -> Turn:
    return make_tool_turn(default_of(agent))


def texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["content"] for message in messages]


def spoken(agent: Agent, count: int) -> list[Message]:
    conversation = default_of(agent)
    return [say(conversation, "user", f"m{number}") for number in range(1, count + 1)]


def test_each_kind_of_message_has_the_fields_of_the_contract(api: Api, agent: Agent, turn: Turn) -> None:
    shown = api.get(f"/agents/{agent.pk}/messages", order="asc").ok()
    kinds = [message["message_type"] for message in shown]
    assert kinds == [
        "system_message",
        "user_message",
        "reasoning_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
    ]
    for message in shown:
        assert sorted(message) == KEYS[f"message.{message['message_type']}"]


def test_the_sdk_reads_them(api: Api, agent: Agent, turn: Turn) -> None:
    parsed = SDK.validate_python(api.get(f"/agents/{agent.pk}/messages", order="asc").ok())
    assert [type(message).__name__ for message in parsed] == [
        "SystemMessage",
        "UserMessage",
        "ReasoningMessage",
        "AssistantMessage",
        "ToolCallMessage",
        "ToolReturnMessage",
        "AssistantMessage",
    ]


def test_pieces_of_one_stored_message_share_its_id_and_differ_by_otid(api: Api, agent: Agent, turn: Turn) -> None:
    said = turn.messages[1]
    pieces = [m for m in api.get(f"/agents/{agent.pk}/messages").ok() if m["id"] == said.pk]
    assert len(pieces) == 3
    assert len({piece["otid"] for piece in pieces}) == 3
    assert {(piece["run_id"], piece["step_id"]) for piece in pieces} == {(turn.run.pk, turn.steps[0].pk)}


def test_without_an_order_an_agents_newest_messages_come_oldest_first(api: Api, agent: Agent) -> None:
    spoken(agent, 5)
    assert texts(api.get(f"/agents/{agent.pk}/messages", limit=3).ok()) == ["m3", "m4", "m5"]


def test_descending_and_ascending_lists_are_each_others_mirror(api: Api, agent: Agent) -> None:
    spoken(agent, 4)
    up = api.get(f"/agents/{agent.pk}/messages", order="asc").ok()
    down = api.get(f"/agents/{agent.pk}/messages", order="desc").ok()
    assert texts(up)[1:] == ["m1", "m2", "m3", "m4"]
    assert up[0]["message_type"] == "system_message"
    assert down == up[::-1]


def test_a_conversations_messages_come_newest_first(api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent)
    make_turn(conversation, "one", "two")
    shown = api.get(f"/conversations/{conversation.pk}/messages").ok()
    assert texts(shown) == ["two", "one", "You are a helpful agent."]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_by_after_visit_every_message_once(api: Api, agent: Agent, order: str) -> None:
    spoken(agent, 7)
    whole = api.get(f"/agents/{agent.pk}/messages", order=order).ok()
    seen, after = [], {}
    while found := api.get(f"/agents/{agent.pk}/messages", order=order, limit=3, **after).ok():
        seen += found
        after = {"after": found[-1]["id"]}
    assert seen == whole


def test_pages_by_before_go_back_in_time(api: Api, agent: Agent) -> None:
    messages = spoken(agent, 6)
    found = api.get(f"/agents/{agent.pk}/messages", before=messages[4].pk, limit=2).ok()
    assert texts(found) == ["m3", "m4"]
    newer = api.get(f"/agents/{agent.pk}/messages", after=messages[3].pk, limit=2).ok()
    assert texts(newer) == ["m5", "m6"]


def test_between_two_cursors_lies_what_is_between(api: Api, agent: Agent) -> None:
    messages = spoken(agent, 6)
    found = api.get(f"/agents/{agent.pk}/messages", order="asc", after=messages[1].pk, before=messages[4].pk).ok()
    assert texts(found) == ["m3", "m4"]


def test_messages_of_the_same_instant_keep_their_order(api: Api, agent: Agent) -> None:
    messages = spoken(agent, 5)
    Message.objects.filter(conversation=default_of(agent)).update(created_at=messages[0].created_at)
    assert texts(api.get(f"/agents/{agent.pk}/messages", order="asc").ok())[1:] == ["m1", "m2", "m3", "m4", "m5"]


def test_an_unknown_cursor_is_404_and_a_malformed_one_422(api: Api, agent: Agent) -> None:
    assert api.get(f"/agents/{agent.pk}/messages", after=f"message-{UNKNOWN}").status == 404
    assert api.get(f"/agents/{agent.pk}/messages", before="nonsense").status == 422


def test_the_cursor_of_another_conversation_is_404(api: Api, agent: Agent) -> None:
    other = make_turn(make_conversation(agent)).messages[0]
    assert api.get(f"/agents/{agent.pk}/messages", after=other.pk).status == 404


def test_the_limit_counts_stored_messages(api: Api, agent: Agent, turn: Turn) -> None:
    shown = api.get(f"/agents/{agent.pk}/messages", limit=3).ok()
    assert {message["id"] for message in shown} == {message.pk for message in turn.messages[1:]}
    assert len(shown) == 5


def test_only_the_wanted_types_are_shown_and_pages_are_filled_with_them(api: Api, agent: Agent) -> None:
    for number in range(3):
        make_turn(default_of(agent), f"q{number}", f"a{number}")
    shown = api.get(f"/agents/{agent.pk}/messages", include_return_message_types=["user_message"], limit=2).ok()
    assert texts(shown) == ["q1", "q2"]


def test_a_summary_is_a_user_message_unless_its_own_type_is_asked_for(api: Api, agent: Agent) -> None:
    say(default_of(agent), "summary", "They met.")
    path = f"/agents/{agent.pk}/messages"
    [packed] = api.get(path, limit=1).ok()
    assert packed["message_type"] == "user_message"
    assert "They met." in packed["content"]
    [bare] = api.get(path, include_return_message_types=["summary_message"]).ok()
    assert (bare["message_type"], bare["summary"]) == ("summary_message", "They met.")


def test_messages_of_failures_are_shown_when_asked_for(api: Api, agent: Agent) -> None:
    say(default_of(agent), "user", "lost", is_err=True)
    path = f"/agents/{agent.pk}/messages"
    assert "lost" not in texts(api.get(path).ok())
    found = api.get(path, include_err=True).ok()[-1]
    assert (found["content"], found["is_err"]) == ("lost", True)


def test_send_message_is_shown_as_speech_unless_refused(api: Api, agent: Agent) -> None:
    call = {"id": "c1", "name": "send_message", "arguments": '{"message": "Hello!"}'}
    say(default_of(agent), "assistant", tool_calls=[call])
    path = f"/agents/{agent.pk}/messages"
    assert api.get(path, limit=1).ok()[0]["content"] == "Hello!"
    assert api.get(path, limit=1, use_assistant_message=False).ok()[0]["message_type"] == "tool_call_message"


def test_a_named_conversation_of_the_agent_is_listed(api: Api, agent: Agent, tenant: Tenant) -> None:
    conversation = make_conversation(agent)
    make_turn(conversation, "there", "here")
    path = f"/agents/{agent.pk}/messages"
    assert texts(api.get(path, conversation_id=conversation.pk).ok())[1:] == ["there", "here"]
    elsewhere = make_conversation(make_agent(tenant.organization))
    assert api.get(path, conversation_id=elsewhere.pk).status == 404


def test_the_default_conversation_has_three_names(api: Api, agent: Agent, turn: Turn) -> None:
    by_agent = api.get(f"/conversations/{agent.pk}/messages").ok()
    by_default = api.get("/conversations/default/messages", agent_id=agent.pk).ok()
    by_id = api.get(f"/conversations/{default_of(agent).pk}/messages").ok()
    assert by_agent == by_default == by_id
    assert len(by_agent) == 7


def test_default_without_an_agent_says_what_is_missing(api: Api, agent: Agent) -> None:
    answer = api.get("/conversations/default/messages")
    assert answer.status == 400
    assert "agent_id" in answer.detail


def test_a_runs_and_a_steps_messages_come_oldest_first(api: Api, turn: Turn) -> None:
    of_run = api.get(f"/runs/{turn.run.pk}/messages").ok()
    assert [message["message_type"] for message in of_run][:2] == ["user_message", "reasoning_message"]
    assert len(of_run) == 6
    of_step = api.get(f"/steps/{turn.steps[1].pk}/messages").ok()
    assert [message["content"] for message in of_step] == ["Welcome, Ada."]
    parsed = TypeAdapter(MessageListResponse).validate_python(of_run)
    assert len(parsed) == 6


def test_all_messages_of_the_organization_come_in_the_order_of_time(api: Api, tenant: Tenant, stranger: Tenant) -> None:
    for asked in ("first", "second"):
        make_turn(default_of(make_agent(tenant.organization)), asked, f"{asked} answer")
    make_turn(default_of(make_agent(stranger.organization)), "theirs", "also theirs")
    shown = api.get("/messages/", limit=3).ok()
    assert texts(shown)[-2:] == ["second", "second answer"]
    down = api.get("/messages/", order="desc").ok()
    assert "theirs" not in texts(down)
    older = api.get("/messages/", order="desc", after=down[1]["id"], limit=1).ok()
    assert older == down[2:3]


def test_one_message_is_retrieved_as_all_that_it_shows_as(api: Api, turn: Turn) -> None:
    shown = api.get(f"/messages/{turn.messages[1].pk}").ok()
    assert [message["message_type"] for message in shown] == [
        "reasoning_message",
        "assistant_message",
        "tool_call_message",
    ]


def test_a_page_costs_three_queries_whatever_its_length(api: Api, agent: Agent) -> None:
    api.get("/runs/")  # the key's last use is noted once a minute
    for count in (3, 100):
        spoken(agent, count)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            api.get(f"/agents/{agent.pk}/messages").ok()
        assert [query["sql"].split(" ", 1)[0] for query in queries] == ["SELECT"] * 3


def test_a_page_deep_in_a_conversation_is_read_by_the_index(api: Api, agent: Agent) -> None:
    conversation = default_of(agent)
    Message.objects.bulk_create(
        Message(
            organization_id=agent.organization_id,
            agent=agent,
            conversation=conversation,
            seq=seq,
            role="user",
            content=[{"type": "text", "text": f"m{seq}"}],
            text=f"m{seq}",
        )
        for seq in range(1, 3001)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE conversations_message")
    middle = Message.objects.get(conversation=conversation, seq=1500)
    with CaptureQueriesContext(connection) as queries:
        api.get(f"/agents/{agent.pk}/messages", order="desc", after=middle.pk, limit=10).ok()
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + queries[-1]["sql"])
        plan = json.dumps(cursor.fetchone()[0])
    assert "Seq Scan" not in plan
    assert all(rows <= 20 for rows in _rows_of(json.loads(plan)))


def _rows_of(plan: Any) -> list[float]:
    if isinstance(plan, list):
        return [rows for part in plan for rows in _rows_of(part)]
    if isinstance(plan, dict):
        own = [value for name, value in plan.items() if name in ("Actual Rows", "Rows Removed by Filter")]
        return own + [rows for part in plan.values() for rows in _rows_of(part)]
    return []
