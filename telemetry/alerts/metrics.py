"""What a rule can watch: one number out of the figures of a window, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from console.display import count, span, usd
from telemetry.analytics import LatencyGroup
from telemetry.select import Sums

Number = Decimal | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known of one group in one window; a rule asks for one of the two."""

    sums: Sums | None = None
    latency: LatencyGroup | None = None

    @property
    def calls(self) -> int:
        found = self.sums or self.latency
        return found.calls if found else 0


NOTHING = Figures()


@dataclass(frozen=True, slots=True)
class Metric:
    """`adds_up`: without a call it is 0, and not unknown. `of_latency`: read from spans, else from sums."""

    name: str
    label: str
    say: Callable[[Any], str]
    read: Callable[[Any], Any]
    adds_up: bool = True
    of_latency: bool = False
    only_good: bool = False
    unit: str = ""

    def value(self, figures: Figures) -> Number:
        found = figures.latency if self.of_latency else figures.sums
        if found is None:
            return Decimal(0) if self.adds_up else None
        value = self.read(found)
        return None if value is None else Decimal(str(value))


def percent(value: Any) -> str:
    return f"{Decimal(value):.1f}".removesuffix(".0") + " %"


def _part(name: str, of: str) -> Callable[[Sums], Number]:
    def read(sums: Sums) -> Number:
        whole = getattr(sums, of)
        return Decimal(100 * getattr(sums, name)) / whole if whole else None

    return read


def _sum(name: str, label: str, unit: str = "") -> Metric:
    return Metric(name, label, count, lambda sums: getattr(sums, name), unit=unit)


def _span(kind: str, label: str, number: int) -> Metric:
    field = f"p{number}_ms" if kind == "latency" else f"ttft_p{number}_ms"
    return Metric(
        f"{kind}_p{number}",
        f"{label}, p{number}",
        span,
        lambda group: getattr(group, field),
        adds_up=False,
        of_latency=True,
        unit="milliseconds",
    )


_ALL = (
    Metric("cost_usd", "Cost", usd, lambda sums: sums.cost_usd, unit="US dollars"),
    _sum("calls", "Calls"),
    _sum("errors", "Errors"),
    Metric("error_rate", "Error rate", percent, _part("errors", "calls"), adds_up=False, unit="percent of calls"),
    _sum("total_tokens", "Tokens, all", "tokens"),
    _sum("input_tokens", "Input tokens, not cached", "tokens"),
    _sum("completion_tokens", "Output tokens", "tokens"),
    _sum("cached_input_tokens", "Tokens read from cache", "tokens"),
    _sum("cache_write_tokens", "Tokens written to cache", "tokens"),
    Metric(
        "cache_hit_rate",
        "Cache hit rate",
        percent,
        _part("cached_input_tokens", "prompt_tokens"),
        adds_up=False,
        unit="percent of prompt tokens",
    ),
    *(_span("latency", "Latency", number) for number in (50, 95, 99)),
    *(_span("ttft", "First token", number) for number in (50, 95, 99)),
    Metric("unpriced_calls", "Calls without a price", count, lambda sums: sums.unpriced_calls, only_good=True),
)
METRICS = {metric.name: metric for metric in _ALL}
