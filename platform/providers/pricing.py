"""What a call cost in USD, by bucket, exactly; an unknown price is None ("unpriced"), never 0.

In this order: what the vendor says it charged; an organization's own prices; published ones (`price_list`). Models
that run on the operator's own machine cost nothing by nature. An organization's factor comes on top of any of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from providers.catalog import preset_of
from providers.price_list import STANDARD, Rates, listed, warm_up
from providers.usage import Usage

__all__ = ["Override", "Price", "Purchase", "Rates", "price", "warm_up"]
UNPRICED, LOCAL, OVERRIDE, GIVEN = "unpriced", "local", "override", "provider"
_ZERO, _ONE = Decimal(0), Decimal(1)
_KEPT = Decimal("1e-12")  # the digits that PostgreSQL and ClickHouse keep

Confidence = Literal["given", "own", "listed", "assumed", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What was called, when, and on what terms (see `usage_extract.terms`).

    `service_tier`: flex, priority, fast, batch or None. `given_cost_usd`: what the vendor says it charged.
    """

    provider_type: str
    model: str
    at: datetime
    service_tier: str | None = None
    region: str | None = None
    given_cost_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An organization's own price. `model` may hold `*`; both ends of the validity may be open.

    Without `rates`, `factor` is a discount or a margin on what the call costs otherwise.
    """

    provider_type: str
    model: str
    rates: Rates | None = None
    factor: Decimal = _ONE
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
    """`buckets` are the costs by bucket; they add up to `cost_usd` exactly, which is at most 12 decimals long.

    `source` names the price list and its version. `tier`: the terms whose price was used (`standard`, `flex+long` …).
    `rates` are the unit prices before `factor`. `confidence` is `assumed` where tokens were estimated, or where a
    price stands in for one that is not on record (a service tier, a cache bucket).
    """

    cost_usd: Decimal | None
    source: str
    rates: Rates | None = None
    buckets: Mapping[str, Decimal] = field(default_factory=dict)
    tier: str = STANDARD
    factor: Decimal = _ONE
    confidence: Confidence = "none"


def _kept(amount: Decimal) -> Decimal:
    """Never more digits than are stored, and without padding."""
    exponent = amount.as_tuple().exponent
    return amount.quantize(_KEPT) if isinstance(exponent, int) and exponent < -12 else amount


def _cost(tokens: int | None, rate: Decimal) -> Decimal:
    return _kept((rate * tokens).scaleb(-6)) if tokens else _ZERO


@lru_cache(maxsize=4096)
def _applied(rates: Rates) -> Rates:
    return rates.applied()


def _priced(usage: Usage, rates: Rates, source: str, tier: str, confidence: Confidence) -> Price:
    if rates.output is None and usage.output:
        return Price(cost_usd=None, source=UNPRICED)
    used = _applied(rates)
    buckets = {
        "input": _cost(usage.input, used.input),
        "cache_read": _cost(usage.cache_read, used.cache_read or _ZERO),
        "cache_write_5m": _cost(usage.cache_write_5m, used.cache_write_5m or _ZERO),
        "cache_write_1h": _cost(usage.cache_write_1h, used.cache_write_1h or _ZERO),
        "output": _cost(usage.output, used.output or _ZERO),
    }
    return Price(
        cost_usd=sum(buckets.values(), _ZERO),
        source=source,
        rates=rates,
        buckets=buckets,
        tier=tier,
        confidence="assumed" if usage.estimated else confidence,
    )


def _all_rated(usage: Usage, rates: Rates) -> bool:
    """Whether every bucket with tokens has a rate of its own."""
    return not (
        (usage.cache_read and rates.cache_read is None)
        or (usage.cache_write_5m and rates.cache_write_5m is None)
        or (usage.cache_write_1h and rates.cache_write_1h is None)
    )


def _overriding(overrides: Sequence[Override], bought: Purchase) -> Override | None:
    """The one that counts: an exact model before a pattern, then a named provider, then the one that began last."""
    matching = [override for override in overrides if override.applies(bought)]
    if not matching:
        return None
    start = datetime.min.replace(tzinfo=UTC)
    return max(matching, key=lambda one: (one.model == bought.model, bool(one.provider_type), one.valid_from or start))


def _published(usage: Usage, bought: Purchase) -> Price:
    found = listed(bought.provider_type, bought.model, bought.service_tier, bought.region, bought.at)
    if found is None:
        return Price(cost_usd=None, source=UNPRICED)
    step = found.step(usage.prompt)
    sure = found.complete and _all_rated(usage, step.rates)
    return _priced(usage, step.rates, found.source, step.tier, "listed" if sure else "assumed")


def _base(usage: Usage, bought: Purchase, own: Rates | None) -> Price:
    """Before any factor."""
    if bought.given_cost_usd is not None and not usage.estimated:  # of an answer that broke off, it is a part
        cost = _kept(bought.given_cost_usd)
        tier = bought.service_tier or STANDARD
        return Price(cost_usd=cost, source=GIVEN, buckets={"given": cost}, tier=tier, confidence="given")
    if own is not None:
        return _priced(usage, own, OVERRIDE, STANDARD, "own")
    if preset_of(bought.provider_type).local:
        return Price(cost_usd=_ZERO, source=LOCAL, confidence="own")
    return _published(usage, bought)


def price(usage: Usage, bought: Purchase, overrides: Sequence[Override] = ()) -> Price:
    """The cost of one call at the time it was made."""
    override = _overriding(overrides, bought) if overrides else None
    if override is None:
        return _base(usage, bought, None)
    found = _base(usage, bought, override.rates)
    if override.factor == _ONE or found.cost_usd is None:
        return found
    buckets = {name: _kept(cost * override.factor) for name, cost in found.buckets.items()}
    return replace(found, cost_usd=sum(buckets.values(), _ZERO), buckets=buckets, factor=override.factor)
