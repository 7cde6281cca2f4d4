"""What a call cost in USD, by bucket, exactly; an unknown price is None ("unpriced"), never 0.

Prices come from an organization's overrides, else from the `genai-prices` package (offline, with effective dates,
tiers by prompt size and service tiers). Models that run on the operator's own machine cost nothing by nature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from typing import Any

from providers.catalog import preset_of, price_provider
from providers.usage import Usage

UNPRICED, LOCAL, OVERRIDE = "unpriced", "local", "override"
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What was called, and when. `service_tier`: flex, priority, fast, batch or None."""

    provider_type: str
    model: str
    at: datetime
    service_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per million tokens. A bucket without a rate of its own is charged as plain input."""

    input: Decimal
    output: Decimal | None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An organization's own price. `model` may hold `*`; both ends of the validity may be open."""

    provider_type: str
    model: str
    rates: Rates
    valid_from: datetime | None = None
    valid_to: datetime | None = None

    def applies(self, bought: Purchase) -> bool:
        return (
            self.provider_type in ("", bought.provider_type)
            and (self.model == bought.model or fnmatchcase(bought.model, self.model))
            and (self.valid_from is None or self.valid_from <= bought.at)
            and (self.valid_to is None or bought.at < self.valid_to)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """`buckets` are the costs by bucket; they add up to `cost_usd` exactly."""

    cost_usd: Decimal | None
    source: str
    rates: Rates | None = None
    buckets: Mapping[str, Decimal] = field(default_factory=dict)


@cache
def _package() -> tuple[Any, str]:
    """(snapshot of genai-prices, its version). The first call takes 0.2 s: see `warm_up`."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot(), genai_prices.__version__


def warm_up() -> None:
    """Load the price data now, not in the first call."""
    _package()
    _published("openai", "gpt-4o-mini")


@lru_cache(maxsize=4096)
def _published(provider_type: str, model: str) -> Any:
    """The package's record of a model, or None."""
    try:
        _, found = _package()[0].find_provider_model(model, None, price_provider(provider_type), None)
    except LookupError:
        return None
    return found


def _at_tier(value: Any, prompt_tokens: int) -> Decimal | None:
    """The rate of a key; in tiers, the one for a prompt of that size, which holds for all its tokens."""
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    rate: Decimal = reached[-1] if reached else value.base
    return rate


def _rates(bought: Purchase, prompt_tokens: int) -> Rates | None:
    record = _published(bought.provider_type, bought.model)
    if record is None:
        return None
    context = None
    if tier := bought.service_tier:
        context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    prices = record.get_prices(bought.at, context).__dict__
    per_input = _at_tier(prices.get("input_mtok"), prompt_tokens)
    if per_input is None:
        return None
    return Rates(
        input=per_input,
        output=_at_tier(prices.get("output_mtok"), prompt_tokens),
        cache_read=_at_tier(prices.get("cache_read_mtok"), prompt_tokens),
        cache_write_5m=_at_tier(prices.get("cache_write_mtok"), prompt_tokens),
        cache_write_1h=_at_tier(prices.get("cache_write_1h_mtok"), prompt_tokens),
    )


def _cost(tokens: int | None, rate: Decimal) -> Decimal:
    return (rate * tokens).scaleb(-6) if tokens else _ZERO


def _priced(usage: Usage, rates: Rates, source: str) -> Price:
    if rates.output is None and usage.output:
        return Price(cost_usd=None, source=UNPRICED)
    write = rates.input if rates.cache_write_5m is None else rates.cache_write_5m
    buckets = {
        "input": _cost(usage.input, rates.input),
        "cache_read": _cost(usage.cache_read, rates.input if rates.cache_read is None else rates.cache_read),
        "cache_write_5m": _cost(usage.cache_write_5m, write),
        "cache_write_1h": _cost(usage.cache_write_1h, write if rates.cache_write_1h is None else rates.cache_write_1h),
        "output": _cost(usage.output, rates.output or _ZERO),
    }
    return Price(cost_usd=sum(buckets.values(), _ZERO), source=source, rates=rates, buckets=buckets)


def _overriding(overrides: Sequence[Override], bought: Purchase) -> Override | None:
    """The override that counts: an exact model before a pattern, then the one that began last."""
    matching = [override for override in overrides if override.applies(bought)]
    if not matching:
        return None
    start = datetime.min.replace(tzinfo=UTC)
    return max(matching, key=lambda override: (override.model == bought.model, override.valid_from or start))


def price(usage: Usage, bought: Purchase, overrides: Sequence[Override] = ()) -> Price:
    """The cost of one call at the time it was made."""
    if overrides:
        override = _overriding(overrides, bought)
        if override is not None:
            return _priced(usage, override.rates, OVERRIDE)
    if preset_of(bought.provider_type).local:
        return Price(cost_usd=_ZERO, source=LOCAL)
    rates = _rates(bought, usage.prompt)
    if rates is None:
        return Price(cost_usd=None, source=UNPRICED)
    return _priced(usage, rates, f"genai-prices {_package()[1]}")
