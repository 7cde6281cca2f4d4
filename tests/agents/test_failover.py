"""When an agent's model is out, the next of its list is asked: once it is sure that nothing was shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest

from agents import circuits
from agents.failover import StandBy
from agents.model_calls import ModelCall
from budgets.models import Budget, BudgetWindow, Hold
from conversations.models import RunStatus
from providers import entries
from providers.clients import base
from providers.entries import Asker, base_entries
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    ContextWindowExceeded,
    Overloaded,
    ProviderError,
    RateLimited,
    StreamInterrupted,
    Timeout,
)
from providers.events import TextDelta
from providers.models import PriceOverride, Provider
from providers.rules import StandIn
from providers.types import Message, ModelRequest, TextPart
from tests.agents.test_model_calls import CREDENTIAL, Asking, Double, fails, says
from tests.providers.fake_server import FakeServer, Reply
from tests.support.api import Api, Tenant
from tests.support.factories import HANDLE
from tests.support.turns import thinker, traces, turn

ASKED = ModelRequest(
    model="gpt-4o-mini", messages=(Message("user", (TextPart("[[say from the next]]"),)),), max_output_tokens=9
)
DOWN = {"name": "down", "provider_type": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    circuits.forget_all()
    yield
    circuits.forget_all()


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()
    base.close_all()


@pytest.fixture
def client(parts: object, settings: Any) -> Iterator[Double]:
    settings.MODEL_MAX_ATTEMPTS = 1
    double = Double()
    base._clients[(CREDENTIAL, base.NATIVE)] = double
    yield double
    del base._clients[(CREDENTIAL, base.NATIVE)]


def answer(call: ModelCall) -> str:
    return "".join(event.text for event in call.events() if isinstance(event, TextDelta))


def told(asking: Asking) -> list[tuple[Any, ...]]:
    return [(row["attempt"], row["provider"], row["model"], row["error_type"]) for row in asking.traces()]


@pytest.mark.parametrize("failure", [Overloaded("Full."), RateLimited("Slow."), Timeout("Late."), ConnectionFailed("")])
def test_the_next_model_answers_and_each_attempt_is_written_down(
    client: Double, tenant: Tenant, failure: ProviderError
) -> None:
    asking = Asking(tenant)
    client.attempts = [fails(failure)]
    call = ModelCall(asking.target, ASKED, asking.context, fallbacks=("nobody/x", HANDLE))
    assert answer(call) == "from the next"
    first, last = told(asking)
    assert first == (1, "openai", "gpt-4o-mini", failure.error_type)
    assert (last[1], last[3]) == ("scripted", "")
    assert call.target.credential.provider_type == "scripted"
    assert call.outcome.call_id == asking.traces()[-1]["id"]


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (AuthenticationFailed("No."), ()),
        (BadRequest("What?"), ()),
        (ContextWindowExceeded("Too long."), ()),
        (StreamInterrupted("Broke."), ("Hel",)),
    ],
)
def test_what_another_model_would_not_mend_or_was_begun_to_be_shown_is_not_asked_again(
    client: Double, tenant: Tenant, failure: ProviderError, shown: tuple[str, ...]
) -> None:
    asking = Asking(tenant)
    client.attempts = [fails(failure, *shown)]
    with pytest.raises(type(failure)):
        answer(ModelCall(asking.target, ASKED, asking.context, fallbacks=(HANDLE,)))
    assert len(told(asking)) == 1


def test_a_smaller_model_is_asked_for_less_and_at_the_end_of_the_list_the_failure_is_told(
    client: Double, tenant: Tenant, settings: Any
) -> None:
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, DOWN]
    asking = Asking(tenant)
    client.attempts = [fails(Overloaded("Full."))]
    asked = replace(ASKED, max_output_tokens=9_000)
    call = ModelCall(asking.target, asked, asking.context, fallbacks=("down/gpt-3.5-turbo",))
    with pytest.raises(ConnectionFailed):
        answer(call)
    assert (call.request.model, call.request.max_output_tokens) == ("gpt-3.5-turbo", 4_096)
    assert len(told(asking)) == 2


def test_a_model_that_fails_time_after_time_is_asked_last_until_one_call_sees_it_work(
    client: Double, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(circuits, "monotonic", lambda: clock[0])
    asking = Asking(tenant)

    def asked(*attempts: Any, fallbacks: tuple[str, ...] = ("nobody/x", HANDLE)) -> list[str]:
        before = len(told(asking))
        client.attempts = list(attempts)
        answer(ModelCall(asking.target, ASKED, asking.context, fallbacks=fallbacks))
        assert client.attempts == []
        return [provider for _, provider, _, _ in told(asking)[before:]]

    for _ in range(circuits.FAILURES):
        assert asked(fails(RateLimited("Slow."))) == ["openai", "scripted"]
    assert asked() == ["scripted"]
    assert asked(says("alone"), fallbacks=()) == ["openai"]  # nothing stands by: it is asked, and works
    for _ in range(circuits.FAILURES):
        asked(fails(Overloaded("Full.", retry_after=90.0)))
    clock[0] = 89.0
    assert asked() == ["scripted"]
    clock[0] = 91.0
    assert asked(fails(Timeout("Late."))) == ["openai", "scripted"]  # one tries again, in vain
    assert asked() == ["scripted"]
    clock[0] = 125.0
    assert asked(says("back")) == asked(says("back")) == ["openai"]


def test_the_model_that_was_passed_over_is_asked_when_all_others_fail(
    client: Double, tenant: Tenant, settings: Any
) -> None:
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, DOWN]
    asking = Asking(tenant)
    for _ in range(circuits.FAILURES):
        circuits.note(asking.target, Overloaded("Full."))
    client.attempts = [says("after all")]
    call = ModelCall(asking.target, ASKED, asking.context, fallbacks=("down/gpt-3.5-turbo",))
    other_key = replace(asking.target, stand_ins=(StandIn(base_entries()["scripted"], (RateLimited,)),))
    assert StandBy(Asker(str(tenant.organization.pk)), (HANDLE,)).instead_of(other_key) is None
    assert answer(call) == "after all"
    assert [row[1] for row in told(asking)] == ["openai_compatible", "openai"]
    assert call.request.max_output_tokens == ASKED.max_output_tokens


def test_failures_of_the_question_open_no_circuit(client: Double, tenant: Tenant) -> None:
    target = Asking(tenant).target
    for _ in range(circuits.FAILURES):
        circuits.note(target, BadRequest("What?"))
    assert not circuits.is_open(target)


def test_a_turn_is_answered_by_the_models_that_stand_by(tenant: Tenant, settings: Any, parts: object) -> None:
    settings.MODEL_MAX_ATTEMPTS = 1
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, DOWN]
    conversation = thinker(tenant, model="down/big", model_settings={"fallback_models": ["down/small", HANDLE]})
    run = turn(tenant, conversation, "[[say still here]]")
    assert run.status == RunStatus.COMPLETED
    found = [(row["attempt"], row["provider_name"], row["is_error"]) for row in traces(run)]
    assert found == [(1, "down", 1), (2, "down", 1), (3, "scripted", 0)]
    assert run.steps.get().model_handle == HANDLE


def held_back(words: str) -> bytes:
    """A stream of Chat Completions that begins what may be a call, so that nothing of it is shown, and then fails."""
    begun = {"id": "c-1", "model": "big", "choices": [{"index": 0, "delta": {"role": "assistant", "content": words}}]}
    full = {"error": {"message": "Full.", "type": "overloaded_error"}}
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in (begun, full))


def test_each_attempt_has_its_own_cost_key_and_error_and_the_run_and_the_budgets_have_all(
    tenant: Tenant, settings: Any, parts: object, fake_server: FakeServer
) -> None:
    settings.MODEL_MAX_ATTEMPTS = 1
    words = '{"name": "memory_insert", "arguments": {"label": '
    fake_server.decide = lambda path, body: (
        Reply(stream=held_back(words)) if "chat" in path else Reply({"data": [{"id": "big"}]})
    )
    organization = tenant.organization
    own = Provider.objects.create(
        organization=organization,
        name="own",
        provider_type="openai_compatible",
        api_key="sk-own-1",
        base_url=fake_server.url,
    )
    for model, price in (("big", 1000), ("demo", 10)):
        PriceOverride.objects.create(
            organization=organization, model=model, input=Decimal(price), output=Decimal(price)
        )
    budget = Budget.objects.create(organization_id=organization.pk, name="all", amount=Decimal(1_000_000))
    entries.forget(str(organization.pk))
    conversation = thinker(tenant, model="own/big", model_settings={"fallback_models": [HANDLE]})
    run = turn(tenant, conversation, "[[usage 900 50 then say still here]]")
    entries.forget(str(organization.pk))
    assert run.status == RunStatus.COMPLETED
    first, last = traces(run)
    told = ["attempt", "model", "provider_key_id", "error_type", "error_message", "usage_estimated", "price_source"]
    assert [first[name] for name in told] == [1, "big", str(own.pk), "llm_error", "Full.", 1, "override"]
    assert [last[name] for name in told] == [2, "demo", "", "", "", 0, "override"]
    assert first["completion_tokens"] == -(-len(words) // 4)
    assert (last["prompt_tokens"], last["completion_tokens"]) == (900, 50)
    costs = [Decimal(row["cost_usd"]) for row in (first, last)]
    assert costs[0] == Decimal(first["total_tokens"]) * 1000 / 1_000_000
    assert costs[1] == Decimal("0.0095")
    step = run.steps.get()
    assert (step.cost_usd, step.trace_call_id, step.usage["output"]) == (costs[1], last["id"], 50)
    assert run.cost_usd == sum(costs)
    assert (run.usage["output"], run.usage["estimated"]) == (50 + first["completion_tokens"], True)
    window = BudgetWindow.objects.get(budget=budget)
    assert (window.spent, window.reserved) == (sum(costs), 0)
    assert not Hold.objects.exists()


def test_the_list_is_kept_shown_and_checked_when_it_is_set(api: Api) -> None:
    agent = api.post("/agents/", {"model": HANDLE, "model_settings": {"fallback_models": [HANDLE]}}).ok()
    assert agent["model_settings"]["fallback_models"] == [HANDLE]
    wrong = {"model_settings": {"fallback_models": ["nobody/x"]}}
    path = f"/agents/{agent['id']}"
    assert api.patch(path, wrong).status == 400
    assert api.patch(path, {"model_settings": {"fallback_models": [HANDLE] * 6}}).status == 422
    conversation = api.post(f"/conversations/?agent_id={agent['id']}", {}).ok()
    assert api.patch(f"/conversations/{conversation['id']}", wrong).status == 400
    assert api.post(f"/conversations/?agent_id={agent['id']}", wrong).status == 400
    cleared = api.patch(path, {"model_settings": {"fallback_models": []}}).ok()
    assert "fallback_models" not in cleared["model_settings"]
