"""What a window's figures mean for a rule: fine, a warning, an alert, or nothing that could be judged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from statistics import median

from telemetry.alerts.metrics import METRICS, Figures, Metric
from telemetry.models.alerts import AlertKind, AlertRule, Operator, Spread

PAST_WEEKS, ENOUGH_WEEKS = 4, 3
# Four equal weeks have no deviation at all: a tenth of a percent more is no anomaly.
LEAST_DEVIATION = Decimal("0.05")
UPWARDS = frozenset({Operator.ABOVE, Operator.AT_LEAST})


class Outcome(Enum):
    OK = "ok"
    WARNING = "warning"
    ALERT = "alert"
    EMPTY = "empty"
    FEW = "few"
    NO_HISTORY = "no_history"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Beyond them it is a warning, an alert; `said` tells where they come from."""

    warning: Decimal | None
    alert: Decimal | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    outcome: Outcome
    value: Decimal | None
    calls: int
    said: str
    bounds: Bounds | None = None


def judge(rule: AlertRule, figures: Figures, past: Sequence[Figures] = ()) -> Finding:
    """`past`: for an anomaly, the same window of each past week, the last week first."""
    metric = METRICS[rule.metric]
    value = metric.value(figures)
    if value is None or (not figures.calls and not _counts_from_zero(rule, metric)):
        return Finding(Outcome.EMPTY, None, figures.calls, "no calls to judge by")
    if figures.calls < rule.minimum_calls:
        words = f"{figures.calls} calls, fewer than the {rule.minimum_calls} that are judged"
        return Finding(Outcome.FEW, value, figures.calls, words)
    bounds = Bounds(rule.warning, rule.alert)
    if rule.kind == AlertKind.ANOMALY:
        history = _history(metric, past)
        if len(history) < ENOUGH_WEEKS:
            words = (
                f"{metric.say(value)}, and only {len(history)} past weeks to compare with: {ENOUGH_WEEKS} are needed"
            )
            return Finding(Outcome.NO_HISTORY, value, figures.calls, words)
        bounds = _anomaly_bounds(rule, metric, history)
    for outcome, bound in ((Outcome.ALERT, bounds.alert), (Outcome.WARNING, bounds.warning)):
        if bound is not None and _beyond(rule.operator, value, bound):
            return Finding(outcome, value, figures.calls, _words(rule, value, outcome, bounds), bounds)
    return Finding(Outcome.OK, value, figures.calls, _words(rule, value, Outcome.OK, bounds), bounds)


def _counts_from_zero(rule: AlertRule, metric: Metric) -> bool:
    """No calls at all is what a rule against too few calls is there for; to others it says nothing."""
    return metric.adds_up and rule.operator not in UPWARDS and not rule.minimum_calls


def _history(metric: Metric, past: Sequence[Figures]) -> list[Decimal]:
    """The past weeks' values. A week without calls counts as 0 only if there were calls in an older one."""
    oldest = max((place for place, week in enumerate(past) if week.calls), default=-1)
    values = [metric.value(week) for week in past[: oldest + 1]]
    return [value for value in values if value is not None]


def _anomaly_bounds(rule: AlertRule, metric: Metric, history: Sequence[Decimal]) -> Bounds:
    middle = median(history)
    deviation = max(median(abs(value - middle) for value in history), LEAST_DEVIATION * abs(middle))
    upwards, floor = rule.operator in UPWARDS, rule.minimum_value or Decimal(0)

    def bound(factor: Decimal | None) -> Decimal | None:
        if factor is None or (not upwards and middle < floor):
            return None  # what is small at its best is not missed
        if rule.spread == Spread.TIMES:
            found = middle * factor if upwards else middle / factor
        else:
            found = middle + factor * deviation if upwards else middle - factor * deviation
        return max(found, floor) if upwards else found

    weeks = ", ".join(metric.say(value) for value in history)
    return Bounds(bound(rule.warning), bound(rule.alert), f"past weeks {weeks}; median {metric.say(middle)}")


def _beyond(operator: str, value: Decimal, bound: Decimal) -> bool:
    match operator:
        case Operator.ABOVE:
            return value > bound
        case Operator.AT_LEAST:
            return value >= bound
        case Operator.BELOW:
            return value < bound
        case _:
            return value <= bound


def _words(rule: AlertRule, value: Decimal, outcome: Outcome, bounds: Bounds) -> str:
    """`$12.40, alert above $10.00`."""
    metric, side = METRICS[rule.metric], Operator(rule.operator).label
    if outcome is Outcome.WARNING or bounds.alert is None:
        level, bound = "warning", bounds.warning
    else:
        level, bound = "alert", bounds.alert
    limit = f", {level} {side} {metric.say(bound)}" if bound is not None else ""
    return f"{metric.say(value)}{limit}" + (f" ({bounds.said})" if bounds.said else "")
