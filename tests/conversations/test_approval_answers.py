"""Answers to requests for approval: edited arguments, answers that come again, and none at all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from accounts.access import Caller
from agents.models import Tool
from budgets import rules, stops
from budgets.errors import BudgetExceeded
from budgets.models import Budget
from budgets.stops import NewStop
from conversations import answers, expiry
from conversations.actions import cancel_conversation
from conversations.expiry import expire_due
from conversations.inputs import rows_of
from conversations.models import Conversation, Message, Run, RunStatus
from conversations.rows import row_of
from conversations.wire import message_of
from core.errors import BadInput
from core.time import now
from tests.support.api import Api, Tenant
from tests.support.turns import block, body_of, fresh, messages, needs_approval, send, thinker, traces, turn, work

pytestmark = pytest.mark.usefixtures("redis")
TWO = (
    '[[tools memory_insert {"label": "human", "new_string": "one"} ; '
    'memory_insert {"label": "human", "new_string": "two"} then say Done]]'
)
ASKS_TWICE = (
    '[[tool memory_insert {"label": "human", "new_string": "one"} then '
    'tool memory_insert {"label": "human", "new_string": "two"} then say Done]]'
)
BELL = {"name": "ring_bell", "parameters": {"type": "object", "properties": {}}}
LATER = timedelta(hours=2)


@pytest.fixture
def asked(tenant: Tenant) -> Conversation:
    """memory_insert waits for a human."""
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    return conversation


@pytest.fixture
def expires(settings: Any) -> None:
    settings.APPROVAL_EXPIRES_S = 3600.0


def call_ids(conversation: Conversation) -> list[str]:
    request = Message.objects.get(pk=fresh(conversation).pending_approval_id)
    assert request.stats is not None
    return list(request.stats["awaits"])


def approvals(*items: tuple[str, bool, dict[str, Any]]) -> list[dict[str, Any]]:
    given = [{"type": "approval", "tool_call_id": id, "approve": yes, **more} for id, yes, more in items]
    return [{"type": "approval", "approvals": given}]


def returns(run: Run) -> list[dict[str, Any]]:
    return list(Message.objects.get(run=run, role="tool").tool_returns)


# Edited arguments


def test_a_call_is_made_with_the_arguments_that_a_human_gave_it_and_the_model_reads_which(
    tenant: Tenant, asked: Conversation, api: Api
) -> None:
    turn(tenant, asked, TWO)
    first, second = call_ids(asked)
    edit = {"label": "human", "new_string": "ONE"}
    body = {"messages": approvals((first, True, {"edited_arguments": edit}), (second, False, {"reason": "No."}))}
    sent = api.post(f"/agents/{asked.agent_id}/messages/async", body).ok()
    run = work(Run.objects.get(pk=sent["id"]))
    assert run.status == RunStatus.COMPLETED
    assert block(asked) == "Name: ?\nONE"
    [answer] = message_of(row_of(Message.objects.get(run=run, role="approval")))
    assert [item.get("edited_arguments") for item in answer["approvals"]] == [edit, None]
    seen = json.loads(traces(run)[-1]["request"])["messages"]
    told = [json.loads(message["content"]) for message in seen if message["role"] == "tool"]
    assert [item.get("arguments_edited_by_human") for item in told] == [edit, None]


def test_an_edit_that_does_not_fit_is_refused_to_the_human_and_the_call_goes_on_waiting(
    tenant: Tenant, asked: Conversation, api: Api
) -> None:
    turn(tenant, asked, TWO)
    first, second = call_ids(asked)
    for edit, said in (({"label": "human"}, "missing"), ({"label": 1, "new_string": "x"}, "label")):
        with pytest.raises(BadInput, match=said):
            send(tenant, asked, approvals((first, True, {"edited_arguments": edit}), (second, True, {})))
    denied = approvals((first, False, {"edited_arguments": {}}), (second, True, {}))
    assert api.post(f"/agents/{asked.agent_id}/messages/async", {"messages": denied}).status == 422
    assert call_ids(asked) == [first, second]


def test_a_call_of_a_client_tool_cannot_be_edited_here(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    turn(tenant, conversation, "[[tool ring_bell {} then say Rung]]", client_tools=[BELL])
    [call_id] = call_ids(conversation)
    with pytest.raises(BadInput, match="tool of the client"):
        send(tenant, conversation, approvals((call_id, True, {"edited_arguments": {}})), client_tools=[BELL])


# Answers that come again


def test_an_answer_that_comes_again_without_a_key_finds_its_run_as_long_as_it_is_the_same(
    tenant: Tenant, asked: Conversation
) -> None:
    turn(tenant, asked, TWO)
    request_id = fresh(asked).pending_approval_id
    both: list[tuple[str, bool, dict[str, Any]]] = [(call_id, True, {}) for call_id in call_ids(asked)]
    old_form = [{"type": "approval", "approve": True, "approval_request_id": request_id}]
    run = send(tenant, asked, approvals(*both))
    assert send(tenant, asked, approvals(*reversed(both))).pk == run.pk, "not begun yet"
    work(run)
    assert send(tenant, asked, approvals(*both)).pk == run.pk, "done"
    assert send(tenant, asked, [old_form[0] | {"reason": None}]).pk == run.pk
    with pytest.raises(BadInput, match="awaiting"):
        send(tenant, asked, approvals(*((call_id, False, {}) for call_id, _, _ in both)))
    assert block(asked) == "Name: ?\none\ntwo"


def test_an_answer_that_failed_before_it_acted_may_be_given_again(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, TWO)
    given = approvals(*((call_id, True, {}) for call_id in call_ids(asked)))
    lost = send(tenant, asked, given)
    Run.objects.filter(pk=lost.pk).update(status=RunStatus.FAILED)
    run = send(tenant, asked, given)
    assert run.pk != lost.pk
    assert work(run).status == RunStatus.COMPLETED


# On whose account


def test_a_budget_of_the_end_user_counts_on_the_far_side_of_the_pause_whoever_answers(
    tenant: Tenant, asked: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RULES_TTL_S", 0.0)
    fields = {"name": "Each one's day", "metric": "calls", "amount": 1, "window": "day"}
    made = Budget.objects.create(organization=tenant.organization, scope="end_user", target="*", **fields)
    question = [{"role": "user", "content": TWO, "sender_id": "ada"}]
    run = send(tenant, asked, question)
    Run.objects.filter(pk=run.pk).update(billing={"plan_type": "pro"})
    work(run)
    given = approvals(*((call_id, True, {}) for call_id in call_ids(asked)))
    with pytest.raises(BudgetExceeded, match="Each one's day"):
        send(tenant, asked, given)
    made.delete()
    at_the_desk = Caller(tenant.organization.pk, tenant.user.pk, frozenset())
    account = answers.account(at_the_desk, fresh(asked), rows_of(body_of(given, {})), {})
    assert account["api_key_id"] == run.api_key_id, "an operator has no key"
    goes_on = send(tenant, asked, given)
    assert (goes_on.identity_id, goes_on.billing) == ("ada", {"plan_type": "pro"})
    assert [row["identity_id"] for row in traces(work(goes_on))] == ["ada"]


# No answer at all


def expired_run(conversation: Conversation) -> Run:
    return Run.objects.get(conversation=conversation, run_type=expiry.RUN_TYPE)


def test_a_request_that_nobody_answers_is_denied_after_a_time_and_the_turn_goes_on(
    tenant: Tenant, asked: Conversation, expires: None
) -> None:
    first = turn(tenant, asked, TWO, max_steps=7)
    assert expire_due() == 0, "not yet"
    assert (expire_due(now() + LATER), expire_due(now() + LATER)) == (1, 1), "the same one"
    run = work(expired_run(asked))
    assert (run.status, run.options["max_steps"]) == (RunStatus.COMPLETED, 7)
    assert all("nobody answered within 1:00:00" in item["content"] for item in returns(run))
    assert (block(asked), messages(asked)[-1]) == ("Name: ?", ("assistant", "Done"))
    first.refresh_from_db()
    assert first.status == RunStatus.COMPLETED
    assert expire_due(now() + LATER) == 0


def test_without_the_setting_a_request_waits_for_ever(tenant: Tenant, asked: Conversation) -> None:
    turn(tenant, asked, TWO)
    assert expire_due(now() + timedelta(days=3650)) == 0


@pytest.mark.usefixtures("expires")
@pytest.mark.parametrize(("own", "seconds"), [((60, None), 60), ((60, 10), 10), ((None, 10), 10), ((0, None), None)])
def test_a_tool_counts_before_its_agent_and_that_before_the_installation(
    tenant: Tenant, asked: Conversation, api: Api, own: tuple[int | None, int | None], seconds: int | None
) -> None:
    agents, tools = own
    path = f"/agents/{asked.agent_id}"
    assert api.patch(path, {"approval_expires_s": agents}).ok()["approval_expires_s"] == agents
    Tool.objects.filter(name="memory_insert").update(approval_expires_s=tools)
    run = turn(tenant, asked, TWO)
    shown = api.get(path, include="agent.pending_approval").ok()["pending_approval"].get("expires_at")
    request = Message.objects.get(pk=fresh(asked).pending_approval_id)
    at = request.created_at + timedelta(seconds=seconds) if seconds else None
    assert (shown and datetime.fromisoformat(shown), run.approval_expires_at) == (at, at)
    assert expire_due(request.created_at + timedelta(seconds=(seconds or 10**9) - 1)) == 0
    assert expire_due(request.created_at + timedelta(seconds=(seconds or 10**9) + 1)) == bool(seconds)


def test_an_agents_own_time_for_answers_is_kept_by_its_copies_and_may_be_given_back(
    api: Api, asked: Conversation
) -> None:
    path = f"/agents/{asked.agent_id}"
    api.patch(path, {"approval_expires_s": 90})
    [agent] = api.get(f"{path}/export").ok()["agents"]
    assert agent["approval_expires_s"] == 90
    made = api.post(f"{path}/clone", {}).ok()
    assert api.get(f"/agents/{made['id']}").ok()["approval_expires_s"] == 90
    assert api.patch(path, {"approval_expires_s": -1}).status == 422
    assert api.patch(path, {"approval_expires_s": None}).ok()["approval_expires_s"] is None


def test_an_answer_that_is_on_its_way_comes_before_the_expiry(
    tenant: Tenant, asked: Conversation, expires: None
) -> None:
    turn(tenant, asked, TWO)
    run = send(tenant, asked, approvals(*((call_id, True, {}) for call_id in call_ids(asked))))
    assert expire_due(now() + LATER) == 0
    assert work(run).status == RunStatus.COMPLETED
    assert block(asked) == "Name: ?\none\ntwo"


def test_a_turn_that_nobody_watches_asks_no_third_time(tenant: Tenant, asked: Conversation, expires: None) -> None:
    turn(tenant, asked, ASKS_TWICE)
    assert expire_due(now() + LATER) == 1
    second = work(expired_run(asked))
    assert second.status == RunStatus.WAITING_APPROVAL
    assert expire_due(now() + LATER) == 1
    second.refresh_from_db()
    assert (second.status, fresh(asked).pending_approval_id) == (RunStatus.CANCELLED, "")
    assert turn(tenant, asked, "[[say On]]").status == RunStatus.COMPLETED


def test_where_the_turn_cannot_go_on_it_ends_and_nothing_sticks(
    tenant: Tenant, asked: Conversation, expires: None
) -> None:
    run = turn(tenant, asked, TWO)
    new = NewStop(organization_id=tenant.organization.pk, scope="agent", target=asked.agent_id, reason="Enough.")
    stop, _ = stops.stop(new, tenant.user.pk)
    assert expire_due(now() + LATER) == 1
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    [row] = Message.objects.filter(conversation=asked, role="tool")
    assert "nobody answered" in row.tool_returns[0]["content"]
    stops.lift(stop, tenant.user.pk)
    again = turn(tenant, asked, TWO)
    assert expire_due(now() + LATER) == 1
    Run.objects.filter(pk=expired_run(asked).pk).update(status=RunStatus.FAILED)  # its model was gone
    assert expire_due(now() + LATER) == 1
    again.refresh_from_db()
    assert again.status == RunStatus.CANCELLED


def test_a_request_can_be_cancelled_while_it_expires(tenant: Tenant, asked: Conversation, expires: None) -> None:
    turn(tenant, asked, TWO)
    expire_due(now() + LATER)
    assert set(cancel_conversation(fresh(asked)).values()) == {"cancelled"}
    assert expire_due(now() + LATER) == 0
    assert turn(tenant, asked, "[[say On]]").status == RunStatus.COMPLETED
