"""Asking for the figures of many rules with few questions: rules of one shape share one answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry.alerts.conditions import PAST_WEEKS
from telemetry.alerts.metrics import METRICS, NOTHING, Figures
from telemetry.analytics import Question, latency, usage
from telemetry.models.alerts import AlertKind, AlertRule

# More groups than this are no longer told apart: the most called ones are.
MOST_GROUPS = 200
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Shape:
    """What two rules must have in common to be answered by one question."""

    organization_id: str | None
    filters: tuple[tuple[str, str], ...]
    group_by: str
    window: timedelta
    of_latency: bool
    only_good: bool
    with_past: bool


Groups = dict[str, Figures]


@dataclass(frozen=True, slots=True)
class Measured:
    """`past`: the same window of each past week, the last week first; empty where it was not asked for."""

    now: Groups
    past: tuple[Groups, ...] = ()

    def history(self, group: str) -> list[Figures]:
        return [week.get(group, NOTHING) for week in self.past]


def shape_of(rule: AlertRule) -> Shape:
    metric = METRICS[rule.metric]
    return Shape(
        organization_id=rule.organization_id,
        filters=tuple(sorted(rule.filters.items())),
        group_by=rule.group_by,
        window=rule.window,
        of_latency=metric.of_latency,
        only_good=metric.only_good,
        with_past=rule.kind == AlertKind.ANOMALY,
    )


def measure(shape: Shape, at: datetime) -> Measured:
    """Of the window that ends at `at`. Raises TelemetryUnavailable."""
    past = tuple(groups(shape, at - WEEK * n) for n in range(1, PAST_WEEKS + 1)) if shape.with_past else ()
    return Measured(groups(shape, at), past)


def groups(shape: Shape, at: datetime) -> Groups:
    filters = dict(shape.filters)
    if shape.only_good:
        filters["error_type"] = ""
    question = Question(
        shape.organization_id,
        at - shape.window,
        at,
        dimensions=(shape.group_by,) if shape.group_by else (),
        filters=filters,
        order_by="calls",
        limit=MOST_GROUPS,
    )
    if shape.of_latency:
        return {(found.values or ("",))[0]: Figures(latency=found) for found in latency(question)}
    return {(found.values or ("",))[0]: Figures(sums=found.sums) for found in usage(question) if not found.is_other}
