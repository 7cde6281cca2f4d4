"""Every call to a model: tried again where that may help, timed, priced, and written down however it ends."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from agents import model_calls
from agents.model_calls import Abandoned, CallContext, ModelCall, embed_texts
from providers import entries
from providers.catalog import describe
from providers.clients import base
from providers.clients.base import Credential
from providers.errors import AuthenticationFailed, Overloaded, ProviderError, RateLimited, StreamInterrupted
from providers.events import Finished, ModelEvent, TextDelta
from providers.models import PriceOverride, Provider
from providers.resolve import ResolvedModel, resolve
from providers.types import Message, ModelRequest, TextPart
from providers.usage import Usage
from tests.support.api import Tenant
from tests.support.turns import traces

Attempt = Callable[[], Iterator[ModelEvent]]
CREDENTIAL = Credential(provider_type="openai", api_key="sk-test-0123456789", base_url="http://127.0.0.1:9/v1")
ASKED = ModelRequest(model="gpt-4o-mini", messages=(Message("user", (TextPart("Hello"),)),))
USAGE = Usage(input=1000, cache_read=200, output=100)


def says(*words: str, usage: Usage = USAGE, **said: Any) -> Attempt:
    def stream() -> Iterator[ModelEvent]:
        yield from map(TextDelta, words)
        yield Finished(Message("assistant", (TextPart("".join(words)),)), "stop", usage, {"id": "r-1", **said})

    return stream


def fails(error: ProviderError, *after: str) -> Attempt:
    def stream() -> Iterator[ModelEvent]:
        yield from map(TextDelta, after)
        raise error

    return stream


class Double:
    """A client whose attempts were written down before."""

    dialect = "openai_chat"

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.closed = 0

    def request_body(self, request: ModelRequest) -> bytes:
        return json.dumps({"model": request.model, "messages": [m.text for m in request.messages]}).encode()

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        try:
            yield from self.attempts.pop(0)()
        finally:
            self.closed += 1

    def list_models(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def client(parts: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    monkeypatch.setattr(model_calls, "BACKOFF_S", 0.01)
    double = Double()
    base._clients[(CREDENTIAL, base.NATIVE)] = double
    yield double
    del base._clients[(CREDENTIAL, base.NATIVE)]


class Asking:
    """One wanted answer, on behalf of an organization, and its traces."""

    def __init__(self, tenant: Tenant, model: str = "gpt-4o-mini", provider_id: str | None = None) -> None:
        self.run_id = f"run-{uuid.uuid4()}"
        self.target = ResolvedModel(
            credential=CREDENTIAL,
            model=model,
            info=describe("openai", model),
            provider_id=provider_id,
            category="byok" if provider_id else "base",
        )
        self.context = CallContext(
            organization_id=str(tenant.organization.pk),
            call_type="agent_step",
            agent_id="agent-1",
            agent_tags=("a", "b"),
            conversation_id="conv-1",
            run_id=self.run_id,
            step_id="step-1",
            trace_id="t" * 32,
            identity_id="ada",
            api_key_id="key-1",
            billing={"plan_type": "pro", "cost_source": "seat", "customer_id": "c-1"},
        )

    def call(self, abandoned: Callable[[], bool] = bool) -> ModelCall:
        return ModelCall(self.target, ASKED, self.context, abandoned)

    def traces(self) -> list[dict[str, Any]]:
        return traces(self.run_id)


@pytest.fixture
def asking(tenant: Tenant) -> Asking:
    return Asking(tenant)


def text_of(call: ModelCall) -> str:
    return "".join(event.text for event in call.events() if isinstance(event, TextDelta))


def listen(call: ModelCall, seen: list[str]) -> None:
    for event in call.events():
        assert isinstance(event, TextDelta)
        seen.append(event.text)


def test_an_answer_is_priced_and_written_down_with_whose_it_is(client: Double, asking: Asking) -> None:
    client.attempts = [says("Hi ", "there")]
    call = asking.call()
    assert text_of(call) == "Hi there"
    assert call.outcome.usage == USAGE
    assert call.outcome.cost_usd == Decimal("0.000225")  # 1000 at 0.15, 200 at 0.075, 100 at 0.60 USD per million
    assert call.outcome.price_source.startswith("genai-prices")
    assert call.outcome.ttft_ms is not None
    assert call.outcome.first_event_at is not None
    [trace] = asking.traces()
    assert trace["id"] == call.outcome.call_id
    assert Decimal(trace["cost_usd"]) == call.outcome.cost_usd
    expected = {
        "organization_id": asking.context.organization_id,
        "agent_id": "agent-1",
        "agent_tags": ["a", "b"],
        "conversation_id": "conv-1",
        "step_id": "step-1",
        "trace_id": "t" * 32,
        "call_type": "agent_step",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "identity_id": "ada",
        "api_key_id": "key-1",
        "billing_plan_type": "pro",
        "billing_cost_source": "seat",
        "billing_customer_id": "c-1",
        "is_byok": 0,
        "attempt": 1,
        "prompt_tokens": 1200,
        "completion_tokens": 100,
        "cached_input_tokens": 200,
        "cache_write_tokens": None,
        "usage_estimated": 0,
        "finish_reason": "stop",
        "is_error": 0,
        "error_type": "",
    }
    assert {name: trace[name] for name in expected} == expected
    assert json.loads(trace["request"])["messages"] == ["Hello"]
    assert json.loads(trace["response"]) == {"id": "r-1"}


def test_an_answer_is_priced_on_the_terms_that_it_names(client: Double, tenant: Tenant) -> None:
    client.attempts = [says("Hi", service_tier="batch"), says("Hi", service_tier="default")]
    batch, standard = Asking(tenant).call(), Asking(tenant).call()
    assert text_of(batch) == text_of(standard) == "Hi"
    assert standard.outcome.cost_usd == Decimal("0.000225")
    assert batch.outcome.cost_usd == Decimal("0.00012")  # half, but for what the cache gave, which costs the same


def test_what_may_help_is_tried_again_and_each_attempt_is_written_down(client: Double, asking: Asking) -> None:
    client.attempts = [fails(RateLimited("Slow down.")), fails(Overloaded("Busy.")), says("Hi")]
    call = asking.call()
    assert text_of(call) == "Hi"
    found = asking.traces()
    assert [(t["attempt"], t["error_type"], t["is_error"]) for t in found] == [
        (1, "llm_rate_limit", 1),
        (2, "llm_error", 1),
        (3, "", 0),
    ]
    assert [Decimal(t["cost_usd"]) > 0 for t in found] == [False, False, True]
    assert found[0]["error_message"] == "Slow down."
    assert len({t["id"] for t in found}) == 3
    assert call.outcome.call_id == found[2]["id"]


def test_after_the_last_attempt_the_failure_is_the_callers(client: Double, asking: Asking, settings: Any) -> None:
    settings.MODEL_MAX_ATTEMPTS = 2
    client.attempts = [fails(RateLimited("1")), fails(RateLimited("2")), says("never")]
    with pytest.raises(RateLimited, match="2"):
        text_of(asking.call())
    assert [t["attempt"] for t in asking.traces()] == [1, 2]


def test_the_providers_own_wait_is_kept(client: Double, asking: Asking) -> None:
    client.attempts = [fails(RateLimited("Wait.", retry_after=0.25)), says("Hi")]
    began = time.monotonic()
    assert text_of(asking.call()) == "Hi"
    assert time.monotonic() - began >= 0.25


def test_what_cannot_help_is_not_tried_again(client: Double, asking: Asking) -> None:
    client.attempts = [fails(AuthenticationFailed("No.")), says("never")]
    with pytest.raises(AuthenticationFailed):
        text_of(asking.call())
    assert len(client.attempts) == 1
    assert len(asking.traces()) == 1


def test_what_was_shown_is_not_shown_twice(client: Double, asking: Asking) -> None:
    """An overload in the middle of an answer could be tried again, but the caller has read its beginning."""
    client.attempts = [fails(Overloaded("Busy."), "One ", "moment"), says("never")]
    call = asking.call()
    with pytest.raises(Overloaded):
        text_of(call)
    assert len(client.attempts) == 1
    [trace] = asking.traces()
    assert (trace["usage_estimated"], trace["completion_tokens"], trace["is_error"]) == (1, 2, 1)
    assert call.outcome.usage.estimated
    assert Decimal(trace["cost_usd"]) == call.outcome.cost_usd != 0


def test_an_interrupted_answer_costs_what_its_client_counted(client: Double, asking: Asking) -> None:
    error = StreamInterrupted("Gone.")
    error.usage = Usage(input=50, output=7, estimated=True)
    client.attempts = [fails(error, "One ")]
    with pytest.raises(StreamInterrupted):
        text_of(asking.call())
    [trace] = asking.traces()
    assert (trace["prompt_tokens"], trace["completion_tokens"], trace["usage_estimated"]) == (50, 7, 1)


def test_an_abandoned_answer_is_hung_up_on_and_written_down(client: Double, asking: Asking) -> None:
    client.attempts = [says("One ", "two ", "three ")]
    seen: list[str] = []
    call = asking.call(lambda: len(seen) == 2)
    with pytest.raises(Abandoned):
        listen(call, seen)
    assert seen == ["One ", "two "]
    assert client.closed == 1
    [trace] = asking.traces()
    assert (trace["error_type"], trace["usage_estimated"]) == ("cancelled", 1)
    assert trace["completion_tokens"] > 0
    assert trace["prompt_tokens"] > 0
    assert trace["cost_usd"] is not None


def test_a_listener_who_leaves_ends_the_call(client: Double, asking: Asking) -> None:
    client.attempts = [says("One ", "two ")]
    events = asking.call().events()
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert client.closed == 1
    assert [t["error_type"] for t in asking.traces()] == ["cancelled"]


def test_a_wait_for_the_next_attempt_can_be_abandoned(client: Double, asking: Asking) -> None:
    client.attempts = [fails(RateLimited("Wait.", retry_after=19)), says("never")]
    began = time.monotonic()
    with pytest.raises(Abandoned):
        text_of(asking.call(lambda: True))
    assert time.monotonic() - began < 10
    assert len(client.attempts) == 1


def test_an_unknown_price_is_no_price(client: Double, tenant: Tenant) -> None:
    asking = Asking(tenant, model="nobody-knows-1")
    client.attempts = [says("Hi")]
    call = asking.call()
    text_of(call)
    assert (call.outcome.cost_usd, call.outcome.price_source) == (None, "unpriced")
    [trace] = asking.traces()
    assert (trace["cost_usd"], trace["price_source"]) == (None, "unpriced")


def test_an_organizations_own_price_counts(client: Double, tenant: Tenant) -> None:
    PriceOverride.objects.create(
        organization=tenant.organization, model="nobody-*", input=Decimal(2), output=Decimal(4)
    )
    entries.forget(str(tenant.organization.pk))
    client.attempts = [says("Hi", usage=Usage(input=1000, output=500))]
    call = Asking(tenant, model="nobody-knows-1").call()
    text_of(call)
    assert (call.outcome.cost_usd, call.outcome.price_source) == (Decimal("0.004"), "override")
    entries.forget(str(tenant.organization.pk))


def test_an_own_provider_remembers_its_use_and_its_last_failure(client: Double, tenant: Tenant) -> None:
    row = Provider.objects.create(organization=tenant.organization, name="own", provider_type="openai", api_key="sk-x")
    asking = Asking(tenant, provider_id=str(row.pk))
    client.attempts = [says("Hi"), fails(AuthenticationFailed("No."))]
    text_of(asking.call())
    row.refresh_from_db()
    assert (row.last_used_at is not None, row.last_error) == (True, "")
    with pytest.raises(AuthenticationFailed):
        text_of(asking.call())
    row.refresh_from_db()
    assert row.last_error == "No."
    assert [(t["is_byok"], t["provider_key_id"]) for t in asking.traces()] == [(1, str(row.pk))] * 2


def test_a_fault_of_ours_in_the_middle_is_written_down_too(client: Double, asking: Asking) -> None:
    def broken() -> Iterator[ModelEvent]:
        yield TextDelta("Hi")
        raise ZeroDivisionError

    client.attempts = [broken]
    with pytest.raises(ZeroDivisionError):
        text_of(asking.call())
    assert len(asking.traces()) == 1


def test_texts_are_embedded_priced_and_written_down(asking: Asking) -> None:
    vectors = embed_texts(["one", "two"], handle="scripted/hashing-384", context=asking.context)
    assert [len(vector) for vector in vectors] == [384, 384]
    [trace] = asking.traces()
    assert (trace["model"], trace["completion_tokens"], trace["is_error"]) == ("hashing-384", 0, 0)
    assert json.loads(trace["request"]) == {"model": "hashing-384", "input": ["one", "two"]}
    assert Decimal(trace["cost_usd"]) == 0


def test_a_failed_embedding_is_written_down(asking: Asking, settings: Any) -> None:
    own = {"name": "gone", "provider_type": "openai", "api_key": "sk-x", "base_url": "http://127.0.0.1:9/v1"}
    settings.BASE_PROVIDERS = [*settings.BASE_PROVIDERS, own]
    assert resolve(asking.context.organization_id, "gone/text-embedding-3-small").info.kind == "embedding"
    with pytest.raises(ProviderError):
        embed_texts(["one"], handle="gone/text-embedding-3-small", context=asking.context)
    [trace] = asking.traces()
    assert (trace["is_error"], trace["error_type"]) == (1, "llm_error")


def test_an_embedding_that_our_own_code_breaks_leaves_no_call_open(asking: Asking) -> None:
    with pytest.raises(ValueError, match="ours"), model_calls._traced(asking.target, asking.context, b"x" * 400, 1):
        raise ValueError("ours")
    [trace] = asking.traces()
    assert (trace["error_type"], trace["usage_estimated"], trace["input_tokens"]) == ("cancelled", 1, 100)
    assert Decimal(trace["cost_usd"]) == Decimal("0.000015")


def test_what_a_cost_was_made_from_is_kept_with_the_call(client: Double, asking: Asking) -> None:
    counts = {"prompt_tokens": 1200, "completion_tokens": 100, "total_tokens": 1300}
    client.attempts = [lambda: iter([_finished({"service_tier": "priority", "usage": counts})])]
    call = asking.call()
    text_of(call)
    [trace] = asking.traces()
    price = call.outcome.price
    assert price is not None
    assert price.rates is not None
    rates = [Decimal(trace[f"rate_{name}"]) for name in ("input", "cache_read", "output")]
    assert rates == [price.rates.input, price.rates.cache_read, price.rates.output]
    assert rates[0] > Decimal("0.15")  # what is in a hurry costs more
    assert (trace["price_tier"], trace["service_tier"], trace["price_confidence"]) == ("priority", "priority", "listed")
    assert (trace["reported_total_tokens"], trace["total_tokens"], trace["content"]) == (1300, 1300, "full")
    assert Decimal(trace["price_factor"]) == 1


def test_a_total_that_is_not_the_sum_of_the_buckets_is_kept_and_told_once_for_a_model(
    client: Double, asking: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    counts = {"prompt_tokens": 1200, "completion_tokens": 100, "total_tokens": 1307}
    client.attempts = [lambda: iter([_finished({"usage": counts})]) for _ in range(2)]
    for _ in range(2):
        text_of(asking.call())
    assert {(row["total_tokens"], row["reported_total_tokens"]) for row in asking.traces()} == {(1300, 1307)}
    assert len([line for line in caplog.messages if "the provider says 1307" in line]) == 1


def _finished(response: dict[str, Any]) -> Finished:
    return Finished(Message("assistant", (TextPart("Hi"),)), "stop", USAGE, response)
