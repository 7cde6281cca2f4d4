"""What a worker remembers of a conversation between steps, and that the model's prefix keeps its bytes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from pytest_django import DjangoAssertNumQueries

from agents import memory
from agents.actions import update_agent
from agents.memory import Actor
from agents.models import Agent, Block, RevisionActor
from agents.schemas.agents import UpdateAgent
from agents.threads import threads
from conversations import actions, runner
from conversations import history as histories
from conversations.changes import update_conversation
from conversations.compacting import compact_conversation
from conversations.history import History
from conversations.models import Conversation, Message, RunStatus
from conversations.threads import recompile_conversation
from tests.support.api import Tenant
from tests.support.factories import make_agent, make_conversation, make_tool_turn, say
from tests.support.turns import fresh, lose, messages, needs_approval, send, thinker, traces, turn

INSERT = 'tool memory_insert {"label": "human", "new_string": "x"}'
ARCHIVE = 'tool archival_memory_insert {"content": "Figs ripen in August."}'


@pytest.fixture(autouse=True)
def _new_process(redis: object) -> None:
    forget_all()


def forget_all() -> None:
    histories._remembered.clear()
    histories._total = 0


def load(conversation: Conversation) -> History:
    now = fresh(conversation)
    history = histories.load(now, now.agent.agent_type, now.agent.timezone)
    histories.remember(now.pk, history)
    return history


def seqs(history: History) -> list[int]:
    return [entry.row["seq"] for entry in history.seen]


@pytest.fixture
def conversation(tenant: Tenant) -> Conversation:
    conversation = make_conversation(make_agent(tenant.organization))
    for n in range(3):
        say(conversation, "user", f"message {n}")
    return conversation


def test_messages_are_read_once_and_then_remembered(
    conversation: Conversation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    assert seqs(load(conversation)) == [0, 1, 2, 3]
    now = fresh(conversation)
    with django_assert_num_queries(0):
        again = histories.load(now, now.agent.agent_type, now.agent.timezone)
    assert seqs(again) == [0, 1, 2, 3]


def test_what_another_worker_appended_is_read_behind_it(
    conversation: Conversation, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = load(conversation).seen[1]
    say(conversation, "assistant", "by another")
    now = fresh(conversation)
    with django_assert_num_queries(1):
        history = histories.load(now, now.agent.agent_type, now.agent.timezone)
    assert seqs(history) == [0, 1, 2, 3, 4]
    assert history.seen[1] is first
    assert history.next_seq == now.next_seq


@pytest.mark.parametrize("change", [{"context_version": 5}, {"next_seq": 2}])
def test_a_changed_context_is_read_anew(conversation: Conversation, change: dict[str, int]) -> None:
    first = load(conversation).seen[1]
    Conversation.objects.filter(pk=conversation.pk).update(**change)
    assert load(conversation).seen[1] is not first


def test_an_agent_of_another_kind_or_zone_reads_anew(conversation: Conversation) -> None:
    first = load(conversation).seen[1]
    Agent.objects.filter(pk=conversation.agent_id).update(timezone="Europe/Zurich")
    second = load(conversation).seen[1]
    Agent.objects.filter(pk=conversation.agent_id).update(agent_type="memgpt_agent")
    third = load(conversation).seen[1]
    assert len({id(first), id(second), id(third)}) == 3
    assert third.message is not None
    assert "user_message" in third.message.text


def test_a_summary_stands_behind_the_system_message(conversation: Conversation) -> None:
    say(conversation, "summary", "What was before.")
    Message.objects.filter(conversation=conversation, seq=1).update(in_context=False)
    assert seqs(load(conversation)) == [0, 4, 2, 3]


def test_tokens_add_up(conversation: Conversation) -> None:
    history = load(conversation)
    assert history.tokens == sum(entry.tokens for entry in history.seen) > 0
    row = {**history.seen[0].row, "content": [{"type": "text", "text": "longer " * 100}]}
    history.replace_system(row)
    assert history.tokens == sum(entry.tokens for entry in history.seen)


def test_the_longest_unused_are_forgotten_when_there_is_too_much(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "MAX_MESSAGES", 8)
    others = [make_conversation(conversation.agent) for _ in range(6)]
    load(conversation)
    for other in others:
        load(other)
    assert list(histories._remembered) == [other.pk for other in others]
    load(conversation)
    assert list(histories._remembered) == [*(other.pk for other in others[2:]), conversation.pk]
    assert histories._total == 8
    histories.forget(conversation.pk)
    histories.forget(conversation.pk)
    assert histories._total == 4


# The bytes that are sent


def bodies(run: Any) -> list[dict[str, Any]]:
    return [dict(orjson.loads(trace["request"])) for trace in traces(run) if trace["call_type"] == "agent_step"]


def is_prefix(shorter: dict[str, Any], longer: dict[str, Any], first: int = 0) -> bool:
    """Whether the second request begins with the very bytes of the first, from its message `first` on."""
    one, two = (orjson.dumps(body["messages"][first:])[:-1] for body in (shorter, longer))
    return two.startswith(one) and len(two) > len(one) and shorter["tools"] == longer["tools"]


def test_each_request_begins_with_the_bytes_of_the_one_before(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    search = 'tool conversation_search {"query": "figs"}'
    sent = []
    for n in range(3):
        sent += bodies(turn(tenant, conversation, f"About figs, {n} [[think Hm then {search} then say Here]]"))
    assert len(sent) == 6
    assert all(is_prefix(one, two) for one, two in pairwise(sent))


def test_another_worker_sends_the_same_bytes(tenant: Tenant) -> None:
    """What was remembered as it was said, and what is read back from the database, are the same to a vendor's cache."""
    conversation = thinker(tenant)
    sent = bodies(turn(tenant, conversation, f"Grüße “x” [[think Hm then {INSERT} then say Né\u2028 è]]"))
    sent += bodies(turn(tenant, conversation, "[[say One]]"))
    forget_all()
    sent += bodies(turn(tenant, conversation, "[[say Two]]"))
    assert is_prefix(sent[1], sent[2])
    assert is_prefix(sent[2], sent[3])


def test_a_memory_edit_changes_the_system_message_alone(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    before, after = bodies(turn(tenant, conversation, f"[[{INSERT} then say Done]]"))
    assert before["messages"][0] != after["messages"][0]
    assert "Name: ?\\nx" in orjson.dumps(after["messages"][0]).decode()
    assert is_prefix(before, after, first=1)
    [then] = bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert is_prefix(after, then)


def test_an_archival_insert_leaves_the_prompt_as_it_is(tenant: Tenant) -> None:
    conversation = thinker(tenant, tools=["archival_memory_insert"], embedding="scripted/hashing-384")
    turn(tenant, conversation, f"[[{ARCHIVE} then say Kept]]")
    version = fresh(conversation).context_version
    sent = bodies(turn(tenant, conversation, f"[[{ARCHIVE} then say Kept]]"))
    sent += bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert all(is_prefix(one, two) for one, two in pairwise(sent))
    now = fresh(conversation)
    assert now.context_version == version, "what other workers remember still holds"
    assert now.compiled_version == now.agent.prompt_version


def edit_block(tenant: Tenant, conversation: Conversation) -> None:
    block = Block.objects.get(agents=conversation.agent_id, label="human")
    actor = Actor(RevisionActor.API, "user-1")
    memory.change_block(block.pk, str(tenant.organization.pk), {"value": "CHANGED"}, actor)


def edit_system(tenant: Tenant, conversation: Conversation) -> None:
    update_agent(tenant.caller, conversation.agent_id, UpdateAgent(system="CHANGED"))


def edit_and_recompile(tenant: Tenant, conversation: Conversation) -> None:
    edit_block(tenant, conversation)
    recompile_conversation(fresh(conversation), fresh(conversation).agent, dry_run=False)


@pytest.mark.parametrize("change", [edit_block, edit_system, edit_and_recompile])
def test_a_change_from_outside_is_seen_by_every_worker_at_its_next_step(
    tenant: Tenant, change: Callable[[Tenant, Conversation], None]
) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    change(tenant, conversation)
    [body] = bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert "CHANGED" in body["messages"][0]["content"]
    assert Message.objects.get(conversation=conversation, seq=0).text == body["messages"][0]["content"]


def test_a_dry_recompile_changes_nothing(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    before = fresh(conversation)
    edit_block(tenant, conversation)
    assert "CHANGED" in recompile_conversation(before, before.agent, dry_run=True)
    assert fresh(conversation).context_version == before.context_version
    assert "CHANGED" not in Message.objects.get(conversation=conversation, seq=0).text


@pytest.mark.parametrize(
    "change",
    [
        lambda tenant, conversation: actions.reset_messages(conversation.agent),
        lambda tenant, conversation: compact_conversation(tenant.caller, conversation, {"mode": "all"}),
        lambda tenant, conversation: threads().set_message_ids(conversation.agent, []),
    ],
    ids=["reset", "compacted", "chosen"],
)
def test_messages_that_left_the_context_are_not_sent_again(tenant: Tenant, change: Callable[..., object]) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "forgotten [[say Hi]]")
    remembered = histories._remembered[conversation.pk]
    change(tenant, fresh(conversation))
    histories.remember(conversation.pk, remembered)  # as in a worker that had no part in it
    [body] = bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert "forgotten" not in orjson.dumps(body).decode()
    assert len(body["messages"]) == 1 + len(messages(conversation)) - 1


def test_a_context_that_changed_during_a_step_is_not_remembered(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the step and the other change count the version up: what the worker remembers must not pass for current."""
    conversation = thinker(tenant)
    turn(tenant, conversation, "forgotten [[say Hi]]")
    edit_block(tenant, conversation)
    commit = runner.commit_step

    def meanwhile(*args: Any) -> Any:
        threads().set_message_ids(fresh(conversation).agent, [])
        return commit(*args)

    with monkeypatch.context() as patch:
        patch.setattr(runner, "commit_step", meanwhile)
        turn(tenant, conversation, "[[say Hi]]")
    [body] = bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert "forgotten" not in orjson.dumps(body).decode()
    assert "CHANGED" in body["messages"][0]["content"]


def test_another_model_compiles_the_prompt_anew(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    update_conversation(tenant.caller, fresh(conversation), {"model": "scripted/demo"})
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED
    assert fresh(conversation).compiled_version == fresh(conversation).agent.prompt_version


def test_a_request_that_awaits_approval_cannot_leave_the_context(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    turn(tenant, conversation, f"[[{INSERT} then say Done]]")
    with pytest.raises(actions.Conflict, match="awaits approval"):
        threads().set_message_ids(fresh(conversation).agent, [])


def test_a_step_that_was_lost_leaves_nothing_remembered(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    run = send(tenant, conversation, "[[error 401]]")
    runner.advance(run.pk)
    assert conversation.pk not in histories._remembered
    lose(run)
    [body] = bodies(turn(tenant, conversation, "[[say Hi]]"))
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "user"]


def test_what_the_factories_make_is_what_a_worker_reads(tenant: Tenant) -> None:
    conversation = make_conversation(make_agent(tenant.organization))
    make_tool_turn(conversation)
    roles = [entry.message.role for entry in load(conversation).seen if entry.message]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
