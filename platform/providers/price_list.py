"""Published prices: `genai-prices` (offline, with effective dates), and what it lacks from `data/price_rules.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import orjson

from providers.catalog import price_provider

STANDARD, LONG = "standard", "long"
_RULES = Path(__file__).parent / "data" / "price_rules.json"
_KEYS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per million tokens. A bucket without a rate of its own is charged as plain input."""

    input: Decimal
    output: Decimal | None
    cache_read: Decimal | None = None
    cache_write_5m: Decimal | None = None
    cache_write_1h: Decimal | None = None

    def applied(self) -> Rates:
        """What each bucket is charged at."""
        write = self.input if self.cache_write_5m is None else self.cache_write_5m
        return Rates(
            input=self.input,
            output=self.output,
            cache_read=self.input if self.cache_read is None else self.cache_read,
            cache_write_5m=write,
            cache_write_1h=write if self.cache_write_1h is None else self.cache_write_1h,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rates of prompts of more than `above` tokens, for all their tokens. `tier`: `standard`, `flex+long` …"""

    above: int
    tier: str
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The price of a model on terms. `steps`: the longest prompts first. `complete`: every term asked for is in it."""

    source: str
    steps: tuple[Step, ...]
    complete: bool

    def step(self, prompt_tokens: int) -> Step:
        for step in self.steps:
            if prompt_tokens > step.above:
                return step
        return self.steps[-1]


@cache
def _package() -> tuple[Any, str]:
    """(snapshot of genai-prices, its version). The first call takes 0.2 s: see `warm_up`."""
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot(), genai_prices.__version__


def warm_up() -> None:
    """Load the price data now, not in the first call."""
    listed("openai", "gpt-4o-mini", None, None, datetime.now(UTC))


@cache
def _rules() -> Mapping[str, list[dict[str, Any]]]:
    rules: dict[str, list[dict[str, Any]]] = orjson.loads(_RULES.read_bytes())
    return rules


def _rule(kind: str, provider: str, record_id: str, **terms: str) -> dict[str, Any] | None:
    wanted = {"provider": provider, **terms}
    for rule in _rules()[kind]:
        if all(rule[key] in (value, "*") for key, value in wanted.items()) and _is_any(record_id, rule["models"]):
            return rule
    return None


def _is_any(record_id: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(record_id, pattern) for pattern in patterns)


@lru_cache(maxsize=4096)
def _record(provider_type: str, model: str) -> tuple[Any, bool]:
    """(the package's record of a model or None, whether its price depends on the time of day)."""
    try:
        _, found = _package()[0].find_provider_model(model, None, price_provider(provider_type), None)
    except LookupError:
        return None, False
    prices = found.prices if isinstance(found.prices, list) else []
    constraints = [entry.constraint for entry in (*prices, *(found.price_variants or ()))]
    return found, any(one is not None and not hasattr(one, "start_date") for one in constraints)


def listed(provider_type: str, model: str, service_tier: str | None, region: str | None, at: datetime) -> Listed | None:
    """The published price at that time; None for a model that is not on record."""
    record, by_hour = _record(provider_type, model)
    if record is None:
        return None
    at = at.astimezone(UTC)
    at = at.replace(second=0, microsecond=0) if by_hour else at.replace(hour=0, minute=0, second=0, microsecond=0)
    return _listed(provider_type, model, service_tier, region, at)


@lru_cache(maxsize=4096)
def _listed(
    provider_type: str, model: str, service_tier: str | None, region: str | None, at: datetime
) -> Listed | None:
    record, _ = _record(provider_type, model)
    provider = price_provider(provider_type)
    context = _context(service_tier)
    steps = _steps(record.get_prices(at, context).__dict__)
    if not steps:
        return None
    terms, complete = [], True
    if service_tier:
        rule = None
        known = context is not None and _has_variant(record, at, context)
        if not known:
            rule = _rule("tiers", provider, record.id, tier=service_tier)
        if rule is not None:
            steps = {above: _scaled(rates, rule) for above, rates in steps.items()}
        if known or rule is not None:
            terms.append(service_tier)
        else:
            complete = False
    if len(steps) == 1 and (rule := _rule("long", provider, record.id)) is not None:
        steps[rule["above"]] = _scaled(steps[-1], rule)
    if region:
        rule = _rule("regions", provider, record.id, region=region)
        if rule is None:
            complete = False
        else:
            steps = {above: _scaled(rates, rule) for above, rates in steps.items()}
            terms.append(region)
    return Listed(source=f"genai-prices {_package()[1]}", steps=_named(steps, terms), complete=complete)


def _named(steps: dict[int, Rates], terms: list[str]) -> tuple[Step, ...]:
    return tuple(
        Step(above=above, tier="+".join([*terms, *([LONG] if above >= 0 else [])]) or STANDARD, rates=steps[above])
        for above in sorted(steps, reverse=True)
    )


def _context(service_tier: str | None) -> dict[str, str] | None:
    """A service tier in the package's words."""
    if not service_tier:
        return None
    return {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}


def _has_variant(record: Any, at: datetime, context: dict[str, str]) -> bool:
    """Whether the package prices these terms at that time."""
    return any(
        all(context.get(key) == value for key, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(at))
        for variant in record.price_variants or ()
    )


def _steps(prices: Mapping[str, Any]) -> dict[int, Rates]:
    """Rates by the size of prompt above which they hold; -1 is the base. Empty without a price of input."""
    values = [prices.get(key) for key in _KEYS]
    starts = {tier.start for value in values for tier in getattr(value, "tiers", ())}
    found: dict[int, Rates] = {}
    for above in (-1, *starts):
        per_input, output, read, short, long = (_reached(value, above) for value in values)
        if per_input is None:
            return {}
        found[above] = Rates(input=per_input, output=output, cache_read=read, cache_write_5m=short, cache_write_1h=long)
    return found


def _reached(value: Any, above: int) -> Decimal | None:
    """The rate of a key for prompts of more than `above` tokens."""
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if above >= tier.start]
    rate: Decimal = reached[-1] if reached else value.base
    return rate


def _scaled(rates: Rates, rule: Mapping[str, str]) -> Rates:
    by_input, by_output, by_cache = (Decimal(rule[key]) for key in ("input", "output", "cache"))

    def times(rate: Decimal | None, factor: Decimal) -> Decimal | None:
        return None if rate is None else rate * factor

    return Rates(
        input=rates.input * by_input,
        output=times(rates.output, by_output),
        cache_read=times(rates.cache_read, by_cache),
        cache_write_5m=times(rates.cache_write_5m, by_cache),
        cache_write_1h=times(rates.cache_write_1h, by_cache),
    )
