"""What a rule would have said over its last windows: the same judgement, one window after the other, telling nobody."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from telemetry.alerts import states
from telemetry.alerts.conditions import Finding, judge
from telemetry.alerts.measure import Measured, measure, shape_of
from telemetry.alerts.metrics import NOTHING
from telemetry.models.alerts import AlertKind, AlertRule, State

WINDOWS, FEWER_WINDOWS = 24, 10
MOST_GROUPS = 5
SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Judged:
    """One window of one group. `told`: a message would have gone out."""

    at: datetime
    group: str
    state: State
    finding: Finding
    told: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """`windows`: by time; each has one entry for each of `groups`. `cut`: there was no time for older windows."""

    groups: tuple[str, ...]
    windows: tuple[tuple[Judged, ...], ...]
    cut: bool

    @property
    def messages(self) -> int:
        return sum(judged.told for window in self.windows for judged in window)

    def values(self, group: str) -> list[Decimal | None]:
        return [judged.finding.value for window in self.windows for judged in window if judged.group == group]

    def bounds(self, level: str) -> list[Decimal | None]:
        """Of the first group: those of an anomaly differ from group to group."""
        found = [window[0].finding.bounds for window in self.windows if window]
        return [getattr(bounds, level) if bounds else None for bounds in found]


def preview(rule: AlertRule, at: datetime) -> Preview:
    """The most called groups alone. Raises TelemetryUnavailable."""
    many = rule.kind == AlertKind.ANOMALY or rule.window_minutes > 1_440
    ends = [at - rule.window * n for n in range(FEWER_WINDOWS if many else WINDOWS)]
    measured: list[Measured] = []
    stop = time.monotonic() + SECONDS
    for end in ends:
        if measured and time.monotonic() > stop:
            break
        measured.append(measure(shape_of(rule), end))
    groups = _groups(rule, measured)
    current: dict[str, str] = dict.fromkeys(groups, State.UNKNOWN)
    windows = []
    for end, found in sorted(zip(ends, measured, strict=False), key=lambda pair: pair[0]):
        windows.append(tuple(_judged(rule, end, group, found, current) for group in groups))
    return Preview(groups, tuple(windows), len(measured) < len(ends))


def _groups(rule: AlertRule, measured: Sequence[Measured]) -> tuple[str, ...]:
    if not rule.group_by:
        return ("",)
    calls: Counter[str] = Counter()
    for found in measured:
        calls.update({group: figures.calls for group, figures in found.now.items()})
    return tuple(group for group, _ in calls.most_common(MOST_GROUPS))


def _judged(rule: AlertRule, at: datetime, group: str, found: Measured, current: dict[str, str]) -> Judged:
    finding = judge(rule, found.now.get(group, NOTHING), found.history(group))
    after = states.follow(current[group], finding, rule.no_data)
    told = states.is_told(current[group], after, tell_recovery=rule.tell_recovery)
    current[group] = after
    return Judged(at, group, after, finding, told)
