"""What is asked, answered: the chart over time, the groups as rows, two groupings as a matrix, each with its way on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.urls import reverse

from console.charts import OTHER, OTHER_NAME, Chart, Marks, lines, stacked_bars
from console.periods import CUSTOM, Period
from telemetry.admin.asked import Asked, Reach, filter_pairs, question
from telemetry.admin.dimensions import BY_KEY, Filters, next_dimension, words
from telemetry.admin.groups import Group, Matrix, added, crossed, figure, no_calls
from telemetry.admin.metrics import BY_KEY as METRICS
from telemetry.admin.metrics import TOKEN_PARTS
from telemetry.analytics import LatencyGroup, UsageGroup, interval_starts, latency, usage
from telemetry.select import Sums

SERIES, ROWS, MATRIX = 7, 100, 400
ALL = "\0all"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    chart: Chart
    groups: list[Group]
    totals: Sums
    latency: LatencyGroup | None
    matrix: Matrix | None
    starts: list[datetime] = field(default_factory=list)
    raw: list[tuple[datetime, str, Any]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not self.totals.calls


def together(*asks: Callable[[], Any]) -> list[Any]:
    """Each in a thread of its own: ClickHouse answers them side by side. The first failure is raised."""
    with ThreadPoolExecutor(max_workers=len(asks)) as threads:
        return [future.result() for future in [threads.submit(ask) for ask in asks]]


def answer(asked: Asked, found: Reach) -> Answer:
    """Raises TelemetryUnavailable, and Invalid for what cannot be asked."""
    by_time = question(asked, found, asked.by[:1], asked.interval, SERIES)
    whole = question(asked, found, (), "", 1)
    grouped = question(asked, found, asked.by, "", MATRIX if len(asked.by) == 2 else ROWS)
    timed = latency if asked.metric.is_latency else usage
    totals, groups, series, latencies, overall = together(
        lambda: usage(whole),
        lambda: usage(grouped),
        lambda: timed(by_time),
        lambda: latency(grouped) if asked.metric.is_latency else [],
        lambda: latency(whole) if asked.metric.is_latency else [],
    )
    names = _names(asked, groups, series)
    starts = interval_starts(by_time)
    rows = _rows(asked, groups, {one.values: one for one in latencies}, names)
    total = totals[0].sums if totals else no_calls()
    whole_latency = overall[0] if overall else None
    chart, raw = _chart(asked, series, starts, names, _Whole(rows, total, whole_latency))
    matrix = crossed(asked.metric, rows) if len(asked.by) == 2 and not asked.metric.is_latency else None
    return Answer(chart, rows, total, whole_latency, matrix, starts, raw)


def rows_address(period: Period, filters: Filters, metric: str = "") -> str:
    """The calls behind a figure, in the trace explorer."""
    pairs = [*period.query.items(), *filter_pairs(filters)]
    pairs += {"errors": [("failed", "on")], "error_rate": [("failed", "on")], "unpriced": [("price", "unpriced")]}.get(
        metric, []
    )
    return f"{reverse('admin:telemetry_traces')}?{urlencode(pairs)}"


def bucket(period: Period, starts: Sequence[datetime], index: int) -> Period:
    """The part of the period that one step of the chart stands for."""
    begin = max(starts[index].astimezone(UTC), period.start)
    end = starts[index + 1].astimezone(UTC) if index + 1 < len(starts) else period.end
    return Period(CUSTOM, "", begin, max(end, begin + timedelta(milliseconds=1)))


def with_value(filters: Filters, by: Sequence[str], values: Sequence[str]) -> Filters:
    return {**filters, **{key: [value] for key, value in zip(by, values, strict=True)}}


def label(at: datetime, interval: str) -> str:
    if interval == "hour":
        return f"{at:%b} {at.day} {at:%H:%M}"
    if interval == "month":
        return f"{at:%b %Y}"
    return f"{at:%b} {at.day}"


Names = list[dict[str, str]]


def _names(asked: Asked, groups: Sequence[UsageGroup], series: Sequence[Any]) -> Names:
    """The words for each dimension's values: one query a dimension."""
    found = []
    for i, key in enumerate(asked.by):
        seen = [group.values[i] for group in groups if not group.is_other]
        seen += [one.values[0] for one in series if i == 0 and not getattr(one, "is_other", False)]
        found.append(words(key, seen))
    return found


def _rows(
    asked: Asked, groups: Sequence[UsageGroup], latencies: dict[tuple[str, ...], LatencyGroup], names: Names
) -> list[Group]:
    rows = []
    for group in groups:
        if group.is_other:
            rows.append(Group(group.values, (OTHER_NAME,) * len(asked.by), group.sums, is_other=True))
            continue
        filters = with_value(asked.filters, asked.by, group.values)
        rows.append(
            Group(
                group.values,
                tuple(names[i][value] for i, value in enumerate(group.values)),
                group.sums,
                latencies.get(group.values),
                narrower=asked.address(filters=filters, by=(next_dimension([*filters, *asked.by]),)),
                rows=rows_address(asked.period, filters),
            )
        )
    return sorted(rows, key=lambda row: _order(asked, row))


def _order(asked: Asked, row: Group) -> tuple[bool, float]:
    value = figure(asked.metric, row)
    return row.is_other, -float(value) if value is not None else 1.0


@dataclass(frozen=True, slots=True)
class _Whole:
    """Figures over the whole period, for the legend."""

    rows: list[Group]
    total: Sums
    latency: LatencyGroup | None


def _chart(
    asked: Asked, series: Sequence[Any], starts: list[datetime], names: Names, whole: _Whole
) -> tuple[Chart, list[tuple[datetime, str, Any]]]:
    metric = asked.metric
    labels = [label(at, asked.interval) for at in starts]
    title = f"{metric.label} by {asked.interval}" + (f" and {BY_KEY[asked.by[0]].label.lower()}" if asked.by else "")
    values = _series(asked, series, starts)
    called = {key: names[0].get(key, OTHER_NAME) if names else _part(key) for key in values}
    raw = [(at, called.get(key, key), one[i]) for key, one in values.items() for i, at in enumerate(starts)]
    if metric.kind == "sum":
        marks = Marks(lambda key: called.get(key, key), _links(asked, starts))
        filled: dict[str, list[Decimal]] = {key: [Decimal(v or 0) for v in one] for key, one in values.items()}
        return stacked_bars(title, labels, filled, metric.say, marks), raw
    figures = _wholes(asked, whole.rows)
    over_all = metric.of(whole.latency) if metric.is_latency and whole.latency else None
    said = metric.say(over_all if metric.is_latency else metric.of(whole.total))
    figures[ALL] = said
    return lines(
        title, labels, values, metric.say, Marks(lambda k: called.get(k, k), _links(asked, starts), figures, said)
    ), raw


def _wholes(asked: Asked, rows: list[Group]) -> dict[str, str]:
    """A series' figure over the whole period; of a percentile only where the rows are the series."""
    metric = asked.metric
    parts: dict[str, list[Group]] = defaultdict(list)
    for row in rows if asked.by else []:
        parts[OTHER if row.is_other else row.values[0]].append(row)
    if metric.is_latency:
        return {key: metric.say(figure(metric, of[0])) for key, of in parts.items() if len(asked.by) == 1}
    return {key: metric.say(metric.of(added(row.sums for row in of))) for key, of in parts.items()}


def _part(key: str) -> str:
    return METRICS[key].label if key in METRICS else "all calls"


def _series(asked: Asked, series: Sequence[Any], starts: list[datetime]) -> dict[str, list[Any]]:
    """Each series' figure at each start; where nothing was grouped by, all tokens come apart into their parts."""
    place = {at: i for i, at in enumerate(starts)}
    metrics = [METRICS[key] for key in TOKEN_PARTS] if asked.metric.key == "tokens" and not asked.by else [asked.metric]
    found: dict[str, list[Any]] = defaultdict(lambda: [None] * len(starts))
    for one in series:
        if one.at not in place:
            continue
        for metric in metrics:
            source = one if metric.is_latency else one.sums
            key = metric.key if len(metrics) > 1 else ALL
            if asked.by:
                key = OTHER if getattr(one, "is_other", False) else one.values[0]
            found[key][place[one.at]] = metric.of(source)
    return dict(found)


def _links(asked: Asked, starts: list[datetime]) -> Callable[[str | None, int | None], str]:
    """A step of time leads to its calls; a series over all the time to the same page, narrowed to it."""

    def link(key: str | None, index: int | None) -> str:
        known = key is not None and asked.by and key != ALL
        filters = with_value(asked.filters, asked.by[:1], [str(key)]) if known else asked.filters
        if index is not None:
            return rows_address(bucket(asked.period, starts, index), filters, asked.metric.key)
        if not known:
            return ""
        return asked.address(filters=filters, by=(next_dimension([*filters, *asked.by]),))

    return link
