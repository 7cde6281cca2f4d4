"""Batches through the vendors' batch APIs: gathered, submitted once whoever dies, paid to the digit, never in the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.models import Agent
from budgets.models import Budget, BudgetWindow, Hold
from conversations import batches, commit, runner, vendor_batches, vendor_results
from conversations.batch_models import Batch
from conversations.models import ACTIVE, Run, Step
from conversations.vendor_models import CallState, VendorBatch, VendorBatchState, VendorCall
from core.time import now
from providers import batching, listing
from tests.support.api import Api, Tenant
from tests.support.batch_vendor import (
    CLAUDE,
    OPENAI_MODEL,
    RESPONSES_MODEL,
    BatchVendor,
    running_batch_vendor,
    says,
)
from tests.support.turns import fresh, lose, messages, thinker, traces

pytestmark = pytest.mark.usefixtures("redis")
PATH = "/messages/batches"
CHAT, RESPONSES, ANTHROPIC = f"openai/{OPENAI_MODEL}", f"openai-new/{RESPONSES_MODEL}", f"anthropic/{CLAUDE}"
COSTS = {CHAT: Decimal("0.00009"), RESPONSES: Decimal("0.00013"), ANTHROPIC: Decimal("0.000445")}
INSERT = ("memory_insert", {"label": "human", "new_string": "Ada"})


@pytest.fixture
def vendor(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchVendor]:
    with running_batch_vendor() as found:
        url, key = f"{found.server.url}/v1", "sk-of-the-installation"
        settings.BASE_PROVIDERS = [
            {"name": "openai", "provider_type": "openai", "api_key": key, "base_url": url},
            {"name": "openai-new", "provider_type": "openai", "api_key": key, "base_url": url}
            | {"dialect": "openai_responses"},
            {"name": "anthropic", "provider_type": "anthropic", "api_key": key, "base_url": url},
        ]
        settings.BATCH_CALLS, settings.BATCH_GATHER_S = "vendor", 0
        settings.BATCH_RUNS, settings.BATCH_RUNS_OF_ONE = 4, 2
        hosts = {name: {"127.0.0.1"} for name in batching.OWN_HOSTS}
        monkeypatch.setattr(batching, "OWN_HOSTS", hosts)
        listing._listings.clear()
        yield found
        listing._listings.clear()


@pytest.fixture
def given_to(api: Api, tenant: Tenant, vendor: BatchVendor) -> tuple[Api, Tenant, BatchVendor]:
    return api, tenant, vendor


def agents(tenant: Tenant, count: int = 3, model: str = CHAT) -> list[Agent]:
    return [thinker(tenant, name=f"agent {number}", model=model).agent for number in range(count)]


def given(api: Api, *found: Agent) -> str:
    requests = [{"agent_id": agent.pk, "messages": [{"role": "user", "content": agent.name}]} for agent in found]
    return str(api.post(PATH, {"requests": requests}).ok()["id"])


def going() -> list[Run]:
    return list(Run.objects.filter(status__in=ACTIVE).order_by("created_at"))


def work_on() -> None:
    """Let in what there is room for, and ring for all that goes, until nothing moves any more."""
    for _ in range(6):
        batches.feed()
        for run in going():
            runner.advance(run.pk)


def tend() -> None:
    VendorBatch.objects.exclude(due_at=None).update(due_at=now() - timedelta(seconds=1))
    vendor_batches.tend()


def asked(api: Api, *found: Agent) -> str:
    """A batch of which each run waits with the vendor."""
    batch_id = given(api, *found)
    work_on()
    tend()
    return batch_id


def counts(api: Api, batch_id: str) -> dict[str, int]:
    shown = api.get(f"{PATH}/{batch_id}").ok()["metadata"]["counts"]
    return {word: count for word, count in shown.items() if count}


def said(agent: Agent) -> list[str]:
    return [text for role, text in messages(fresh(agent)) if role == "assistant" and text]


@pytest.mark.parametrize("model", COSTS)
def test_runs_share_a_vendors_batch_and_go_on_with_its_answers(
    api: Api, tenant: Tenant, vendor: BatchVendor, model: str
) -> None:
    found = agents(tenant, model=model)
    batch_id = asked(api, *found)
    [first] = vendor.given
    assert len(first.calls) == 3
    assert not any("stream" in body for body in first.calls.values())
    assert {(run.status, run.worker) for run in going()} == {("running", "")}, "nobody holds what waits"
    if model != RESPONSES:
        vendor.reply = says("", INSERT)
        vendor.finish()
        tend()
        work_on()
        tend()
        vendor.reply = says("Hello")
        assert [len(each.calls) for each in vendor.given] == [3, 3], "a tool call leads to another round"
    vendor.finish()
    tend()
    work_on()
    rounds = len(vendor.given)
    assert counts(api, batch_id) == {"completed": 3}
    assert [said(agent) for agent in found] == [["Hello"]] * 3
    assert {run.cost_usd for run in Run.objects.all()} == {rounds * COSTS[model]}
    steps = Step.objects.all()
    assert {(step.cost_usd, step.price_tier, step.price_confidence) for step in steps} == {
        (COSTS[model], "batch", "listed")
    }
    [run] = Run.objects.filter(agent=found[0])
    rows = traces(run)
    assert [row["step_id"] for row in rows] == [step.pk for step in run.steps.order_by("index")]
    assert {(row["service_tier"], Decimal(row["cost_usd"]), row["error_type"]) for row in rows} == {
        ("batch", COSTS[model], "")
    }
    assert all(b"agent 0" in row["request"] and b"sk-of" not in row["request"] for row in rows)
    assert not VendorCall.objects.exclude(request=b"").exists()


STAGES: dict[str, tuple[Any, str]] = {
    "before the upload": (vendor_batches, "_lines"),
    "before it is noted": (vendor_batches, "Submission"),
    "after it was sent": (vendor_batches, "_arrived"),
    "before the results are read": (vendor_results, "_readable"),
    "between a result and its trace": (vendor_results, "_trace"),
    "as the batch is ended": (vendor_results, "give_up"),
    "as the step is committed": (commit, "_write"),
}


@pytest.mark.parametrize(("model", "stage"), [*((CHAT, stage) for stage in STAGES), (ANTHROPIC, "after it was sent")])
def test_a_death_at_any_point_loses_nothing_and_submits_nothing_twice(
    given_to: tuple[Api, Tenant, BatchVendor], stage: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, tenant, vendor = given_to
    found = agents(tenant, 2, model)
    batch_id = given(api, *found)
    monkeypatch.setattr(vendor_results.queries, "get_trace", lambda organization_id, trace_id: None)
    monkeypatch.setattr(vendor_results, "LEFT_BEHIND", timedelta(0))
    module, name = STAGES[stage]
    died: list[str] = []

    def die(*args: Any, **kwargs: Any) -> Any:
        died.append(stage)
        monkeypatch.setattr(module, name, real)
        raise KeyboardInterrupt

    real = getattr(module, name)
    monkeypatch.setattr(module, name, die)
    for _ in range(5):
        for act in (work_on, tend):
            try:
                act()
            except KeyboardInterrupt:
                for run in Run.objects.exclude(worker=""):
                    lose(run)
        vendor.finish()
    assert died == [stage]
    assert counts(api, batch_id) == {"completed": 2}
    assert [len(each.calls) for each in vendor.given] == [2]
    assert {run.cost_usd for run in Run.objects.all()} == {COSTS[model]}
    assert [len(traces(run)) for run in Run.objects.all()] == [1, 1]


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
def test_a_submission_of_unknown_fate_is_found_again(api: Api, tenant: Tenant, vendor: BatchVendor, model: str) -> None:
    vendor.submit_fault = "lost"
    batch_id = asked(api, *agents(tenant, 2, model))
    assert VendorBatch.objects.get().state == VendorBatchState.SUBMITTING
    tend()
    vendor.finish()
    tend()
    tend()
    work_on()
    assert (len(vendor.given), counts(api, batch_id)) == (1, {"completed": 2})


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
def test_one_that_never_arrived_is_sent_again_once_that_is_sure(
    api: Api, tenant: Tenant, vendor: BatchVendor, model: str
) -> None:
    vendor.submit_fault = "never"
    asked(api, *agents(tenant, 2, model))
    tend()
    assert vendor.given == []
    VendorBatch.objects.update(submitted_at=now() - timedelta(minutes=4))
    tend()
    tend()
    assert len(vendor.given) == 1


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
def test_what_failed_or_expired_is_asked_in_the_ordinary_way_as_there_is_room(
    api: Api, tenant: Tenant, vendor: BatchVendor, model: str
) -> None:
    found = agents(tenant, 4, model)
    batch_id = asked(api, *found)
    overloaded = {"error": {"type": "overloaded_error", "message": "The server had an error"}}

    def reply(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (500, overloaded) if "agent 1" in str(body) else says("Hello")(body)

    vendor.reply = reply
    vendor.finish("expired", made=lambda body: "agent 0" in str(body) or "agent 1" in str(body))
    tend()
    assert VendorCall.objects.filter(state=CallState.FAILED).count() == 3
    batches.feed()
    assert VendorCall.objects.exclude(let_in_at=None).count() == 2, "of one organization, two at once"
    work_on()
    assert counts(api, batch_id) == {"completed": 4}
    assert [said(agent) for agent in found] == [["Hello"], ["Live"], ["Live"], ["Live"]]
    [run] = Run.objects.filter(agent=found[1])
    first = traces(run)[0]
    assert (first["error_type"], first["price_source"], Decimal(first["cost_usd"])) == ("llm_error", "not_billed", 0)
    assert run.steps.get().price_tier == "standard"


@pytest.mark.parametrize("fault", ["refused", "limited"])
def test_a_refused_batch_is_not_lost(api: Api, tenant: Tenant, vendor: BatchVendor, fault: str) -> None:
    vendor.submit_fault = fault
    batch_id = asked(api, *agents(tenant, 2))
    tend()
    vendor.finish()
    tend()
    work_on()
    assert (len(vendor.given), counts(api, batch_id)) == (0 if fault == "refused" else 1, {"completed": 2})


def test_a_context_that_is_too_long_is_compacted_and_asked_again(api: Api, tenant: Tenant, vendor: BatchVendor) -> None:
    [agent] = agents(tenant, 1)
    for _ in range(3):
        batch_id = asked(api, agent)
        vendor.finish()
        tend()
        work_on()
    batch_id = asked(api, agent)
    too_long = {"error": {"code": "context_length_exceeded", "message": "maximum context length", "type": "x"}}
    vendor.reply = lambda body: (400, too_long)
    vendor.finish()
    tend()
    work_on()
    tend()
    assert len(vendor.given) == 5
    vendor.reply = says("Shorter")
    vendor.finish()
    tend()
    work_on()
    assert (counts(api, batch_id), said(agent)[-1]) == ({"completed": 1}, "Shorter")


def test_a_cancel_reaches_the_vendor_once_nobody_else_waits(api: Api, tenant: Tenant, vendor: BatchVendor) -> None:
    found = agents(tenant, 2)
    one, other = given(api, found[0]), asked(api, found[1])
    api.patch(f"{PATH}/{one}/cancel").ok()
    tend()
    assert vendor.cancelled == []
    api.patch(f"{PATH}/{other}/cancel").ok()
    tend()
    assert vendor.cancelled == [vendor.given[0].id]
    tend()
    assert {batch.state for batch in VendorBatch.objects.all()} == {VendorBatchState.ENDED}
    assert {run.status for run in Run.objects.all()} == {"cancelled"}
    assert not VendorCall.objects.filter(let_in_at=None).exists()


def test_what_was_answered_for_a_cancelled_run_is_paid_and_thrown_away(
    api: Api, tenant: Tenant, vendor: BatchVendor
) -> None:
    budget = _budget(tenant)
    batch_id = asked(api, *agents(tenant, 1))
    vendor.finish()
    api.patch(f"{PATH}/{batch_id}/cancel").ok()
    tend()
    tend()
    [run] = Run.objects.all()
    assert [Decimal(row["cost_usd"]) for row in traces(run)] == [COSTS[CHAT]]
    assert (run.steps.count(), _used(budget)) == (0, (COSTS[CHAT], 0))
    assert not VendorCall.objects.exclude(response=None).exists()


def test_what_is_cancelled_before_it_is_sent_never_is(api: Api, tenant: Tenant, vendor: BatchVendor) -> None:
    budget = _budget(tenant)
    batch_id = given(api, *agents(tenant, 2))
    work_on()
    api.patch(f"{PATH}/{batch_id}/cancel").ok()
    tend()
    assert (vendor.given, _used(budget), Hold.objects.count()) == ([], (0, 0), 0)


def test_budgets_hold_half_the_price_for_a_day_and_settle_to_the_digit(
    api: Api, tenant: Tenant, vendor: BatchVendor
) -> None:
    budget = _budget(tenant)
    asked(api, *agents(tenant, 2))
    spent, reserved = _used(budget)
    assert (spent, reserved > 0) == (0, True)
    assert {hold.expires_at > now() + timedelta(hours=25) for hold in Hold.objects.all()} == {True}
    vendor.finish()
    tend()
    assert _used(budget) == (2 * COSTS[CHAT], 0)


def test_a_budget_that_is_used_up_ends_the_run(api: Api, tenant: Tenant, vendor: BatchVendor) -> None:
    batch_id = given(api, *agents(tenant, 2))
    batches.feed()
    _budget(tenant, "0.00000000001")
    work_on()
    assert VendorCall.objects.count() == 1, "one call may go over a budget"
    [failed] = Run.objects.filter(status="failed")
    assert (failed.stop_reason, counts(api, batch_id)) == ("insufficient_credits", {"running": 1, "failed": 1})


@pytest.mark.parametrize("otherwise", ["compatible server", "queued"])
def test_other_servers_and_installations_that_want_it_so_queue_ordinary_runs(
    given_to: tuple[Api, Tenant, BatchVendor], otherwise: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, tenant, vendor = given_to
    if otherwise == "queued":
        settings.BATCH_CALLS = "queued"
    else:
        monkeypatch.setattr(batching, "OWN_HOSTS", {"openai": {"api.openai.com"}})
    batch_id = given(api, *agents(tenant, 2))
    work_on()
    assert (counts(api, batch_id), vendor.given, VendorCall.objects.count()) == ({"completed": 2}, [], 0)


def test_results_that_make_no_sense_hang_no_run(
    api: Api, tenant: Tenant, vendor: BatchVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = asked(api, *agents(tenant, 1, ANTHROPIC))
    monkeypatch.setattr(vendor, "_line", lambda batch, key: {"custom_id": key, "result": {"type": "succeeded"}})
    vendor.finish()
    tend()
    work_on()
    assert counts(api, batch_id) == {"completed": 1}


def test_requests_that_wait_for_each_other_do_not_wait_a_day_each(
    api: Api, tenant: Tenant, vendor: BatchVendor
) -> None:
    [agent] = agents(tenant, 1)
    batch_id = asked(api, agent, agent, agent)
    assert counts(api, batch_id) == {"completed": 2, "running": 1}
    assert ([len(each.calls) for each in vendor.given], said(agent)) == ([1], ["Live", "Live"])


def test_a_batch_that_its_vendor_never_ends_is_given_up(api: Api, tenant: Tenant, vendor: BatchVendor) -> None:
    batch_id = asked(api, *agents(tenant, 1))
    VendorBatch.objects.update(created_at=now() - timedelta(hours=27))
    tend()
    work_on()
    assert (vendor.cancelled, counts(api, batch_id)) == ([vendor.given[0].id], {"completed": 1})
    assert Batch.objects.get().status == "completed"


def _budget(tenant: Tenant, amount: str = "1") -> Budget:
    from budgets import rules

    made = Budget.objects.create(organization=tenant.organization, name="All", amount=Decimal(amount))
    rules.forget(tenant.organization.pk)
    return made


def _used(budget: Budget) -> tuple[Decimal, Decimal]:
    window = BudgetWindow.objects.filter(budget=budget).first()
    return (window.spent, window.reserved) if window else (Decimal(0), Decimal(0))
