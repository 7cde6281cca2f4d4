"""What the cockpit can measure: each metric's name, how it is said, and whether its figures add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from console.display import compact, percent, span, usd
from telemetry.select import Sums

Kind = Literal["sum", "rate", "latency"]


@dataclass(frozen=True, slots=True)
class Metric:
    """`of` takes Sums, or for a latency what `telemetry.analytics.latency` gives; None: there is nothing to say.

    `kind`: sums are drawn as stacked bars, rates and latencies as lines. `exact` is how a table says it.
    """

    key: str
    label: str
    group: str
    kind: Kind
    of: Callable[[Any], Any]
    say: Callable[[Any], str]
    exact: Callable[[Any], str]
    unit: str = ""
    short: str = ""

    @property
    def head(self) -> str:
        """Over a column."""
        return self.short or self.label

    @property
    def is_latency(self) -> bool:
        return self.kind == "latency"


def ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _number(value: Any) -> str:
    return "–" if value is None else f"{int(value):,}"


def _sum(key: str, label: str, field: str, short: str = "") -> Metric:
    def of(sums: Sums) -> Any:
        return getattr(sums, field)

    group = "Tokens" if field.endswith("_tokens") else "Calls"
    return Metric(key, label, group, "sum", of, compact, _number, "tokens" if group == "Tokens" else "", short)


def owing(sums: Sums) -> int:
    """Calls that went through and have no price: one that failed has none either, and owes nothing."""
    return max(sums.unpriced_calls - sums.errors, 0)


def _cost(sums: Sums) -> Decimal:
    return sums.cost_usd


def _error_rate(sums: Sums) -> float | None:
    return ratio(sums.errors, sums.calls)


def _cache_rate(sums: Sums) -> float | None:
    return ratio(sums.cached_input_tokens, sums.prompt_tokens)


def _rate(key: str, label: str, of: Callable[[Sums], float | None], short: str = "") -> Metric:
    return Metric(key, label, "Rates", "rate", of, percent, percent, "share", short)


def _latency(key: str, label: str, group: str) -> Metric:
    field = f"{key.removeprefix('latency_')}_ms"

    def of(found: Any) -> Any:
        return getattr(found, field)

    return Metric(key, label, group, "latency", of, span, span, "ms")


METRICS = (
    Metric("spend", "Spend", "Money", "sum", _cost, usd, usd, "USD"),
    _sum("tokens", "All tokens", "total_tokens", "Tokens"),
    _sum("input", "Input, not cached", "input_tokens", "Input"),
    _sum("cache_read", "Read from cache", "cached_input_tokens", "Cache read"),
    _sum("cache_write", "Written to cache", "cache_write_tokens", "Cache write"),
    _sum("output", "Output", "completion_tokens"),
    _sum("reasoning", "Reasoning (in output)", "reasoning_tokens", "Reasoning"),
    _sum("calls", "Calls", "calls"),
    _sum("errors", "Errors", "errors"),
    Metric("unpriced", "Calls without a price", "Calls", "sum", owing, compact, _number, short="Unpriced"),
    _rate("error_rate", "Error rate", _error_rate),
    _rate("cache_rate", "Cache-hit rate", _cache_rate, "Cache hits"),
    _latency("latency_p50", "Latency, median", "Latency"),
    _latency("latency_p95", "Latency, p95", "Latency"),
    _latency("latency_p99", "Latency, p99", "Latency"),
    _latency("ttft_p50", "First token, median", "First token"),
    _latency("ttft_p95", "First token, p95", "First token"),
    _latency("ttft_p99", "First token, p99", "First token"),
)
BY_KEY = {metric.key: metric for metric in METRICS}
# The disjoint parts of all tokens, in the order they are drawn in.
TOKEN_PARTS = ("input", "cache_read", "cache_write", "output")


def groups() -> list[tuple[str, list[Metric]]]:
    """For a list to choose from."""
    names = dict.fromkeys(metric.group for metric in METRICS)
    return [(name, [metric for metric in METRICS if metric.group == name]) for name in names]
