"""Forks keep what was said and seen; blocks that a conversation has to itself are seen and changed in it alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.models import Agent, Block, ConversationBlock
from conversations.models import Conversation, Message, RunStatus
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_conversation, make_tool_turn, make_turn, say
from tests.support.turns import block, fresh, messages, needs_approval, thinker, turn

INSERT = json.dumps({"label": "human", "new_string": "Likes figs."})
EDIT = f"[[tool memory_insert {INSERT} then say Noted]]"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


def conversation_of(shown: dict[str, Any]) -> Conversation:
    return Conversation.objects.select_related("agent").get(pk=shown["id"])


def seen(conversation: Conversation) -> list[str]:
    """Texts of what the model sees, in the order in which the wire names it, without the system message."""
    found = {m.pk: m.text for m in Message.objects.filter(conversation=conversation)}
    return [found[pk] for pk in _ids(conversation)[1:]]


def _ids(conversation: Conversation) -> list[str]:
    from conversations.queries import ids_in_context

    return ids_in_context([conversation.pk])[conversation.pk]


def system_of(conversation: Conversation) -> str:
    return Message.objects.get(conversation=conversation, seq=0).text


def test_a_fork_has_all_that_was_said_and_both_go_on_by_themselves(tenant: Tenant, api: Api) -> None:
    source = thinker(tenant)
    turn(tenant, source, EDIT)
    api.patch(f"/conversations/{source.pk}", {"model": "scripted/demo", "context_window_limit": 9000}).ok()
    shown = api.post(f"/conversations/default/fork?agent_id={source.agent_id}").ok()
    fork = conversation_of(shown)
    assert (shown["summary"], shown["model"], shown["context_window_limit"]) == (None, "scripted/demo", 9000)
    assert messages(fork) == messages(source)
    assert fork.pk in system_of(fork)
    assert fresh(fork).context_tokens == fresh(source).context_tokens > 0
    turn(tenant, fork, "[[say forked]]")
    turn(tenant, source, "[[say straight on]]")
    assert [text for _, text in messages(fork)][-2:] == ["[[say forked]]", "forked"]
    assert [text for _, text in messages(source)][-2:] == ["[[say straight on]]", "straight on"]


def test_a_forks_messages_have_ids_of_their_own_and_no_run(api: Api, agent: Agent) -> None:
    source = make_conversation(agent)
    made = make_tool_turn(source)
    fork = conversation_of(api.post(f"/conversations/{source.pk}/fork?hidden=true").ok())
    assert fork.hidden
    copies = list(fork.messages.order_by("seq"))[1:]
    assert [(m.role, m.content, m.tool_calls, m.tool_returns, m.created_at, m.run_id) for m in copies] == [
        (m.role, m.content, m.tool_calls, m.tool_returns, m.created_at, None) for m in made.messages
    ]
    assert not {m.pk for m in copies} & {m.pk for m in made.messages}
    assert {message["id"] for message in api.get(f"/runs/{made.run.pk}/messages").ok()} == {m.pk for m in made.messages}
    listed = api.get(f"/conversations/{fork.pk}/messages", order="asc").ok()
    assert [message["id"] for message in listed if message["message_type"] == "user_message"] == [copies[0].pk]
    assert {m.id for m in copies} == set(api.get(f"/conversations/{fork.pk}").ok()["in_context_message_ids"][1:])


def test_what_was_said_before_a_fork_is_found_once(api: Api, agent: Agent) -> None:
    source = make_conversation(agent)
    make_turn(source, "the walrus sings", "so it does")
    fork = api.post(f"/conversations/{source.pk}/fork").ok()
    say(conversation_of(fork), "user", "another walrus")

    def found(**where: str) -> set[tuple[str, str]]:
        hits = api.post("/messages/search", {"query": "walrus", "search_mode": "fts", **where}).ok()
        return {(hit["conversation_id"], hit["content"]) for hit in hits}

    said, new = "the walrus sings", (fork["id"], "another walrus")
    assert found() == found(agent_id=agent.pk) == {(source.pk, said), new}
    assert found(conversation_id=fork["id"]) == {(fork["id"], said), new}


def test_a_fork_costs_the_same_queries_however_much_was_said(api: Api, agent: Agent) -> None:
    source = make_conversation(agent)
    api.post(f"/conversations/{source.pk}/fork").ok()  # what the process learns once
    counted = []
    for count in (1, 6):
        for _ in range(count):
            make_turn(source)
        with CaptureQueriesContext(connection) as queries:
            api.post(f"/conversations/{source.pk}/fork").ok()
        counted.append(len(queries))
    assert counted[0] == counted[1]


@pytest.mark.parametrize(("at", "kept"), [(0, 1), (1, 3), (2, 3), (3, 4)])
def test_a_fork_at_a_message_ends_there_and_a_call_keeps_its_return(api: Api, agent: Agent, at: int, kept: int) -> None:
    source = make_conversation(agent)
    made = make_tool_turn(source)
    make_turn(source, "later", "much later")
    shown = api.post(f"/conversations/{source.pk}/fork?message_id={made.messages[at].pk}").ok()
    assert seen(conversation_of(shown)) == [message.text for message in made.messages[:kept]]


def compacted(agent: Agent) -> tuple[Conversation, list[Message]]:
    """Two summaries: the first left "b", the second left "e"."""
    source = make_conversation(agent)
    said = [say(source, "user", text) for text in "ab"]
    said[0].in_context = False
    first = say(source, "summary", "S1", stats={"messages_count_after": 3}, in_context=False)
    said += [first, *(say(source, "user", text) for text in "cde")]
    said += [say(source, "summary", "S2", stats={"messages_count_after": 3}), say(source, "user", "f")]
    for message in said:
        message.in_context = message.text in ("S2", "e", "f")
        message.save()
    return source, said


@pytest.mark.parametrize(
    ("at", "shows"),
    [
        ("a", ["a"]),
        ("b", ["a", "b"]),
        ("S1", ["S1", "b"]),
        ("c", ["S1", "b", "c"]),
        ("d", ["S1", "b", "c", "d"]),
        ("e", ["S2", "e"]),
        ("S2", ["S2", "e"]),
        ("f", ["S2", "e", "f"]),
        (None, ["S2", "e", "f"]),
    ],
)
def test_a_fork_at_a_message_shows_what_the_model_saw_then(
    api: Api, agent: Agent, at: str | None, shows: list[str]
) -> None:
    source, said = compacted(agent)
    query = "" if at is None else f"?message_id={next(m.pk for m in said if m.text == at)}"
    fork = conversation_of(api.post(f"/conversations/{source.pk}/fork{query}").ok())
    assert seen(fork) == shows
    assert fork.next_seq == fork.messages.count()


def test_a_call_that_waits_for_approval_stays_behind(tenant: Tenant, api: Api) -> None:
    source = thinker(tenant)
    needs_approval(source, "memory_insert")
    run = turn(tenant, source, EDIT)
    assert run.status == RunStatus.WAITING_APPROVAL
    request = fresh(source).pending_approval_id
    for query in ("", f"?message_id={request}"):
        fork = conversation_of(api.post(f"/conversations/{source.agent_id}/fork{query}").ok())
        assert (messages(fork), fork.pending_approval_id) == ([("user", EDIT)], "")
        assert turn(tenant, fork, "[[say free]]").status == RunStatus.COMPLETED
    call = Message.objects.get(pk=request).tool_calls[0]["id"]
    answer = {"type": "approval", "approvals": [{"type": "approval", "tool_call_id": call, "approve": True}]}
    assert turn(tenant, source, [answer]).status == RunStatus.COMPLETED
    fork = conversation_of(api.post(f"/conversations/{source.agent_id}/fork").ok())
    asked, answered = fork.messages.filter(role="approval").order_by("seq")
    assert answered.group_id == asked.pk != request


def test_a_message_of_another_conversation_forks_nothing(api: Api, agent: Agent) -> None:
    other = make_turn(default_of(agent)).messages[0]
    source = make_conversation(agent)
    assert api.post(f"/conversations/{source.pk}/fork?message_id={other.pk}").status == 404
    assert Conversation.objects.filter(agent=agent).count() == 2


def test_an_own_block_is_changed_and_shown_in_its_conversation_alone(tenant: Tenant, api: Api) -> None:
    default = thinker(tenant)
    made = api.post(f"/conversations/?agent_id={default.agent_id}", {"isolated_block_labels": ["human"]}).ok()
    [own_id] = made["isolated_block_ids"]
    assert api.get(f"/conversations/{made['id']}").ok()["isolated_block_ids"] == [own_id]
    conversation, other = conversation_of(made), make_conversation(default.agent)
    turn(tenant, conversation, EDIT)
    assert api.get(f"/blocks/{own_id}").ok()["value"] == "Name: ?\nLikes figs."
    assert block(default) == "Name: ?"
    turn(tenant, default, "[[say hm]]")
    turn(tenant, conversation, "[[say hm]]")
    turn(tenant, other, "[[say hm]]")
    assert ["figs" in system_of(one) for one in (default, conversation, other)] == [False, True, False]
    assert ["I am brief." in system_of(one) for one in (default, conversation, other)] == [True, True, True]
    turn(
        tenant,
        default,
        '[[tool memory_replace {"label": "human", "old_string": "?", "new_string": "Ada"} then say Ok]]',
    )
    assert (block(default), Block.objects.get(pk=own_id).value) == ("Name: Ada", "Name: ?\nLikes figs.")


def test_several_edits_at_once_reach_the_own_block_and_the_shared_one(tenant: Tenant, api: Api) -> None:
    default = thinker(tenant)
    made = api.post(f"/conversations/?agent_id={default.agent_id}", {"isolated_block_labels": ["human"]}).ok()
    calls = " ; ".join(f'memory_insert {{"label": "{label}", "new_string": "new"}}' for label in ("persona", "human"))
    turn(tenant, conversation_of(made), f"[[tools {calls} then say Ok]]")
    assert (block(default), block(default, "persona")) == ("Name: ?", "I am brief.\nnew")
    assert Block.objects.get(pk=made["isolated_block_ids"][0]).value == "Name: ?\nnew"


def test_an_own_block_changed_through_the_api_is_shown_at_the_next_step(tenant: Tenant, api: Api) -> None:
    default = thinker(tenant)
    made = api.post(f"/conversations/?agent_id={default.agent_id}", {"isolated_block_labels": ["human"]}).ok()
    api.patch(f"/blocks/{made['isolated_block_ids'][0]}", {"value": "Only here."}).ok()
    conversation = conversation_of(made)
    turn(tenant, conversation, "[[say hm]]")
    assert "Only here." in system_of(conversation)
    assert "Only here." in api.post(f"/conversations/{made['id']}/recompile").ok()
    context = api.get(f"/agents/{default.agent_id}/context", conversation_id=made["id"]).ok()
    assert "Only here." in context["core_memory"]
    assert "Only here." not in api.get(f"/agents/{default.agent_id}/context").ok()["core_memory"]


def test_a_fork_has_own_blocks_of_its_own(tenant: Tenant, api: Api) -> None:
    default = thinker(tenant)
    made = api.post(f"/conversations/?agent_id={default.agent_id}", {"isolated_block_labels": ["human"]}).ok()
    turn(tenant, conversation_of(made), EDIT)
    forked = api.post(f"/conversations/{made['id']}/fork").ok()
    assert len(forked["isolated_block_ids"]) == 1
    assert forked["isolated_block_ids"] != made["isolated_block_ids"]
    assert "figs" in system_of(conversation_of(forked))
    turn(tenant, conversation_of(forked), EDIT)
    values = dict(ConversationBlock.objects.values_list("conversation_id", "block__value"))
    assert values == {made["id"]: "Name: ?\nLikes figs.", forked["id"]: "Name: ?\nLikes figs.\nLikes figs."}


def test_own_blocks_go_with_their_conversation_and_with_the_agent(tenant: Tenant, api: Api) -> None:
    default = thinker(tenant)
    path, body = f"/conversations/?agent_id={default.agent_id}", {"isolated_block_labels": ["human", "persona"]}
    first, second = (api.post(path, body).ok() for _ in range(2))
    assert api.delete(f"/conversations/{first['id']}").status == 200
    assert not Block.objects.filter(pk__in=first["isolated_block_ids"]).exists()
    assert Block.objects.filter(pk__in=second["isolated_block_ids"]).count() == 2
    assert api.delete(f"/agents/{default.agent_id}").status == 200
    assert not Block.objects.filter(pk__in=second["isolated_block_ids"]).exists()


def test_the_default_conversation_goes_by_three_names_on_every_route(api: Api, agent: Agent, tenant: Tenant) -> None:
    default, other = default_of(agent), make_agent(tenant.organization)
    make_turn(default)
    for name, query in (("default", f"?agent_id={agent.pk}"), (agent.pk, ""), (default.pk, f"?agent_id={agent.pk}")):
        path = f"/conversations/{name}"
        assert api.get(path + query).ok()["id"] == default.pk
        assert api.patch(path + query, {"summary": name}).ok()["summary"] == name
        assert api.get(f"{path}/messages{query}").ok()[-1]["message_type"] == "system_message"
        assert api.post(f"{path}/fork{query}").ok()["agent_id"] == agent.pk
        assert api.post(f"{path}/cancel{query}").status == 409
        assert api.delete(path + query).status == 409
        body = {"agent_id": agent.pk} if query else {}
        assert default.pk not in api.post(f"{path}/recompile?dry_run=true", body).ok()
        assert api.post(f"{path}/stream", body).status == 400
        assert api.post(f"{path}/compact", body).status in (200, 400)
    for name in (agent.pk, default.pk):
        assert api.get(f"/conversations/{name}?agent_id={other.pk}").status == 404
    assert api.get("/conversations/default").status == 400
