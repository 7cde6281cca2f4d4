"""On what terms a call was bought: service tiers, regions, a vendor's own cost, discounts and margins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import usage_extract
from providers.price_list import listed
from providers.pricing import Override, Purchase, Rates, price
from providers.usage import Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
MILLION = Usage(input=1_000_000, output=0)


def bought(provider_type: str = "openai", model: str = "gpt-5.2", **more: Any) -> Purchase:
    return Purchase(provider_type=provider_type, model=model, at=more.pop("at", AT), **more)


def factor(number: str, model: str = "*", **more: Any) -> Override:
    return Override(provider_type="", model=model, factor=Decimal(number), **more)


@pytest.mark.parametrize(
    ("word", "tier"),
    [
        *((word, None) for word in ("default", "auto", "standard", "on_demand", "ON_DEMAND", None, 7)),
        *((word, word) for word in ("flex", "priority", "batch")),
        ("ON_DEMAND_FLEX", "flex"),
    ],
)
def test_the_vendors_words_for_a_tier_become_ours(word: Any, tier: str | None) -> None:
    assert usage_extract.terms("openai", {"service_tier": word}).service_tier == tier
    assert usage_extract.terms("anthropic", {"usage": {"service_tier": word}}).service_tier == tier
    assert usage_extract.terms("google_ai", {"usageMetadata": {"trafficType": word}}).service_tier == tier


def test_anthropics_fast_mode_is_a_tier() -> None:
    usage = {"service_tier": "standard", "speed": "fast"}
    assert usage_extract.terms("anthropic", {"usage": usage}).service_tier == "fast"


@pytest.mark.parametrize("cost", [-1, True, "0.5", None, float("nan"), float("inf")])
def test_a_cost_that_is_no_amount_is_not_taken(cost: Any) -> None:
    assert usage_extract.given_cost("openrouter", {"cost": cost, "is_byok": False}) is None


def test_what_the_vendor_charged_wins_over_the_list_and_over_own_rates() -> None:
    own = Override(provider_type="openai", model="gpt-5.2", rates=Rates(input=Decimal(9), output=Decimal(9)))
    found = price(MILLION, bought(given_cost_usd=Decimal("1.25")), [own])
    assert (found.cost_usd, found.source, found.confidence) == (Decimal("1.25"), "provider", "given")
    assert found.buckets == {"given": Decimal("1.25")}


def test_what_a_vendor_said_of_an_answer_that_broke_off_is_not_taken_for_the_whole() -> None:
    usage = Usage(input=1_000_000, estimated=True)
    found = price(usage, bought(given_cost_usd=Decimal("0.01")))
    assert (found.cost_usd, found.confidence) == (Decimal("1.75"), "assumed")


def test_a_discount_or_a_margin_comes_on_top_of_whatever_the_call_costs() -> None:
    terms = bought(service_tier="flex")
    assert price(MILLION, terms, [factor("0.9")]).cost_usd == Decimal("0.7875")
    assert price(MILLION, bought(given_cost_usd=Decimal(2)), [factor("1.15")]).cost_usd == Decimal("2.30")
    own = Override(provider_type="", model="*", rates=Rates(input=Decimal(4), output=None), factor=Decimal("0.5"))
    found = price(MILLION, terms, [own])
    assert (found.cost_usd, found.source, found.factor) == (Decimal(2), "override", Decimal("0.5"))
    assert found.rates is not None
    assert found.rates.input == Decimal(4)


def test_a_factor_makes_no_price_where_there_is_none() -> None:
    found = price(MILLION, bought(model="no-such-model-9"), [factor("0.9")])
    assert (found.cost_usd, found.source) == (None, "unpriced")
    assert price(MILLION, bought("ollama", "llama"), [factor("2")]).cost_usd == Decimal(0)


def test_a_factor_holds_while_it_is_valid() -> None:
    past, coming = factor("0.5", valid_to=AT), factor("0.5", valid_from=AT + timedelta(seconds=1))
    assert price(MILLION, bought(), [past, coming]).cost_usd == Decimal("1.75")
    assert price(MILLION, bought(), [factor("0.5", valid_from=AT)]).cost_usd == Decimal("0.875")


def test_a_price_for_the_named_provider_goes_before_one_for_any() -> None:
    anyones = Override(provider_type="", model="gpt-5.2", rates=Rates(input=Decimal(1), output=None), valid_from=AT)
    named = Override(provider_type="openai", model="gpt-5.2", rates=Rates(input=Decimal(2), output=None))
    assert price(MILLION, bought(), [anyones, named]).cost_usd == Decimal(2)


def test_terms_without_a_price_on_record_are_charged_as_ordinary_and_marked() -> None:
    for terms in ({"service_tier": "no-such-tier"}, {"region": "mars"}):
        found = price(MILLION, bought(**terms))
        assert (found.cost_usd, found.tier, found.confidence) == (Decimal("1.75"), "standard", "assumed")


def test_a_tier_region_and_long_prompt_are_all_named() -> None:
    found = listed("anthropic", "claude-haiku-5-5", "batch", "us", AT)
    assert found is not None
    assert found.step(150_000).tier == "batch+us+long"
    assert found.step(100_000).tier == "batch+us"


def test_an_estimate_is_never_sure() -> None:
    assert price(Usage(input=10, estimated=True), bought()).confidence == "assumed"
    assert price(Usage(input=10), bought()).confidence == "listed"


def test_the_same_moment_has_the_same_price_in_every_time_zone() -> None:
    peak = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
    for hours in (-11, 0, 5, 14):
        from_elsewhere = peak.astimezone(timezone(timedelta(hours=hours)))
        found = price(MILLION, bought("deepseek", "deepseek-v4-flash", at=from_elsewhere))
        assert found.cost_usd == Decimal("0.3")


counts = st.integers(0, 10**8)
usages = st.builds(Usage, input=counts, cache_read=counts, cache_write_5m=counts, output=counts)
long_rates = st.decimals(min_value=0, max_value=1000, places=16)
factors = st.decimals(min_value=0, max_value=5, places=4)


@given(usages, long_rates, long_rates, factors)
def test_no_cost_is_longer_than_what_is_stored_and_its_buckets_still_add_up(
    usage: Usage, per_input: Decimal, per_output: Decimal, by: Decimal
) -> None:
    own = Override(provider_type="", model="*", rates=Rates(input=per_input, output=per_output), factor=by)
    found = price(usage, bought(), [own])
    assert found.cost_usd is not None
    assert found.cost_usd == found.cost_usd.quantize(Decimal("1e-12"))
    assert sum(found.buckets.values(), Decimal(0)) == found.cost_usd
    exact = (usage.prompt * per_input + usage.output * per_output) * by / 1_000_000
    assert abs(found.cost_usd - exact) <= Decimal("5e-12") * (by + 1)
