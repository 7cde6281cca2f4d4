"""Which tables answer a question: the coarsest sums in the middle of its time, finer ones and the rows at its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemetry.analytics.dimensions import DIMENSIONS
from telemetry.analytics.question import Question, interval_starts
from telemetry.select import SUM_NAMES
from telemetry.trace import epoch_ms

COARSE = frozenset({"organization", "model", "provider", "call_type", "is_byok"})
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
ROW_SUMS = {
    "calls": "count()",
    "errors": "sum(t.is_error)",
    "estimated_calls": "sum(t.usage_estimated)",
    "unpriced_calls": "countIf(isNull(t.cost_usd))",
    "latency_ms_sum": "sum(t.latency_ms)",
    "ttft_ms_sum": "sum(ifNull(t.ttft_ms, 0))",
    "ttft_calls": "count(t.ttft_ms)",
}


@dataclass(frozen=True, slots=True)
class Source:
    """`period_ms`: the time that one of its rows stands for. `at`: a row's time, as SQL, of a table called t."""

    table: str
    period_ms: int
    column: str
    at: str
    dimensions: frozenset[str]

    @property
    def is_rows(self) -> bool:
        return self.period_ms == 1

    def sum_of(self, name: str) -> str:
        """As SQL."""
        if not self.is_rows:
            return f"sum(t.{name})"
        return ROW_SUMS.get(name, f"sum(ifNull(t.{name}, 0))")

    def bound(self, parameter: str) -> str:
        """A moment of its time column, as SQL; the parameter is in milliseconds."""
        moment = f"fromUnixTimestamp64Milli({{{parameter}:Int64}}, 'UTC')"
        return f"toDate({moment}, 'UTC')" if self.column == "day" else moment


DAILY = Source("llm_usage_daily", DAY_MS, "day", "toDateTime(t.day, 'UTC')", COARSE)
HOURLY = Source("llm_usage_hourly", HOUR_MS, "hour", "t.hour", COARSE)
ROWS = Source("llm_traces", 1, "created_at", "t.created_at", frozenset(DIMENSIONS))
SOURCES = (DAILY, HOURLY, ROWS)


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of time, in milliseconds, that one table answers."""

    source: Source
    start: int
    end: int


def pieces(question: Question, starts: Sequence[datetime] | None = None) -> list[Piece]:
    """Together they cover the question's time, each moment once."""
    asked = {*question.dimensions, *question.filters}
    begins = [epoch_ms(at) for at in (interval_starts(question) if starts is None else starts)]
    able = [
        source
        for source in SOURCES
        if asked <= source.dimensions and all(begin % source.period_ms == 0 for begin in begins)
    ]
    return _cover(epoch_ms(question.start), epoch_ms(question.end), able)


def _cover(start: int, end: int, sources: Sequence[Source]) -> list[Piece]:
    if start >= end:
        return []
    source, *finer = sources
    low, high = -(-start // source.period_ms) * source.period_ms, end // source.period_ms * source.period_ms
    if low >= high:
        return _cover(start, end, finer)
    return [*_cover(start, low, finer), Piece(source, low, high), *_cover(high, end, finer)]


def sums_of(source: Source) -> str:
    return ", ".join(f"{source.sum_of(name)} AS {name}" for name in SUM_NAMES)
