"""A run, step by step, as a worker drives it: what is said, stored, told, counted, and when it ends."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from agents.models import Agent
from conversations import runner
from conversations.models import Message, Run, RunStatus, Step
from conversations.rows import answer_to_json
from providers.types import Message as ModelMessage
from providers.types import TextPart, ToolCall
from tests.support.api import Tenant
from tests.support.turns import (
    block,
    events,
    fresh,
    kinds,
    messages,
    rang,
    send,
    thinker,
    traces,
    turn,
)

pytestmark = pytest.mark.usefixtures("redis")
INSERT = '{"label": "human", "new_string": "Name: Ada"}'


def test_a_turn_without_tools_is_one_step(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, "[[say Hello there]]")
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "end_turn", 1)
    assert messages(conversation) == [("user", "[[say Hello there]]"), ("assistant", "Hello there")]
    step = Step.objects.get(run=run)
    assert (step.status, step.index, step.attempt, step.stop_reason) == ("success", 0, 1, "end_turn")
    assert (step.model_handle, step.provider_category, step.tools_used) == ("scripted/demo", "base", [])
    assert run.usage == step.usage
    assert run.cost_usd == step.cost_usd == Decimal(0)
    assert (run.worker, run.current_step_id, run.error) == ("", "", None)


def test_a_turn_is_told_as_it_happens(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), "[[think Hm then say Hello there]]")
    told = events(run)
    assert kinds(run) == [
        "run_started",
        "step_started",
        "reasoning_delta",
        "text_delta",
        "message_added",
        "message_added",
        "step_ended",
        "run_ended",
    ]
    assert told[2]["text"] == "Hm"
    assert told[3]["text"] == "Hello there"
    assert [event["message"]["role"] for event in told[4:6]] == ["user", "assistant"]
    assert told[3]["message_id"] == told[5]["message"]["id"]
    assert (told[-1]["status"], told[-1]["stop_reason"], told[-1]["step_count"]) == ("completed", "end_turn", 1)
    assert told[-1]["usage"]["total_tokens"] == told[-1]["context_tokens"] > 0


def test_a_tool_call_changes_memory_and_the_turn_goes_on(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say Nice name]]")
    assert (run.stop_reason, run.step_count) == ("end_turn", 2)
    assert block(conversation) == "Name: ?\nName: Ada"
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "tool", "assistant"]
    first, second = Step.objects.filter(run=run).order_by("index")
    assert (first.tools_used, first.stop_reason, second.stop_reason) == (["memory_insert"], None, "end_turn")
    assert first.tools_ms is not None
    assert {m.step_id for m in Message.objects.filter(run=run, seq__lte=3)} == {first.pk}
    assert run.usage["output"] == first.usage["output"] + second.usage["output"]


def test_parallel_calls_are_returned_together_and_in_order(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    calls = " ; ".join(f'memory_insert {{"label": "human", "new_string": "{n}"}}' for n in "abc")
    run = turn(tenant, conversation, f"[[tools {calls} then say Done]]")
    assert run.step_count == 2
    assert block(conversation) == "Name: ?\na\nb\nc"
    [row] = Message.objects.filter(run=run, role="tool")
    asked = Message.objects.get(run=run, seq=row.seq - 1)
    assert [item["tool_call_id"] for item in row.tool_returns] == [call["id"] for call in asked.tool_calls]


def test_what_a_model_gets_wrong_it_is_told(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    for script, expected in (
        ("[[tool no_such_tool {} then say Sorry]]", "no_such_tool"),
        ("[[bad-json-args memory_insert then say Sorry]]", "not valid JSON"),
        ('[[tool memory_insert {"label": "nope", "new_string": "x"} then say Sorry]]', "does not exist"),
    ):
        run = turn(tenant, conversation, script)
        assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "end_turn", 2)
        [returned] = Message.objects.get(run=run, role="tool").tool_returns
        assert returned["is_error"]
        assert expected in returned["content"]
    assert block(conversation) == "Name: ?"


def test_a_turn_ends_at_max_steps(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    script = " then ".join(f'tool memory_insert {{"label": "human", "new_string": "{n}"}}' for n in range(5))
    run = turn(tenant, conversation, f"[[{script} then say Done]]", max_steps=2)
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "max_steps", 2)
    assert block(conversation) == "Name: ?\n0\n1"
    assert turn(tenant, conversation, "[[say Still here]]").stop_reason == "end_turn"


def test_a_terminal_tool_ends_the_turn(tenant: Tenant) -> None:
    rules = [{"type": "exit_loop", "tool_name": "memory_insert"}]
    conversation = thinker(tenant, tool_rules=rules)
    run = turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say Never]]")
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "tool_rule", 1)
    assert block(conversation) == "Name: ?\nName: Ada"


def test_a_required_tool_is_asked_for_before_the_end(tenant: Tenant) -> None:
    rules = [{"type": "required_before_exit", "tool_name": "memory_insert"}]
    conversation = thinker(tenant, tool_rules=rules)
    run = turn(tenant, conversation, "[[say Done]]", max_steps=3)
    assert run.stop_reason == "max_steps"
    nudges = [text for role, text in messages(conversation) if role == "user"][1:]
    assert len(nudges) == 2
    assert all("memory_insert" in nudge for nudge in nudges)
    assert turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say Done]]").stop_reason == "end_turn"


def test_arguments_that_a_rule_fixes_win(tenant: Tenant) -> None:
    args = {"label": "human", "new_string": "fixed"}
    conversation = thinker(tenant, tool_rules=[{"type": "run_first", "tool_name": "memory_insert", "args": args}])
    turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say Done]]")
    assert block(conversation) == "Name: ?\nfixed"


def test_arguments_that_a_rule_fixes_wrongly_end_the_run(tenant: Tenant) -> None:
    rules = [{"type": "run_first", "tool_name": "memory_insert", "args": {"colour": "red"}}]
    conversation = thinker(tenant, tool_rules=rules)
    run = turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say Done]]")
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, "invalid_tool_call")
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "tool"]
    assert block(conversation) == "Name: ?"


def test_only_the_first_of_parallel_calls_counts_under_rules(tenant: Tenant) -> None:
    chain = {"type": "constrain_child_tools", "tool_name": "memory_insert", "children": ["memory_insert"]}
    conversation = thinker(tenant, tool_rules=[chain])
    calls = " ; ".join(f'memory_insert {{"label": "human", "new_string": "{n}"}}' for n in "ab")
    run = turn(tenant, conversation, f"[[tools {calls} then say Done]]", stream_tokens=True)
    told = {e["tool_call_id"] for e in events(run) if e["type"] == "tool_call_delta"}
    stored = [call["id"] for m in Message.objects.filter(run=run).order_by("seq") for call in m.tool_calls]
    assert sorted(told) == sorted(stored)
    assert [text for role, text in messages(conversation) if role == "tool"] == ["Name: ?\na", "Name: ?\na\nb"]


def test_a_call_that_a_rule_refuses_opens_no_way_round_the_rule(tenant: Tenant) -> None:
    chain = {"type": "constrain_child_tools", "tool_name": "memory_insert", "children": ["memory_replace"]}
    conversation = thinker(tenant, tool_rules=[chain])
    insert = f"tool memory_insert {INSERT}"
    turn(tenant, conversation, f"[[{insert} then {insert} then {insert} then say Done]]")
    returned = [text for role, text in messages(conversation) if role == "tool"]
    assert [text.startswith("[ToolConstraintError]") for text in returned] == [False, True, True]


def test_an_answer_that_was_cut_fails_the_run(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, "[[finish length then say cut sho]]")
    assert (run.status, run.stop_reason, run.error) == (RunStatus.FAILED, "max_tokens_exceeded", None)
    assert messages(conversation)[-1] == ("assistant", "cut sho")


def test_a_refusal_is_an_answer_and_an_empty_one_leaves_no_message(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    assert turn(tenant, conversation, "[[refuse]]").stop_reason == "end_turn"
    assert turn(tenant, conversation, "[[empty]]").stop_reason == "end_turn"
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "user"]
    assert turn(tenant, conversation, "[[say On]]").stop_reason == "end_turn"


def test_a_buffer_that_clears_itself_shows_the_model_this_turn_alone(tenant: Tenant) -> None:
    conversation = thinker(tenant, message_buffer_autoclear=True)
    turn(tenant, conversation, "[[say one]]")
    run = turn(tenant, conversation, f"[[tool memory_insert {INSERT} then say two]]")
    seen = [json.loads(trace["request"])["messages"] for trace in traces(run)]
    assert [[m["role"] for m in call] for call in seen] == [
        ["system", "user"],
        ["system", "user", "assistant", "tool"],
    ]
    assert len(messages(conversation)) == 6


def test_a_request_may_name_another_model_and_another_system_prompt(tenant: Tenant, settings: Any) -> None:
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, {"name": "other", "provider_type": "scripted"}]
    conversation = thinker(tenant)
    run = turn(tenant, conversation, "[[say Hi]]", override_model="other/demo", override_system="Talk like a pirate.")
    [trace] = traces(run)
    assert trace["provider_name"] == "other"
    assert json.loads(trace["request"])["messages"][0]["content"] == "Talk like a pirate."
    assert Step.objects.get(run=run).model_handle == "other/demo"
    [after] = traces(turn(tenant, conversation, "[[say Hi]]"))
    assert json.loads(after["request"])["messages"][0]["content"].startswith("Be brief.")


def test_an_old_agent_speaks_by_a_tool_and_reads_packed_messages(tenant: Tenant) -> None:
    conversation = thinker(tenant, agent_type="memgpt_agent", include_base_tools=True, include_base_tool_rules=True)
    run = turn(tenant, conversation, 'Hi [[tool send_message {"message": "Ahoy"}]]')
    assert (run.stop_reason, run.step_count) == ("tool_rule", 1)
    [trace] = traces(run)
    shown = json.loads(trace["request"])["messages"][-1]["content"]
    assert json.loads(shown)["type"] == "user_message"
    assert messages(conversation)[0][1].startswith("Hi [[tool")


def test_characters_that_no_database_holds_do_no_harm(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    sent = [{"role": "user", "content": "a\x00b\ud800 é", "name": "A\x00", "otid": "o\x00", "sender_id": "s\x00"}]
    run = turn(tenant, conversation, sent, override_system="Say \x00.")
    assert run.status == RunStatus.COMPLETED
    assert messages(conversation)[0] == ("user", "a\ufffdb? é")
    said = answer_to_json(ModelMessage("assistant", (TextPart("c\x00d"),), (ToolCall("\x00", "f", "\ud800"),)))
    assert said == ([{"type": "text", "text": "c\ufffdd"}], [{"id": "\ufffd", "name": "f", "arguments": "?"}])


def test_the_bell_is_rung_once_for_each_step_that_follows(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), f"[[tool memory_insert {INSERT} then say Done]]")
    runner.advance(run.pk)
    assert rang() == [(run.pk, 1)]
    runner.advance(run.pk, 0)  # a ring that came twice
    assert Run.objects.get(pk=run.pk).step_count == 1
    runner.advance(run.pk, 1)
    assert rang() == []
    assert Run.objects.get(pk=run.pk).status == RunStatus.COMPLETED


def test_an_agent_shows_how_its_last_run_ended(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[say Hi]]")
    agent = Agent.objects.get(pk=conversation.agent_id)
    assert agent.last_stop_reason == "end_turn"
    assert agent.last_run_duration_ms is not None
    after = fresh(conversation)
    assert after.last_run_completion is not None
    assert after.context_tokens > 0


def test_a_failed_run_is_told_and_leaves_the_conversation_usable(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, "[[error 401]]")
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, "llm_api_error")
    assert run.error is not None
    assert run.error["type"] == "llm_authentication"
    assert "Incorrect API key" in run.error["detail"]
    step = Step.objects.get(run=run)
    assert (step.status, step.error_type) == ("failed", "llm_authentication")
    assert messages(conversation) == []
    assert events(run)[-1]["error"] == run.error
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED


def test_a_fault_of_ours_fails_the_run_without_telling_what_it_was(tenant: Tenant, monkeypatch: Any) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[say Hi]]")

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(runner, "commit_step", broken)
    runner.advance(run.pk)
    monkeypatch.undo()
    run.refresh_from_db()
    assert run.error is not None
    assert (run.status, run.error["type"], run.error["status"]) == (RunStatus.FAILED, "internal_error", 500)
    assert "secret" not in json.dumps(run.error)
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("script", "steps", "queries"),
    [("[[say Hi]]", 1, 9), (f"[[tool memory_insert {INSERT} then say Done]]", 2, 28)],
    ids=["plain", "with a tool"],
)
def test_a_turn_costs_few_queries(
    tenant: Tenant, django_assert_max_num_queries: DjangoAssertNumQueries, script: str, steps: int, queries: int
) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, script)
    run = send(tenant, conversation, script)
    with django_assert_max_num_queries(queries):
        for _ in range(steps):
            runner.advance(run.pk)
    assert Run.objects.get(pk=run.pk).status == RunStatus.COMPLETED
