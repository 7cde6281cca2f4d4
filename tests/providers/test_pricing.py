"""Costs, against sums made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.pricing import Override, Purchase, Rates, price
from providers.usage import Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CACHED = Usage(input=30_000, cache_read=60_000, cache_write_5m=10_000, output=5_000)
CACHED_1H = Usage(input=30_000, cache_read=60_000, cache_write_5m=4_000, cache_write_1h=6_000, output=5_000)
READ = Usage(input=40_000, cache_read=60_000, output=5_000)


@pytest.mark.parametrize(
    ("provider_type", "model", "usage", "cost"),
    [
        ("openai", "gpt-5.2", READ, "0.1505"),
        ("anthropic", "claude-opus-4-5", CACHED, "0.3675"),
        ("anthropic", "claude-opus-4-5", CACHED_1H, "0.390"),
        ("anthropic", "claude-sonnet-4-5-20250929", CACHED, "0.2205"),
        ("google_ai", "gemini-2.5-pro", READ, "0.1075"),
        ("google_ai", "gemini-3-pro-preview", READ, "0.152"),
        ("openai", "text-embedding-3-small", Usage(input=1_000_000), "0.02"),
    ],
)
def test_published_prices_give_the_sum_made_by_hand(provider_type: str, model: str, usage: Usage, cost: str) -> None:
    found = price(usage, Purchase(provider_type=provider_type, model=model, at=AT))
    assert found.cost_usd == Decimal(cost)
    assert found.source.startswith("genai-prices ")


def test_a_price_is_that_of_the_day_of_the_call() -> None:
    usage = Usage(input=1_000_000, output=1_000_000)
    june = price(usage, Purchase(provider_type="openai", model="o3", at=datetime(2025, 6, 1, tzinfo=UTC)))
    july = price(usage, Purchase(provider_type="openai", model="o3", at=datetime(2025, 7, 1, tzinfo=UTC)))
    assert (june.cost_usd, july.cost_usd) == (Decimal(50), Decimal(10))


def test_a_service_tier_has_its_own_price() -> None:
    usage = Usage(input=1_000_000)
    tiers = {
        tier: price(usage, Purchase(provider_type="openai", model="gpt-5.2", at=AT, service_tier=tier)).cost_usd
        for tier in (None, "default", "flex", "priority", "batch")
    }
    assert tiers == {
        None: Decimal("1.75"),
        "default": Decimal("1.75"),
        "flex": Decimal("0.875"),
        "priority": Decimal("3.5"),
        "batch": Decimal("0.875"),
    }


def test_a_long_prompt_pays_the_higher_tier_for_all_of_it() -> None:
    short = price(Usage(input=200_000), Purchase(provider_type="google_ai", model="gemini-2.5-pro", at=AT))
    long = price(Usage(input=200_001), Purchase(provider_type="google_ai", model="gemini-2.5-pro", at=AT))
    assert short.cost_usd == Decimal("0.25")
    assert long.cost_usd == Decimal("0.5000025")


def test_an_unknown_model_is_unpriced_and_not_free() -> None:
    found = price(Usage(input=10), Purchase(provider_type="openai", model="no-such-model-9", at=AT))
    assert (found.cost_usd, found.source) == (None, "unpriced")


@pytest.mark.parametrize("provider_type", ["ollama", "vllm", "local", "scripted"])
def test_a_model_on_the_own_machine_costs_nothing(provider_type: str) -> None:
    found = price(Usage(input=10, output=10), Purchase(provider_type=provider_type, model="gpt-4o", at=AT))
    assert (found.cost_usd, found.source) == (Decimal(0), "local")


def test_output_without_a_price_is_unpriced() -> None:
    found = price(Usage(input=10, output=10), Purchase(provider_type="openai", model="text-embedding-3-small", at=AT))
    assert found.cost_usd is None


def override(model: str, per_input: str, **more: datetime) -> Override:
    rates = Rates(input=Decimal(per_input), output=Decimal(1))
    return Override(provider_type="openai", model=model, rates=rates, **more)


def test_an_override_wins_the_exact_before_the_pattern_and_the_later_before_the_earlier() -> None:
    usage = Usage(input=1_000_000)
    later = override("gpt-5.2", "4", valid_from=AT - timedelta(days=1))
    some = [override("*", "2"), override("gpt-5.2", "3", valid_from=AT - timedelta(days=9)), later]
    found = price(usage, Purchase(provider_type="openai", model="gpt-5.2", at=AT), some)
    assert (found.cost_usd, found.source) == (Decimal(4), "override")
    other = price(usage, Purchase(provider_type="openai", model="gpt-9", at=AT), some)
    assert other.cost_usd == Decimal(2)


def test_an_override_holds_only_while_it_is_valid_and_only_for_its_provider() -> None:
    usage = Usage(input=1_000_000)
    past = override("gpt-5.2", "9", valid_to=AT)
    future = override("gpt-5.2", "9", valid_from=AT + timedelta(seconds=1))
    for some in ([past], [future]):
        found = price(usage, Purchase(provider_type="openai", model="gpt-5.2", at=AT), some)
        assert found.cost_usd == Decimal("1.75")
    found = price(usage, Purchase(provider_type="anthropic", model="gpt-x", at=AT), [override("gpt-x", "9")])
    assert found.source == "unpriced"


def test_a_local_model_can_be_given_a_price() -> None:
    rates = Rates(input=Decimal("0.10"), output=Decimal("0.20"))
    own = Override(provider_type="vllm", model="*", rates=rates)
    found = price(Usage(input=1_000, output=1_000), Purchase(provider_type="vllm", model="llama", at=AT), [own])
    assert found.cost_usd == Decimal("0.0003")


counts = st.integers(min_value=0, max_value=10**9)
maybe = st.none() | counts
usages = st.builds(
    Usage, input=counts, cache_read=maybe, cache_write_5m=maybe, cache_write_1h=maybe, output=counts, reasoning=maybe
)
amounts = st.decimals(min_value=0, max_value=1000, places=4)


@given(usages, amounts, amounts, st.none() | amounts, st.none() | amounts)
def test_buckets_add_up_to_the_total_exactly(
    usage: Usage, per_input: Decimal, per_output: Decimal, read: Decimal | None, write: Decimal | None
) -> None:
    rates = Rates(input=per_input, output=per_output, cache_read=read, cache_write_5m=write)
    own = Override(provider_type="", model="*", rates=rates)
    found = price(usage, Purchase(provider_type="openai", model="any", at=AT), [own])
    assert found.cost_usd == sum(found.buckets.values())
    expected = (
        usage.input * per_input
        + (usage.cache_read or 0) * (per_input if read is None else read)
        + (usage.cache_write or 0) * (per_input if write is None else write)
        + usage.output * per_output
    )
    assert found.cost_usd == expected / 1_000_000
