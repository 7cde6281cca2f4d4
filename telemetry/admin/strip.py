"""The strip over the traces: calls and how long they took, by steps of time, each a way to the list narrowed to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from console.charts import Chart, Marks, lines, stacked_bars
from console.display import compact, span
from telemetry.admin.wanted import TracesAsked
from telemetry.calls import Step

WELL, FAILED = "went well", "failed"
RED = 8
NARROWEST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Strip:
    calls: int
    errors: int
    calls_chart: Chart
    latency_chart: Chart


def strip(asked: TracesAsked, steps: Sequence[Step]) -> Strip:
    labels = [_label(step, asked) for step in steps]
    narrow = asked.period.length > NARROWEST

    def link(series: str | None, index: int | None) -> str:
        if index is None or not narrow or not steps[index].calls:
            return ""
        changes = {"failed": "on"} if series == FAILED else {}
        address = asked.narrowed(steps[index].start, steps[index].end)
        return f"{address}&failed=on" if changes and not asked.failed else address

    calls = {
        WELL: [Decimal(step.calls - step.errors) for step in steps],
        FAILED: [Decimal(step.errors) for step in steps],
    }
    times = {"median": [step.p50_ms for step in steps], "p95": [step.p95_ms for step in steps]}
    return Strip(
        sum(step.calls for step in steps),
        sum(step.errors for step in steps),
        stacked_bars("Calls", labels, calls, compact, Marks(link=link, colours={WELL: 0, FAILED: RED})),
        lines("Latency", labels, times, span, Marks(link=link)),
    )


def _label(step: Step, asked: TracesAsked) -> str:
    day = f"{step.start:%b} {step.start.day}"
    if asked.period.length > timedelta(days=60):
        return day
    seconds = step.end - step.start < timedelta(minutes=1)
    return f"{day} {step.start:%H:%M:%S}" if seconds else f"{day} {step.start:%H:%M}"
