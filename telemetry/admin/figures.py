"""The figures of the home page, of one organization, of several, or of all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from console.charts import Chart, stacked_bars
from console.periods import Period
from telemetry import queries
from telemetry.insights import AgentUsage, Latency, latency, top_agents
from telemetry.queries import ByokUsage, DayModelUsage, HourUsage, OrganizationUsage
from telemetry.select import SUM_NAMES, Sums

MOST_AGENTS = 8
T = TypeVar("T")
Organizations = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Unpriced:
    provider: str
    model: str
    calls: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Figures:
    """`latency` None: several organizations at once, whose medians do not add up."""

    totals: Sums
    latency: Latency | None
    chart: Chart
    byok: Sums | None
    base: Sums | None
    agents: list[AgentUsage]
    organizations: list[OrganizationUsage]
    unpriced: list[Unpriced]

    @property
    def byok_share(self) -> float:
        """Percent of the spend that went over the customers' own keys; of the calls, where nothing was spent."""
        own, base = self.byok, self.base
        cost = (own.cost_usd if own else Decimal(0), base.cost_usd if base else Decimal(0))
        if sum(cost):
            return float(100 * cost[0] / sum(cost, Decimal(0)))
        calls = (own.calls if own else 0, base.calls if base else 0)
        return 100 * calls[0] / sum(calls) if sum(calls) else 0.0


def read(organizations: Organizations, period: Period) -> Figures:
    """Raises TelemetryUnavailable."""
    start, end = period.start.date(), period.end.date() + timedelta(days=1)
    days = _each(organizations, lambda one: queries.usage_by_day_and_model(one, start, end))
    split = _each(organizations, lambda one: queries.byok_split(one, start, end))
    agents = _each(organizations, lambda one: top_agents(one, period.start, period.end, MOST_AGENTS))
    everyone = organizations == [None]
    return Figures(
        totals=added(queries.totals(one, start, end) for one in organizations),
        latency=latency(organizations[0], period.start, period.end) if len(organizations) == 1 else None,
        chart=_chart(organizations, period, days),
        byok=_half(split, is_byok=True),
        base=_half(split, is_byok=False),
        agents=sorted(agents, key=lambda row: (-row.cost_usd, -row.calls))[:MOST_AGENTS],
        organizations=queries.usage_by_organization(start, end)[:MOST_AGENTS] if everyone else [],
        unpriced=_unpriced(days),
    )


def _each(organizations: Organizations, ask: Callable[[str | None], list[T]]) -> list[T]:
    return [row for one in organizations for row in ask(one)]


def added(parts: Any) -> Sums:
    sums: dict[str, Any] = {name: Decimal(0) if name == "cost_usd" else 0 for name in SUM_NAMES}
    for part in parts:
        for name in SUM_NAMES:
            sums[name] += getattr(part, name)
    return Sums(**sums)


def _half(split: list[ByokUsage], *, is_byok: bool) -> Sums | None:
    rows = [row for row in split if row.is_byok is is_byok]
    return added(rows) if rows else None


def _chart(organizations: Organizations, period: Period, rows: list[DayModelUsage]) -> Chart:
    if len(period.days) == 1:
        hours = _each(organizations, lambda one: queries.usage_by_hour(one, period.start, period.end))
        return _hours(hours)
    days: list[date] = [day.date() for day in period.days]
    by_model: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        by_model[row.model or row.provider][row.day] += row.cost_usd
    series = {model: [costs[day] for day in days] for model, costs in by_model.items()}
    return stacked_bars("Spend by day and model", [f"{day:%b} {day.day}" for day in days], series)


def _hours(rows: list[HourUsage]) -> Chart:
    costs: dict[int, Decimal] = defaultdict(Decimal)
    for row in rows:
        costs[row.hour.hour] += row.cost_usd
    return stacked_bars(
        "Spend by hour", [f"{h:02d}:00" for h in range(24)], {"all models": [costs[h] for h in range(24)]}
    )


def _unpriced(rows: list[DayModelUsage]) -> list[Unpriced]:
    """Models whose calls went through and have no price: a call that failed has none either, and owes nothing."""
    calls: dict[tuple[str, str], int] = defaultdict(int)
    tokens: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        key = (row.provider, row.model)
        missing = max(row.unpriced_calls - row.errors, 0)
        calls[key] += missing
        tokens[key] += row.total_tokens if missing else 0
    found = [Unpriced(*key, number, tokens[key]) for key, number in calls.items() if number]
    return sorted(found, key=lambda row: -row.calls)
