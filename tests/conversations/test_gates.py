"""Budgets, rate limits, stops and the loop breaker where they meet a send and a run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections

from accounts.models import ApiKey, AuditEntry
from budgets import rules, stops
from budgets.errors import RateLimitExceeded, Stopped
from budgets.models import Budget, BudgetWindow, RateLimit, Stop
from budgets.stops import NewStop
from conversations.models import Conversation, Run, RunStatus, Step
from core.errors import Conflict
from providers import entries
from providers.models import PriceOverride
from tests.support.api import Api, Tenant
from tests.support.elsewhere import elsewhere
from tests.support.turns import events, messages, send, thinker, turn, work

pytestmark = pytest.mark.usefixtures("redis")
INSERT = 'memory_insert {"label": "human", "new_string": "Ada"}'
SEARCH = 'conversation_search {"query": "Ada"}'


@pytest.fixture(autouse=True)
def _fresh_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES_TTL_S", 0.0)


@pytest.fixture
def conversation(tenant: Tenant) -> Conversation:
    return thinker(tenant)


def budget(tenant: Tenant, **fields: Any) -> Budget:
    known = {"name": "A day's calls", "metric": "calls", "amount": Decimal(1), "window": "day"}
    return Budget.objects.create(organization=tenant.organization, **(known | fields))


def limit(tenant: Tenant, **fields: Any) -> RateLimit:
    return RateLimit.objects.create(organization=tenant.organization, **fields)


def stop(tenant: Tenant, scope: str, target: str = "") -> tuple[Stop, int]:
    new = NewStop(organization_id=tenant.organization.pk, scope=scope, target=target, reason="It went wild.")
    return stops.stop(new, tenant.user.pk)


# Budgets


def test_a_used_up_budget_refuses_a_send_by_429_that_names_it(
    tenant: Tenant, api: Api, conversation: Conversation
) -> None:
    made = budget(tenant)
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED
    answer = api.post(f"/agents/{conversation.agent_id}/messages", {"input": "Hi", "streaming": False})
    assert answer.status == 429
    body = answer.json
    assert body["code"] == "budget_exceeded"
    assert "“A day's calls” of 1 model calls for the organization is used up" in body["detail"]
    assert {name: body["budget"][name] for name in ("id", "name", "scope", "limit", "spent", "reserved")} == {
        "id": made.pk,
        "name": "A day's calls",
        "scope": "organization",
        "limit": "1",
        "spent": "1",
        "reserved": "0",
    }
    assert 0 < int(answer.response["Retry-After"]) <= 86400
    assert Run.objects.count() == 1, "no run was made"


def test_a_budget_that_ends_in_the_middle_of_a_run_ends_the_run_and_the_conversation_goes_on(
    tenant: Tenant, conversation: Conversation
) -> None:
    budget(tenant)
    run = turn(tenant, conversation, f"[[tool {INSERT} then say done]]")
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.FAILED, "insufficient_credits", 1)
    assert (run.error["type"], run.error["status"]) == ("budget_exceeded", 429)
    assert run.error["extra"]["budget"]["name"] == "A day's calls"
    assert events(run)[-1]["error"]["type"] == "budget_exceeded"
    Budget.objects.all().delete()
    again = turn(tenant, conversation, "[[say Hi]]")
    assert again.status == RunStatus.COMPLETED
    assert messages(conversation)[-1] == ("assistant", "Hi")


def test_a_run_is_charged_what_its_calls_cost_in_every_unit(tenant: Tenant, conversation: Conversation) -> None:
    PriceOverride.objects.create(
        organization=tenant.organization, model="demo", input=Decimal(10), output=Decimal(20), provider_type=""
    )
    entries.forget(tenant.organization.pk)
    of = {
        "usd": budget(tenant, metric="usd", amount=Decimal(5)),
        "tokens": budget(tenant, metric="tokens", amount=Decimal(10**9)),
        "calls": budget(tenant, scope="model", target="scripted/*", amount=Decimal(10)),
    }
    run = turn(tenant, conversation, "[[usage 900 50 then say hi]]")
    entries.forget(tenant.organization.pk)
    spent = {name: BudgetWindow.objects.get(budget=made) for name, made in of.items()}
    assert {name: row.spent for name, row in spent.items()} == {
        "usd": run.cost_usd,
        "tokens": Decimal(950),
        "calls": Decimal(1),
    }
    assert run.cost_usd == Decimal("0.01")
    assert {row.reserved for row in spent.values()} == {Decimal(0)}


def test_a_call_that_the_vendor_refuses_costs_nothing_and_holds_nothing(
    tenant: Tenant, conversation: Conversation
) -> None:
    made = budget(tenant, amount=Decimal(5))
    run = turn(tenant, conversation, "[[error 401]]")
    assert run.status == RunStatus.FAILED
    found = BudgetWindow.objects.get(budget=made)
    assert (found.spent, found.reserved) == (0, 0)


# Stops


def test_a_stop_cancels_what_runs_refuses_what_comes_and_is_lifted_again(
    tenant: Tenant, api: Api, conversation: Conversation
) -> None:
    running, other = send(tenant, conversation, "[[say Hi]]"), send(tenant, thinker(tenant), "[[say Hi]]")
    row, cancelled = stop(tenant, "agent", conversation.agent_id)
    assert cancelled == 1
    running.refresh_from_db()
    assert (running.status, work(other).status) == (RunStatus.CANCELLED, RunStatus.COMPLETED)
    answer = api.post(f"/agents/{conversation.agent_id}/messages/async", {"input": "Hi"})
    assert (answer.status, answer.json["code"], answer.json["stop"]["id"]) == (403, "stopped", row.pk)
    assert "It went wild." in answer.json["detail"]
    with pytest.raises(Conflict):
        stop(tenant, "agent", conversation.agent_id)
    assert stops.lift(row, tenant.user.pk, "Mended.")
    assert not stops.lift(row, tenant.user.pk)
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED
    assert list(AuditEntry.objects.order_by("created_at").values_list("action", "reason")) == [
        ("stop.set", "It went wild."),
        ("stop.lift", "Mended."),
    ]


@pytest.mark.parametrize("scope", ["organization", "api_key", "end_user", "model", "provider_key"])
def test_each_kind_of_target_can_be_stopped(tenant: Tenant, conversation: Conversation, scope: str) -> None:
    key = ApiKey.objects.get(organization=tenant.organization)
    targets = {"organization": "", "api_key": key.pk, "end_user": "ada", "model": "scripted/*"}
    sent = [{"role": "user", "content": "Hi", "sender_id": "ada"}]
    run = send(tenant, conversation, sent)
    _, cancelled = stop(tenant, scope, targets.get(scope, "scripted"))
    run.refresh_from_db()
    assert (cancelled, run.status) == (1, RunStatus.CANCELLED)
    with pytest.raises(Stopped):
        send(tenant, conversation, sent)


def test_a_model_call_is_refused_while_a_stop_stands_and_late_runs_are_cancelled_by_the_sweep(
    tenant: Tenant, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process let through, before it knew of the stop."""
    monkeypatch.setattr(rules, "RULES_TTL_S", 60.0)
    run, late = send(tenant, conversation, "[[say Hi]]"), send(tenant, thinker(tenant), "[[say Hi]]")
    Stop.objects.create(organization=tenant.organization, scope="organization", reason="Enough.")
    rules.forget(tenant.organization.pk)
    work(run)
    assert (run.status, run.error["type"]) == (RunStatus.FAILED, "stopped")
    assert not Step.objects.exists()
    assert stops.sweep() == 1
    late.refresh_from_db()
    assert late.status == RunStatus.CANCELLED
    rules.forget(tenant.organization.pk)


# Rate limits


def test_requests_beyond_a_limit_wait_for_the_window(tenant: Tenant, api: Api, conversation: Conversation) -> None:
    limit(tenant, scope="agent", target="*", kind="requests", amount=2)
    path = f"/agents/{conversation.agent_id}/messages"
    first = api.post(path, {"input": "Hi", "streaming": True})
    told = async_to_sync(first.response.making)().headers
    assert (told["x-ratelimit-limit-requests"], told["x-ratelimit-remaining-requests"]) == ("2", "1")
    work(Run.objects.get())
    turn(tenant, conversation, "[[say Hi]]")
    answer = api.post(path, {"input": "Hi", "streaming": False})
    assert (answer.status, answer.json["code"]) == (429, "rate_limit_exceeded")
    assert answer.json["limit"]["amount"] == 2
    assert 55 <= int(answer.response["Retry-After"]) <= 62
    assert turn(tenant, thinker(tenant), "[[say Hi]]").status == RunStatus.COMPLETED, "another agent counts for itself"


def test_tokens_are_counted_when_they_are_known_and_then_held_against_sends(
    tenant: Tenant, conversation: Conversation
) -> None:
    limit(tenant, kind="output_tokens", amount=100, period_s=3600)
    assert turn(tenant, conversation, "[[usage 900 99 then say hi]]").status == RunStatus.COMPLETED
    assert turn(tenant, conversation, "[[usage 900 5 then say hi]]").status == RunStatus.COMPLETED
    with pytest.raises(RateLimitExceeded) as refused:
        send(tenant, conversation, "Hi")
    assert 3500 <= (refused.value.retry_after or 0) <= 3700


def test_calls_beyond_the_limit_of_a_model_end_a_run_that_would_wait_too_long(
    tenant: Tenant, conversation: Conversation
) -> None:
    limit(tenant, scope="model", target="scripted/demo", kind="requests", amount=1)
    run = turn(tenant, conversation, f"[[tool {INSERT} then say done]]")
    assert (run.status, run.step_count, run.error["type"]) == (RunStatus.FAILED, 1, "rate_limit_exceeded")


def test_calls_that_fit_in_a_moment_wait_as_for_the_vendors_own_limit(
    tenant: Tenant, conversation: Conversation
) -> None:
    limit(tenant, scope="provider_key", target="*", kind="requests", amount=1, period_s=1)
    run = turn(tenant, conversation, f"[[tool {INSERT} then say done]]")
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 2)


def test_without_redis_rate_limits_let_everything_pass(
    tenant: Tenant, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import redis as redis_client

    from budgets import limits

    def away(*_: object) -> list[int]:
        raise redis_client.ConnectionError("away")

    monkeypatch.setattr(limits, "_script", lambda: away)
    limit(tenant, kind="requests", amount=0)
    assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED
    assert "are not held" in caplog.text


def test_of_many_sends_at_once_as_many_run_as_the_limit_says(committed: Tenant) -> None:
    def sender(conversation: Conversation) -> bool:
        try:
            send(committed, conversation, "Hi")
        except RateLimitExceeded:
            return False
        finally:
            connections.close_all()
        return True

    limited = {"scope": "organization", "kind": "parallel_runs", "amount": 3}
    elsewhere(lambda: RateLimit.objects.create(organization=committed.organization, **limited))
    conversations = elsewhere(lambda: [thinker(committed) for _ in range(10)])
    with ThreadPoolExecutor(10) as threads:
        admitted = list(threads.map(sender, conversations))
    assert admitted.count(True) == 3


# Loops


@pytest.mark.parametrize(("calls", "status"), [(3, RunStatus.FAILED), (2, RunStatus.COMPLETED)])
def test_the_same_call_again_and_again_ends_the_run(
    tenant: Tenant, conversation: Conversation, settings: Any, calls: int, status: str
) -> None:
    settings.TOOL_LOOP_LIMIT = 3
    script = " then ".join([f"tool {SEARCH}"] * calls)
    run = turn(tenant, conversation, f"[[{script} then say done]]")
    assert run.status == status
    if status == RunStatus.FAILED:
        assert (run.stop_reason, run.error["type"], run.step_count) == ("error", "tool_loop", 2)
        assert "conversation_search with the same arguments 3 times" in run.error["message"]
        failed = Step.objects.get(run=run, status="failed")
        assert failed.usage["output"] > 0, "what the last call cost is kept"
        assert turn(tenant, conversation, "[[say Hi]]").status == RunStatus.COMPLETED


def test_calls_that_differ_are_no_loop_and_a_limit_of_the_agent_counts_before_the_organizations(
    tenant: Tenant, conversation: Conversation, settings: Any
) -> None:
    settings.TOOL_LOOP_LIMIT = 2
    varied = f"tool {SEARCH} then tool {INSERT}"
    assert turn(tenant, conversation, f"[[{varied} then {varied} then say done]]").status == RunStatus.COMPLETED
    limit(tenant, kind="tool_repeats", amount=2)
    limit(tenant, kind="tool_repeats", amount=0, scope="agent", target=conversation.agent_id)
    same = " then ".join([f"tool {SEARCH}"] * 4)
    assert turn(tenant, conversation, f"[[{same} then say done]]").status == RunStatus.COMPLETED


def test_equal_arguments_are_equal_however_they_are_written(tenant: Tenant, conversation: Conversation) -> None:
    limit(tenant, kind="tool_repeats", amount=2)
    other = 'conversation_search { "query" :   "Ada" }'
    run = turn(tenant, conversation, f"[[tools {SEARCH} ; {other} then say done]]")
    assert run.error["type"] == "tool_loop"
