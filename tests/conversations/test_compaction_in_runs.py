"""A context that fills up in the middle of things: summed up by a model, and the run goes on."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from agents import model_calls
from agents.models import Agent
from agents.threads import threads
from conversations import compacting, wire
from conversations.compacting import compact_conversation
from conversations.models import Conversation, Message, Run, RunStatus
from conversations.rows import row_of
from conversations.wire import View
from core.errors import BadInput, Conflict
from providers import entries
from providers.models import PriceOverride
from tests.support.api import Tenant
from tests.support.turns import events, fresh, kinds, messages, needs_approval, send, thinker, traces, turn, work

pytestmark = pytest.mark.usefixtures("redis")
MODES = ["sliding_window", "all", "self_compact_sliding_window", "self_compact_all"]
WINDOW = 2_000
FULL = f"[[usage {WINDOW} 10 then say Noted]]"
DEAD = {"name": "dead", "provider_type": "openai", "api_key": "sk-x", "base_url": "http://127.0.0.1:9/v1"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_calls, "BACKOFF_S", 0.001)


def talked(tenant: Tenant, turns: int = 6, **fields: Any) -> Conversation:
    """A conversation of some turns with an agent of a small window."""
    conversation = thinker(tenant, **{"context_window_limit": WINDOW} | fields)
    for n in range(turns):
        turn(tenant, conversation, f"{n}: {'bla ' * 60}[[say Answer {n}]]")
    return conversation


def compact(tenant: Tenant, conversation: Conversation, **settings: Any) -> dict[str, Any]:
    return compact_conversation(tenant.caller, fresh(conversation), settings)


def summary_of(conversation: Conversation) -> Message:
    return Message.objects.get(conversation=conversation, role="summary", in_context=True)


def requested(run: Run) -> dict[str, Any]:
    """What the run's last model call was asked."""
    return dict(json.loads(traces(run)[-1]["request"]))


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_leaves_a_summary_and_what_is_kept(tenant: Tenant, mode: str) -> None:
    conversation = talked(tenant)
    before = messages(conversation)
    done = compact(tenant, conversation, mode=mode)
    after = messages(conversation)
    assert done["num_messages_before"] == 1 + len(before)
    assert done["num_messages_after"] == 1 + len(after) < done["num_messages_before"]
    assert after[-1] == ("summary", done["summary"])
    assert after[:-1] == ([] if mode.endswith("all") else before[-len(after) + 1 :])
    row = summary_of(conversation)
    assert row.stats is not None
    assert (row.stats["trigger"], row.stats["context_window"]) == ("manual", WINDOW)
    assert row.stats["context_tokens_after"] < row.stats["context_tokens_before"]
    assert (row.stats["messages_count_before"], row.stats["messages_count_after"]) == (13, 1 + len(after))
    [ids] = threads().message_ids([conversation.agent_id]).values()
    assert ids[1] == row.pk


def test_after_a_summary_the_conversation_goes_on_behind_it(tenant: Tenant) -> None:
    conversation = talked(tenant)
    done = compact(tenant, conversation)
    run = turn(tenant, conversation, "[[say On]]")
    seen = requested(run)["messages"]
    assert [m["role"] for m in seen][:3] == ["system", "user", "assistant"]
    assert done["summary"] in json.loads(seen[1]["content"])["message"]
    assert seen[-1]["content"] == "[[say On]]"


def test_a_summary_recompiles_the_system_prompt(tenant: Tenant) -> None:
    """The agent is told that there are earlier messages now, which it can search."""
    conversation = talked(tenant)
    before = requested(turn(tenant, conversation, "[[say On]]"))["messages"][0]["content"]
    compact(tenant, conversation, mode="all")
    after = requested(turn(tenant, conversation, "[[say On]]"))["messages"][0]["content"]
    assert "- 0 " in before.rpartition("<memory_metadata>")[2]
    assert "- 14 " in after.rpartition("<memory_metadata>")[2]
    again = requested(turn(tenant, conversation, "[[say On]]"))["messages"][0]["content"]
    assert again == after


def test_self_modes_ask_the_agents_own_model_with_its_own_prefix(tenant: Tenant) -> None:
    conversation = talked(tenant, model_settings={"temperature": 0.5, "provider_type": "openai"})
    own = requested(turn(tenant, conversation, FULL))
    Agent.objects.filter(pk=conversation.agent_id).update(compaction_settings={"mode": "self_compact_all"})
    run = turn(tenant, conversation, "[[say On]]")
    asked = next(json.loads(t["request"]) for t in traces(run) if t["call_type"] == "summarization")
    assert asked["messages"][: len(own["messages"])] == own["messages"]
    assert asked["tools"] == own["tools"]
    assert (asked["tool_choice"], asked["temperature"]) == ("none", 0.5)


def test_settings_of_the_summarizer_are_obeyed(tenant: Tenant, settings: Any) -> None:
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, {"name": "small", "provider_type": "scripted"}]
    wanted = {
        "mode": "all",
        "model": "small/demo",
        "model_settings": {"temperature": 0.1, "max_output_tokens": 99},
        "prompt": "Sum up.",
        "clip_chars": 5,
    }
    conversation = talked(tenant, compaction_settings=wanted)
    turn(tenant, conversation, FULL)
    run = turn(tenant, conversation, "[[say On]]")
    trace = next(t for t in traces(run) if t["call_type"] == "summarization")
    asked = json.loads(trace["request"])
    assert trace["provider_name"] == "small"
    assert (asked["temperature"], asked["max_tokens"]) == (0.1, 99)
    assert asked["messages"][0]["content"].startswith("Sum up.")
    assert len(summary_of(conversation).text) == 5


def test_a_full_window_is_summed_up_before_the_next_step(tenant: Tenant) -> None:
    PriceOverride.objects.create(organization=tenant.organization, model="demo", input=Decimal(1), output=Decimal(1))
    entries.forget(str(tenant.organization.pk))
    conversation = talked(tenant)
    turn(tenant, conversation, FULL)
    run = turn(tenant, conversation, "[[say On]]", include_compaction_messages=True)
    assert run.status == RunStatus.COMPLETED
    told = events(run)
    assert [k for k in kinds(run) if k.startswith("comp")] == ["compaction_started", "compacted"]
    started, done = (event for event in told if event["type"].startswith("comp"))
    assert (started["trigger"], started["context_window"]) == ("post_step_context_check", WINDOW)
    assert started["context_tokens"] == WINDOW + 10
    assert done["message"]["id"] == summary_of(conversation).pk
    calls = traces(run)
    assert [t["call_type"] for t in calls] == ["summarization", "agent_step"]
    assert run.cost_usd == sum(Decimal(t["cost_usd"]) for t in calls) > 0
    assert {t["run_id"] for t in calls} == {run.pk}
    assert fresh(conversation).context_tokens < WINDOW
    entries.forget(str(tenant.organization.pk))


def test_a_full_window_is_summed_up_in_the_middle_of_a_turn(tenant: Tenant) -> None:
    conversation = talked(tenant, compaction_settings={"mode": "all"})
    insert = '{"label": "human", "new_string": "x"}'
    run = turn(tenant, conversation, f"[[usage {WINDOW} 10 then tool memory_insert {insert} then say Done]]")
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 2)
    assert [role for role, _ in messages(conversation)] == ["summary", "assistant"]
    assert Message.objects.filter(run=run).count() == 5


def test_returns_that_the_model_has_not_seen_count_towards_the_window(tenant: Tenant) -> None:
    conversation = talked(tenant, turns=2)
    insert = json.dumps({"label": "human", "new_string": "long " * 1500})
    run = turn(tenant, conversation, f"[[usage 100 10 then tool memory_insert {insert} then say Done]]")
    assert "compacted" in kinds(run)


def test_rules_count_the_calls_that_were_summed_up(tenant: Tenant) -> None:
    rules = [{"type": "max_count_per_step", "tool_name": "memory_insert", "max_count_limit": 1}]
    conversation = talked(tenant, tool_rules=rules, compaction_settings={"mode": "all"})
    insert = '{"label": "human", "new_string": "x"}'
    run = turn(tenant, conversation, f"[[usage {WINDOW} 10 then tool memory_insert {insert} then say Done]]")
    offered = [
        [tool["function"]["name"] for tool in json.loads(t["request"])["tools"]]
        for t in traces(run)
        if t["call_type"] == "agent_step"
    ]
    assert ["memory_insert" in names for names in offered] == [True, False]


def test_a_model_that_says_it_is_too_much_gets_less(tenant: Tenant) -> None:
    conversation = talked(tenant)
    run = turn(tenant, conversation, "[[overflow x1 then say Fits]]")
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 1)
    assert messages(conversation)[-1] == ("assistant", "Fits")
    row = summary_of(conversation)
    assert row.stats is not None
    assert row.stats["trigger"] == "context_window_exceeded"
    assert [(t["call_type"], t["error_type"]) for t in traces(run)] == [
        ("agent_step", "context_window_exceeded"),
        ("summarization", ""),
        ("agent_step", ""),
    ]


@pytest.mark.parametrize("turns", [0, 6], ids=["nothing to cut", "cutting does not help"])
def test_what_is_too_much_in_any_case_fails_the_run(tenant: Tenant, turns: int) -> None:
    conversation = talked(tenant, turns)
    run = turn(tenant, conversation, "[[overflow]]")
    assert run.error is not None
    assert (run.status, run.stop_reason) == (RunStatus.FAILED, "context_window_overflow_in_system_prompt")
    assert (run.error["type"], run.error["status"]) == ("context_window_exceeded", 400)
    assert run.steps.get(status="failed").error_type == "context_window_exceeded"
    assert turn(tenant, conversation, "[[say On]]").status == RunStatus.COMPLETED


def test_a_summarizer_that_fails_is_replaced_by_the_agents_own_model(tenant: Tenant, settings: Any) -> None:
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, DEAD]
    settings.MODEL_MAX_ATTEMPTS = 1
    conversation = talked(tenant)
    done = compact(tenant, conversation, model="dead/gpt-5-mini")
    assert done["num_messages_after"] < done["num_messages_before"]


def test_a_summarizer_that_cannot_be_had_is_replaced_too(tenant: Tenant) -> None:
    done = compact(tenant, talked(tenant), model="nowhere/at-all", mode="all")
    assert done["num_messages_after"] == 2


def test_nobody_to_sum_up_is_no_reason_to_stop(tenant: Tenant, settings: Any) -> None:
    """The context is nearly full, not full: the step is tried as it is."""
    settings.MODEL_MAX_ATTEMPTS = 3
    conversation = talked(tenant, compaction_settings={"mode": "all"})
    turn(tenant, conversation, f"[[error 500 x2 then usage {WINDOW} 10 then say Noted]]")
    settings.MODEL_MAX_ATTEMPTS = 2
    run = turn(tenant, conversation, "[[say On]]")
    assert run.status == RunStatus.COMPLETED
    assert [t["call_type"] for t in traces(run)] == ["summarization", "summarization", "agent_step"]
    assert not Message.objects.filter(conversation=conversation, role="summary").exists()


def test_an_empty_summary_is_none(tenant: Tenant) -> None:
    conversation = talked(tenant, turns=3)
    turn(tenant, conversation, "[[empty]]")
    with pytest.raises(BadInput, match="with nothing"):
        compact(tenant, conversation, mode="all")
    assert not Message.objects.filter(conversation=conversation, role="summary").exists()


def test_what_cannot_be_made_shorter_is_refused(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    with pytest.raises(BadInput, match="Nothing was compacted"):
        compact(tenant, conversation)
    turn(tenant, conversation, "[[say Hi]]")
    assert compact(tenant, conversation, mode="all")["num_messages_after"] == 2
    with pytest.raises(BadInput, match="Nothing was compacted"):
        compact(tenant, conversation, mode="all")


def test_a_running_turn_is_not_summed_up_under_its_feet(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = talked(tenant)
    waiting: list[Run] = []
    summarize = compacting.summarize

    def slow(room: Any) -> Any:
        waiting.append(send(tenant, conversation, "[[say Quicker]]"))
        return summarize(room)

    monkeypatch.setattr(compacting, "summarize", slow)
    with pytest.raises(Conflict, match="running"):
        compact(tenant, conversation)
    with pytest.raises(Conflict, match="running"):
        compact(tenant, conversation)
    assert len(waiting) == 1
    assert work(waiting[0]).status == RunStatus.COMPLETED
    assert messages(conversation)[-1] == ("assistant", "Quicker")


def test_a_call_that_waits_for_approval_is_never_cut_off(tenant: Tenant) -> None:
    conversation = talked(tenant)
    needs_approval(conversation, "memory_insert")
    Agent.objects.filter(pk=conversation.agent_id).update(prompt_version=99)
    run = turn(tenant, conversation, '[[tool memory_insert {"label": "human", "new_string": "x"} then say Done]]')
    assert run.status == RunStatus.WAITING_APPROVAL
    compact(tenant, conversation, mode="all")
    assert [role for role, _ in messages(conversation)] == ["approval", "summary"]
    [call] = Message.objects.get(pk=fresh(conversation).pending_approval_id).tool_calls
    given = [{"type": "approval", "tool_call_id": call["id"], "approve": True}]
    after = turn(tenant, conversation, [{"type": "approval", "approvals": given}])
    assert after.status == RunStatus.COMPLETED


def test_a_summary_is_shown_as_its_reader_asked(tenant: Tenant) -> None:
    conversation = talked(tenant)
    done = compact(tenant, conversation, mode="all")
    row = row_of(summary_of(conversation))
    [packed] = wire.message_of(row)
    assert packed["message_type"] == "user_message"
    told = json.loads(packed["content"])
    assert told["type"] == "system_alert"
    assert done["summary"] in told["message"]
    assert told["compaction_stats"]["trigger"] == "manual"
    [plain] = wire.message_of(row, View(compaction_messages=True))
    assert (plain["message_type"], plain["summary"]) == ("summary_message", done["summary"])
    assert plain["compaction_stats"] == told["compaction_stats"]


def test_a_second_summary_takes_in_the_first(tenant: Tenant) -> None:
    conversation = talked(tenant)
    compact(tenant, conversation, mode="all")
    for n in range(3):
        turn(tenant, conversation, f"[[say More {n}]]")
    compact(tenant, conversation, mode="all")
    assert [role for role, _ in messages(conversation)] == ["summary"]
    assert Message.objects.filter(conversation=conversation, role="summary").count() == 2
