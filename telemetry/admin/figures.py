"""The figures of the home page: what was spent and how it went, beside the period before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from console.charts import OTHER, Chart, Marks, spark, stacked_bars
from console.display import compact, percent, span, usd
from console.periods import Period
from telemetry.admin.answer import bucket, label, rows_address, together, with_value
from telemetry.admin.asked import Asked, Reach, fitting
from telemetry.admin.dimensions import BY_KEY as SHOWN
from telemetry.admin.dimensions import words
from telemetry.admin.groups import added, no_calls
from telemetry.admin.metrics import BY_KEY as METRICS
from telemetry.admin.metrics import owing, ratio
from telemetry.analytics import LatencyGroup, Question, UsageGroup, interval_starts, latency, usage
from telemetry.select import Sums

MOST, MODELS, UNPRICED = 6, 7, 50
TOPS = ("agent", "api_key", "end_user")
CARDS = ("spend", "calls", "tokens", "error_rate", "latency_p50", "ttft_p50", "cache_rate")
BETTER = {"error_rate": -1, "latency_p50": -1, "ttft_p50": -1, "cache_rate": 1}
ALARMING, WORTH_A_COLOUR = 0.05, 0.05


@dataclass(frozen=True, slots=True)
class Card:
    """One figure. `change` against the period before, with `tone` where more is better or worse."""

    label: str
    value: str
    href: str
    note: str = ""
    change: str = ""
    tone: str = ""
    alarm: bool = False
    line: str = ""


@dataclass(frozen=True, slots=True)
class Unpriced:
    provider: str
    model: str
    calls: int
    tokens: int
    rows: str
    price: str


@dataclass(frozen=True, slots=True)
class Top:
    """The dearest of one dimension."""

    label: str
    many: str
    rows: list[tuple[str, str, Sums]]
    more: str


@dataclass(frozen=True, slots=True)
class Figures:
    cards: list[Card]
    chart: Chart
    totals: Sums
    halves: list[tuple[str, Sums, str]]
    byok_share: float
    tops: list[Top]
    unpriced: list[Unpriced]
    usage: str


@dataclass(frozen=True, slots=True)
class _Asking:
    """One period of one reach, ready to be asked by anything."""

    reach: Reach
    period: Period

    def by(self, *dimensions: str, interval: str = "", order_by: str = "cost_usd", limit: int = MOST) -> Question:
        return Question(
            self.reach.organization_id,
            self.period.start,
            self.period.end,
            dimensions=dimensions,
            interval=interval,
            filters=self.reach.filters,
            order_by=order_by,
            limit=limit,
        )

    def address(self, **changes: Any) -> str:
        """Of the usage page."""
        asked = Asked(self.period, METRICS["spend"], ("model",), {})
        return reverse("admin:telemetry_usage") + replace(asked, **changes).address()


@dataclass(frozen=True, slots=True)
class _Found:
    totals: list[UsageGroup]
    before: list[UsageGroup]
    series: list[UsageGroup]
    latency: list[LatencyGroup]
    latency_before: list[LatencyGroup]
    latency_series: list[LatencyGroup]
    byok: list[UsageGroup]
    unpriced: list[UsageGroup]
    tops: list[list[UsageGroup]]


def read(reach: Reach, period: Period) -> Figures:
    """Raises TelemetryUnavailable."""
    asking = _Asking(reach, period)
    interval = fitting(period)
    dimensions = [*TOPS, "organization"] if reach.organization_id is None else list(TOPS)
    found = _ask(asking, _Asking(reach, period.before), interval, dimensions)
    starts = interval_starts(asking.by(interval=interval))
    totals = found.totals[0].sums if found.totals else no_calls()
    halves = {one.values[0]: one.sums for one in found.byok}
    return Figures(
        cards=_cards(asking, found, starts),
        chart=_chart(asking, found.series, starts, interval),
        totals=totals,
        halves=[
            (name, halves.get(value, no_calls()), rows_address(period, {"is_byok": [value]}))
            for value, name in (("true", "Own keys (BYOK)"), ("false", "Base keys"))
        ],
        byok_share=_share(halves.get("true", no_calls()), totals),
        tops=[_top(asking, key, rows) for key, rows in zip(dimensions, found.tops, strict=True)],
        unpriced=_unpriced(asking, found.unpriced),
        usage=asking.address(),
    )


def _ask(asking: _Asking, before: _Asking, interval: str, dimensions: Sequence[str]) -> _Found:
    answers = together(
        lambda: usage(asking.by()),
        lambda: usage(before.by()),
        lambda: usage(asking.by("model", interval=interval, limit=MODELS)),
        lambda: latency(asking.by()),
        lambda: latency(before.by()),
        lambda: latency(asking.by(interval=interval)),
        lambda: usage(asking.by("is_byok")),
        lambda: usage(asking.by("provider", "model", order_by="unpriced_calls", limit=UNPRICED)),
        *(lambda key=key: usage(asking.by(key)) for key in dimensions),
    )
    return _Found(*[*answers[:8], answers[8:]])


def _cards(asking: _Asking, found: _Found, starts: list[datetime]) -> list[Card]:
    now = found.totals[0].sums if found.totals else no_calls()
    then = found.before[0].sums if found.before else no_calls()
    quick, slow = (rows[0] if rows else None for rows in (found.latency, found.latency_before))
    steps: dict[datetime | None, list[Sums]] = defaultdict(list)
    for one in found.series:
        steps[one.at].append(one.sums)
    sums = [added(steps[at]) for at in starts]
    times = {one.at: one for one in found.latency_series}
    notes = _notes(now, quick)
    cards = []
    for key in CARDS:
        metric = METRICS[key]
        if metric.is_latency:
            value, was = (metric.of(one) if one else None for one in (quick, slow))
            drawn = [metric.of(times[at]) if at in times else None for at in starts]
        else:
            value, was = metric.of(now), metric.of(then)
            drawn = [metric.of(one) for one in sums]
        change, tone = _change(value, was, BETTER.get(key, 0))
        cards.append(
            Card(
                metric.label,
                metric.say(value),
                asking.address(metric=metric),
                notes.get(key, ""),
                change,
                tone,
                alarm=key == "error_rate" and (value or 0) > ALARMING,
                line=spark([one or 0 for one in drawn]),
            )
        )
    return [*cards, _own_keys(asking, found)]


def _own_keys(asking: _Asking, found: _Found) -> Card:
    own = next((one.sums for one in found.byok if one.values[0] == "true"), no_calls())
    totals = found.totals[0].sums if found.totals else no_calls()
    share = _share(own, totals) / 100 if totals.calls else None
    return Card("Own keys (BYOK)", percent(share), asking.address(by=("is_byok",)), f"{usd(own.cost_usd)} of the spend")


def _notes(now: Sums, quick: LatencyGroup | None) -> dict[str, str]:
    return {
        "spend": f"{compact(now.estimated_calls)} calls estimated" if now.estimated_calls else "exact",
        "calls": f"{compact(now.errors)} failed",
        "tokens": f"{compact(now.prompt_tokens)} in, {compact(now.completion_tokens)} out",
        "error_rate": f"{compact(now.errors)} of {compact(now.calls)}",
        "latency_p50": f"p95 {span(quick.p95_ms if quick else None)}",
        "ttft_p50": f"p95 {span(quick.ttft_p95_ms if quick else None)}",
        "cache_rate": f"{compact(now.cached_input_tokens)} tokens read",
    }


def _change(now: Any, then: Any, better: int) -> tuple[str, str]:
    """Against the period before, in percent; `better`: 1 more is better, -1 less is, 0 neither."""
    if not now or not then:
        return "", ""
    part = float(now) / float(then) - 1
    if abs(part) < 0.005:
        return "±0 %", ""
    text = f"×{float(now) / float(then):.1f}" if part > 9 else f"{abs(part):.0%}".replace("%", " %")
    tone = "" if not better or abs(part) < WORTH_A_COLOUR else "better" if (part > 0) == (better > 0) else "worse"
    return f"{'▲' if part > 0 else '▼'} {text}", tone


def _chart(asking: _Asking, series: Sequence[UsageGroup], starts: list[datetime], interval: str) -> Chart:
    place = {at: i for i, at in enumerate(starts)}
    costs: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(starts))
    for one in series:
        if one.at in place:
            costs[OTHER if one.is_other else one.values[0]][place[one.at]] += one.sums.cost_usd

    def link(model: str | None, index: int | None) -> str:
        filters = with_value({}, ("model",), (model,)) if model is not None else {}
        if index is None:
            return asking.address(filters=filters, by=("agent",)) if model is not None else ""
        return rows_address(bucket(asking.period, starts, index), filters)

    names = words("model", costs)
    return stacked_bars(
        f"Spend by {interval} and model",
        [label(at, interval) for at in starts],
        costs,
        usd,
        Marks(lambda model: names.get(model, model), link),
    )


def _share(own: Sums, totals: Sums) -> float:
    """Percent of the spend that went over the customers' own keys; of the calls, where nothing was spent."""
    if totals.cost_usd:
        return float(100 * own.cost_usd / totals.cost_usd)
    return 100 * (ratio(own.calls, totals.calls) or 0.0)


def _top(asking: _Asking, key: str, rows: Sequence[UsageGroup]) -> Top:
    shown = [one for one in rows if not one.is_other and one.values[0]]
    names = words(key, (one.values[0] for one in shown))
    by = "agent" if key != "agent" else "model"
    found = [
        (names[one.values[0]], asking.address(filters={key: [one.values[0]]}, by=(by,)), one.sums) for one in shown
    ]
    return Top(SHOWN[key].label, SHOWN[key].many, found, asking.address(by=(key,)))


def _unpriced(asking: _Asking, rows: Sequence[UsageGroup]) -> list[Unpriced]:
    found = []
    for one in rows:
        if one.is_other or not owing(one.sums):
            continue
        provider, model = one.values
        filters = with_value({}, ("provider", "model"), one.values)
        price = {"provider_type": provider, "model": model}
        if asking.reach.organization_id is not None:
            price["organization"] = asking.reach.organization_id
        address = f"{reverse('admin:providers_priceoverride_add')}?{urlencode(price)}"
        rows_of = rows_address(asking.period, filters, "unpriced")
        found.append(Unpriced(provider, model, owing(one.sums), one.sums.total_tokens, rows_of, address))
    return found
