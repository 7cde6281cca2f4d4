"""A turn that waits for a human, or for the client that runs its own tools: asked, answered, and gone on with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.models import Agent
from agents.threads import threads
from conversations import history as histories
from conversations import runner
from conversations.actions import cancel_conversation
from conversations.models import Conversation, Message, Run, RunStatus
from conversations.rows import row_of
from conversations.wire import message_of
from core.errors import BadInput, Conflict
from tests.support.api import Tenant
from tests.support.turns import (
    block,
    events,
    fresh,
    lose,
    messages,
    needs_approval,
    send,
    thinker,
    traces,
    turn,
    work,
)

pytestmark = pytest.mark.usefixtures("redis")
ONE = '[[tool memory_insert {"label": "human", "new_string": "one"} then say Done]]'
TWO = (
    '[[tools memory_insert {"label": "human", "new_string": "one"} ; '
    'memory_insert {"label": "human", "new_string": "two"} then say Done]]'
)
MIXED = (
    '[[tools memory_insert {"label": "human", "new_string": "one"} ; '
    'memory_replace {"label": "persona", "old_string": "brief", "new_string": "free"} then say Done]]'
)
CLIENT_TOOL = {
    "name": "ring_bell",
    "description": "Rings.",
    "parameters": {"type": "object", "properties": {"times": {"type": "integer"}}},
}


@pytest.fixture
def asked(tenant: Tenant) -> Conversation:
    """memory_insert waits for a human."""
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    return conversation


def request_of(conversation: Conversation) -> Message:
    return Message.objects.get(pk=fresh(conversation).pending_approval_id)


def call_ids(conversation: Conversation) -> list[str]:
    request = request_of(conversation)
    assert request.stats is not None
    return list(request.stats["awaits"])


def answer(*approvals: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return [{"type": "approval", "approvals": list(approvals)} | more]


def approve(call_id: str, approve: bool = True, **more: Any) -> dict[str, Any]:
    return {"type": "approval", "tool_call_id": call_id, "approve": approve} | more


def returned(conversation: Conversation, call_id: str, content: str, status: str = "success") -> dict[str, Any]:
    return {"type": "tool", "tool_call_id": call_id, "tool_return": content, "status": status}


def is_valid(run: Run) -> list[dict[str, Any]]:
    """What the run's last model call was asked: each tool call has exactly one return behind it."""
    asked: list[dict[str, Any]] = json.loads(traces(run)[-1]["request"])["messages"]
    called = [call["id"] for message in asked for call in message.get("tool_calls") or ()]
    answered = [message["tool_call_id"] for message in asked if message["role"] == "tool"]
    assert called == answered
    return asked


def test_a_call_that_needs_approval_stops_the_turn(tenant: Tenant, asked: Conversation) -> None:
    run = turn(tenant, asked, ONE)
    assert (run.status, run.stop_reason) == (RunStatus.WAITING_APPROVAL, "requires_approval")
    assert block(asked) == "Name: ?"
    [shown] = message_of(row_of(request_of(asked)))
    assert shown["message_type"] == "approval_request_message"
    assert shown["tool_call"]["name"] == "memory_insert"
    ended = events(run)[-1]
    assert (ended["type"], ended["status"], ended["stop_reason"]) == (
        "run_ended",
        "waiting_approval",
        "requires_approval",
    )


def test_the_pieces_of_such_a_call_say_that_it_waits(tenant: Tenant, asked: Conversation) -> None:
    run = turn(tenant, asked, MIXED, stream_tokens=True)
    pieces = [event for event in events(run) if event["type"] == "tool_call_delta"]
    assert {(p["tool_call_id"] in call_ids(asked), p["needs_approval"]) for p in pieces} == {
        (True, True),
        (False, False),
    }


def test_what_is_approved_is_done_once_and_the_turn_goes_on(tenant: Tenant, asked: Conversation) -> None:
    first = turn(tenant, asked, ONE)
    run = turn(tenant, asked, answer(approve(call_ids(asked)[0])))
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "end_turn", 1)
    assert block(asked) == "Name: ?\none"
    assert [role for role, _ in messages(asked)] == ["user", "approval", "approval", "tool", "assistant"]
    is_valid(run)
    first.refresh_from_db()
    assert first.status == RunStatus.COMPLETED
    assert fresh(asked).pending_approval_id == ""
    kinds = [event["type"] for event in events(run)]
    assert kinds.count("run_started") == 1
    assert [e["message"]["role"] for e in events(run) if e["type"] == "message_added"] == [
        "approval",
        "tool",
        "assistant",
    ]


def test_what_is_denied_is_not_done_and_the_model_reads_why(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    run = turn(tenant, asked, answer(approve(call_ids(asked)[0], False, reason="Not yours to keep.")))
    assert run.status == RunStatus.COMPLETED
    assert block(asked) == "Name: ?"
    told = next(message for message in is_valid(run) if message["role"] == "tool")
    assert json.loads(told["content"])["status"] == "Failed"
    assert "Not yours to keep." in told["content"]


def test_calls_may_be_answered_differently(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, TWO)
    first, second = call_ids(asked)
    run = turn(tenant, asked, answer(approve(second), approve(first, False)))
    assert block(asked) == "Name: ?\ntwo"
    [row] = Message.objects.filter(run=run, role="tool")
    assert [(item["tool_call_id"], item["is_error"]) for item in row.tool_returns] == [(first, True), (second, False)]
    is_valid(run)


def test_a_call_that_nobody_was_asked_about_waits_for_the_others(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, MIXED)
    assert block(asked, "persona") == "I am brief."
    [only] = call_ids(asked)
    run = turn(tenant, asked, answer(approve(only, False)))
    assert (block(asked), block(asked, "persona")) == ("Name: ?", "I am free.")
    is_valid(run)


def test_a_tool_of_the_client_is_run_by_the_client(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    script = '[[tool ring_bell {"times": 2} then say Rung]]'
    run = turn(tenant, conversation, script, client_tools=[CLIENT_TOOL])
    assert run.status == RunStatus.WAITING_APPROVAL
    [call_id] = call_ids(conversation)
    given = {"type": "tool_return", "tool_returns": [returned(conversation, call_id, "ding ding")]}
    after = turn(tenant, conversation, [given], client_tools=[CLIENT_TOOL])
    assert after.status == RunStatus.COMPLETED
    assert ("tool", "ding ding") in messages(conversation)
    is_valid(after)


def test_a_client_may_say_that_its_tool_failed(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[tool ring_bell {} then say Hm]]", client_tools=[CLIENT_TOOL])
    [call_id] = call_ids(conversation)
    run = turn(tenant, conversation, answer(returned(conversation, call_id, "No bell.", "error")))
    [item] = Message.objects.get(run=run, role="tool").tool_returns
    assert (item["content"], item["is_error"]) == ("No bell.", True)


@pytest.mark.parametrize("approves", [True, False])
def test_the_old_form_answers_all_at_once(tenant: Tenant, asked: Conversation, approves: bool) -> None:
    turn(tenant, asked, TWO)
    pending = fresh(asked).pending_approval_id
    run = turn(tenant, asked, [{"type": "approval", "approve": approves, "approval_request_id": pending}])
    assert block(asked) == ("Name: ?\none\ntwo" if approves else "Name: ?")
    is_valid(run)


def test_what_is_said_beside_an_approval_comes_after_it(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    sent = [*answer(approve(call_ids(asked)[0])), {"role": "user", "content": "[[say And on]]"}]
    run = turn(tenant, asked, sent)
    assert [role for role, _ in messages(asked)] == ["user", "approval", "approval", "tool", "user", "assistant"]
    assert messages(asked)[-1] == ("assistant", "And on")
    is_valid(run)


def wrong_answers(conversation: Conversation) -> dict[str, list[dict[str, Any]]]:
    first, second = call_ids(conversation)
    pending = fresh(conversation).pending_approval_id
    return {
        "one is missing": answer(approve(first)),
        "none": answer(),
        "unknown": answer(approve(first), approve("call_unknown")),
        "one too many": answer(approve(first), approve(second), approve("call_more")),
        "twice the same": answer(approve(first), approve(first)),
        "two messages": [*answer(approve(first)), *answer(approve(second))],
        "another request": [{"type": "approval", "approve": True, "approval_request_id": f"{pending[:-1]}x"}],
    }


def test_a_wrong_answer_is_refused_and_the_calls_go_on_waiting(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, TWO)
    for name, sent in wrong_answers(asked).items():
        with pytest.raises(BadInput):
            send(tenant, asked, sent)
        assert fresh(asked).pending_approval_id, name
    assert turn(tenant, asked, answer(*map(approve, call_ids(asked)))).status == RunStatus.COMPLETED


def test_a_plain_message_does_not_pass_a_waiting_call(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    with pytest.raises(Conflict) as refused:
        send(tenant, asked, "Hello?")
    detail: Any = refused.value.detail
    assert (detail["code"], detail["pending_request_id"]) == ("PENDING_APPROVAL", fresh(asked).pending_approval_id)


def test_an_answer_without_a_question_is_refused(tenant: Tenant, asked: Conversation) -> None:
    with pytest.raises(BadInput, match="awaiting"):
        send(tenant, asked, answer(approve("call_1")))


def test_an_answer_that_comes_twice_is_one(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    sent = answer(approve(call_ids(asked)[0]), otid="again")
    run = turn(tenant, asked, sent)
    assert send(tenant, asked, sent).pk == run.pk
    with pytest.raises(BadInput, match="awaiting"):
        send(tenant, asked, answer(approve("call_1")))
    assert block(asked) == "Name: ?\none"


def race(conversation: Conversation, late: Run, pending: str) -> Run:
    """The run was let in just before the conversation changed under it."""
    Conversation.objects.filter(pk=conversation.pk).update(pending_approval_id=pending)
    return work(late)


def test_a_message_that_slipped_in_before_the_question_is_refused_by_the_worker(
    tenant: Tenant, asked: Conversation
) -> None:
    turn(tenant, asked, ONE)
    pending = fresh(asked).pending_approval_id
    Conversation.objects.filter(pk=asked.pk).update(pending_approval_id="")
    run = race(asked, send(tenant, asked, "[[say Hi]]"), pending)
    assert run.error is not None
    assert (run.status, run.error["status"]) == (RunStatus.FAILED, 409)
    assert turn(tenant, asked, answer(approve(call_ids(asked)[0]))).status == RunStatus.COMPLETED


def test_an_answer_that_came_too_late_is_refused_by_the_worker(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    late = send(tenant, asked, answer(approve(call_ids(asked)[0])))
    Run.objects.filter(pk=late.pk).update(status=RunStatus.COMPLETED)  # another one is let in
    cancel_conversation(fresh(asked))
    Run.objects.filter(pk=late.pk).update(status=RunStatus.QUEUED)
    late = work(late)
    assert late.error is not None
    assert (late.status, late.error["status"], late.step_count) == (RunStatus.FAILED, 400, 0)
    assert block(asked) == "Name: ?"
    is_valid(turn(tenant, asked, "[[say On]]"))


def test_only_calls_that_were_named_are_run(tenant: Tenant, asked: Conversation) -> None:
    """Were the question another one by now, its calls must not pass for such that nobody was asked about."""
    turn(tenant, asked, ONE)
    run = send(tenant, asked, answer(approve(call_ids(asked)[0])))
    sent = [row | {"approvals": [approve("call_of_another")]} for row in run.input]
    Run.objects.filter(pk=run.pk).update(input=sent)
    run = work(run)
    assert run.error is not None
    assert (run.status, run.error["status"]) == (RunStatus.FAILED, 409)
    assert block(asked) == "Name: ?"


@pytest.mark.parametrize("acted", [False, True], ids=["before it acted", "after it acted"])
def test_an_answer_outlives_the_worker_that_took_it(tenant: Tenant, asked: Conversation, acted: bool) -> None:
    turn(tenant, asked, ONE)
    run = send(tenant, asked, answer(approve(call_ids(asked)[0])))
    if acted:
        runner.advance(run.pk)
    assert runner.lease.claim(run.pk) is not None
    histories._remembered.clear()
    lose(run)
    run = work(run)
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 1)
    assert block(asked) == "Name: ?\none"
    assert [role for role, _ in messages(asked)] == ["user", "approval", "approval", "tool", "assistant"]
    is_valid(run)


def test_the_question_outlives_the_worker_that_asked_it(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    histories._remembered.clear()
    run = turn(tenant, asked, answer(approve(call_ids(asked)[0])))
    assert block(asked) == "Name: ?\none"
    is_valid(run)


def test_a_question_may_follow_a_question(tenant: Tenant, asked: Conversation) -> None:
    script = " then ".join(f'tool memory_insert {{"label": "human", "new_string": "{n}"}}' for n in (1, 2, 3))
    turn(tenant, asked, f"[[{script} then say Done]]")
    for _ in range(2):
        run = turn(tenant, asked, answer(approve(call_ids(asked)[0])))
        assert run.status == RunStatus.WAITING_APPROVAL
    run = turn(tenant, asked, answer(approve(call_ids(asked)[0])))
    assert run.status == RunStatus.COMPLETED
    assert block(asked) == "Name: ?\n1\n2\n3"
    assert set(Run.objects.filter(conversation=asked).values_list("status", flat=True)) == {RunStatus.COMPLETED}
    is_valid(run)


# What rules make of it


def with_rules(tenant: Tenant, *rules: dict[str, Any], **fields: Any) -> Conversation:
    conversation = thinker(tenant, tool_rules=list(rules), **fields)
    needs_approval(conversation, "memory_insert")
    return conversation


def test_an_approved_terminal_tool_ends_the_turn(tenant: Tenant) -> None:
    conversation = with_rules(tenant, {"type": "exit_loop", "tool_name": "memory_insert"})
    turn(tenant, conversation, ONE)
    run = turn(tenant, conversation, answer(approve(call_ids(conversation)[0])))
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "tool_rule", 0)
    assert [role for role, _ in messages(conversation)] == ["user", "approval", "approval", "tool"]
    assert events(run)[-1]["stop_reason"] == "tool_rule"
    assert turn(tenant, conversation, "[[say On]]").status == RunStatus.COMPLETED


def test_a_denied_terminal_tool_does_not(tenant: Tenant) -> None:
    conversation = with_rules(tenant, {"type": "exit_loop", "tool_name": "memory_insert"})
    turn(tenant, conversation, ONE)
    run = turn(tenant, conversation, answer(approve(call_ids(conversation)[0], False)))
    assert (run.stop_reason, run.step_count) == ("end_turn", 1)


def test_a_first_tool_that_was_approved_is_not_asked_for_again(tenant: Tenant) -> None:
    conversation = with_rules(tenant, {"type": "run_first", "tool_name": "memory_insert"})
    turn(tenant, conversation, ONE)
    run = turn(tenant, conversation, answer(approve(call_ids(conversation)[0])))
    assert (run.status, messages(conversation)[-1]) == (RunStatus.COMPLETED, ("assistant", "Done"))


def test_rules_see_the_calls_from_before_the_question(tenant: Tenant) -> None:
    """memory_insert may follow memory_replace alone, which was called in the run that asked."""
    rule = {"type": "parent_last_tool", "tool_name": "memory_replace", "children": ["memory_insert"]}
    conversation = with_rules(tenant, rule)
    replace = 'tool memory_replace {"label": "persona", "old_string": "brief", "new_string": "free"}'
    insert = 'tool memory_insert {"label": "human", "new_string": "one"}'
    turn(tenant, conversation, f"[[{replace} then {insert} then say Done]]")
    run = turn(tenant, conversation, answer(approve(call_ids(conversation)[0])))
    assert block(conversation) == "Name: ?\none"
    assert run.status == RunStatus.COMPLETED


def test_a_buffer_that_clears_itself_keeps_the_turn_that_was_asked_in(tenant: Tenant) -> None:
    conversation = with_rules(tenant, message_buffer_autoclear=True)
    turn(tenant, conversation, "[[say Before]]")
    turn(tenant, conversation, ONE)
    run = turn(tenant, conversation, answer(approve(call_ids(conversation)[0])))
    assert [message["role"] for message in is_valid(run)] == ["system", "user", "assistant", "tool"]
    run = turn(tenant, conversation, "[[say After]]")
    assert [message["role"] for message in is_valid(run)] == ["system", "user"]


# Cancelled while it waits


def test_a_waiting_call_that_is_cancelled_is_denied(tenant: Tenant, asked: Conversation) -> None:
    run = turn(tenant, asked, MIXED)
    assert cancel_conversation(fresh(asked)) == {run.pk: "cancelled"}
    run.refresh_from_db()
    assert (run.status, run.stop_reason) == (RunStatus.CANCELLED, "cancelled")
    assert (block(asked), block(asked, "persona")) == ("Name: ?", "I am brief.")
    [row] = Message.objects.filter(conversation=asked, role="tool")
    assert all("cancelled by the user" in item["content"] for item in row.tool_returns)
    assert len(row.tool_returns) == 2
    after = turn(tenant, asked, "[[say On]]")
    assert after.status == RunStatus.COMPLETED
    is_valid(after)
    with pytest.raises(BadInput):
        send(tenant, asked, answer(approve("call_1")))


def test_cancelling_an_older_run_leaves_a_newer_question_alone(tenant: Tenant, asked: Conversation) -> None:
    first = turn(tenant, asked, ONE)
    turn(tenant, asked, answer(approve(call_ids(asked)[0])))
    second = turn(tenant, asked, ONE)
    assert cancel_conversation(fresh(asked)) == {second.pk: "cancelled"}
    first.refresh_from_db()
    assert first.status == RunStatus.COMPLETED


def test_the_agents_waiting_question_is_shown(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, ONE)
    [shown] = threads().pending_approvals([asked.agent_id]).values()
    assert shown["id"] == fresh(asked).pending_approval_id
    assert Agent.objects.get(pk=asked.agent_id).last_stop_reason == "requires_approval"
