"""Which tables answer a question: the coarsest sums in the middle of its time, finer ones and calls at its edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.time import now
from telemetry.analytics.dimensions import DIMENSIONS
from telemetry.analytics.question import Question, interval_starts
from telemetry.select import SUM_NAMES
from telemetry.trace import epoch_ms

COARSE = frozenset({"organization", "model", "provider", "call_type", "is_byok"})
ROWS_ALONE = frozenset({"finish_reason", "plan", "customer", "conversation"})
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
JUST_NOW = timedelta(minutes=1)


# How a call's own columns say the sums; every other one is the column of that name, 0 where it is NULL.
OF_CALLS = {
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
    """`period_ms`: the time that one of its rows stands for. `at`: a row's time, as SQL, of a table called t.

    `latencies`, `first_tokens`: lists, as SQL, of calls that ended well; "" where the table has none.
    """

    table: str
    period_ms: int
    column: str
    at: str
    dimensions: frozenset[str]
    latencies: str = ""
    first_tokens: str = ""
    has_tag_sets: bool = False

    def sum_of(self, name: str) -> str:
        """As SQL."""
        if self is CALLS:
            return OF_CALLS.get(name, f"sum(ifNull(t.{name}, 0))")
        return f"sum(t.{name})"

    @property
    def times(self) -> dict[str, str]:
        """Of a row: how many of its calls ended well, and how long they took, as SQL."""
        ended = "toInt64(t.is_error = 0)" if self is CALLS else "t.calls - t.errors"
        return {"ended": ended, "latencies": self.latencies, "first_tokens": self.first_tokens}

    def within(self, first: str, last: str) -> str:
        """In a span of time, as SQL; the names are of parameters in milliseconds."""
        return f"t.{self.column} >= {self._moment(first)} AND t.{self.column} < {self._moment(last)}"

    def _moment(self, parameter: str) -> str:
        moment = f"fromUnixTimestamp64Milli({{{parameter}:Int64}}, 'UTC')"
        return f"toDate({moment}, 'UTC')" if self.column == "day" else moment


DAILY = Source("llm_usage_daily", DAY_MS, "day", "toDateTime(t.day, 'UTC')", COARSE)
HOURLY = Source("llm_usage_hourly", HOUR_MS, "hour", "t.hour", COARSE)
DETAIL = Source(
    "llm_usage_detail",
    HOUR_MS,
    "hour",
    "t.hour",
    frozenset(DIMENSIONS) - ROWS_ALONE,
    "t.latencies",
    "t.first_tokens",
    has_tag_sets=True,
)
CALLS = Source(
    "llm_traces",
    1,
    "created_at",
    "t.created_at",
    frozenset(DIMENSIONS),
    "if(t.is_error = 0, [t.latency_ms], emptyArrayUInt32())",
    "if(t.is_error = 0 AND isNotNull(t.ttft_ms), [assumeNotNull(t.ttft_ms)], emptyArrayUInt32())",
)
# What calls cost since they were priced anew: asked beside the calls, added to them.
CORRECTIONS = Source("llm_corrections", 1, "created_at", "t.created_at", frozenset(DIMENSIONS))
SOURCES = (DAILY, HOURLY, DETAIL, CALLS)


@dataclass(frozen=True, slots=True)
class Piece:
    """What one table answers: spans of time, in milliseconds, ends not included."""

    source: Source
    spans: tuple[tuple[int, int], ...]


def pieces(question: Question, starts: Sequence[datetime] | None = None, *, times: bool = False) -> list[Piece]:
    """Together they cover the question's time, each moment once. `times`: by tables that have times."""
    begins = [epoch_ms(at) for at in (interval_starts(question) if starts is None else starts)]
    able = [
        source
        for source in _able(question)
        if (source.latencies or not times) and all(begin % source.period_ms == 0 for begin in begins)
    ]
    found: dict[str, Piece] = {}
    for source, *span in _cover(epoch_ms(question.start), _end(question), able):
        spans = found[source.table].spans if source.table in found else ()
        found[source.table] = Piece(source, (*spans, (span[0], span[1])))
    if CALLS.table in found and not times:
        found[CORRECTIONS.table] = Piece(CORRECTIONS, found[CALLS.table].spans)
    return list(found.values())


def _end(question: Question) -> int:
    """What ends now has no calls behind its end: the whole hour is as good, and is asked of one table less."""
    end = epoch_ms(question.end)
    return -(-end // HOUR_MS) * HOUR_MS if question.end > now() - JUST_NOW else end


def around(question: Question) -> Piece:
    """The question's time up to the full hours around it, from one table, or to full days where it is a month or more;
    the time itself, where only calls answer."""
    start, end = epoch_ms(question.start), epoch_ms(question.end)
    source = next(source for source in _able(question) if source.period_ms < DAY_MS or end - start >= 30 * DAY_MS)
    period = source.period_ms
    return Piece(source, ((start // period * period, -(-end // period) * period),))


def _able(question: Question) -> list[Source]:
    asked = {*question.dimensions, *question.filters}
    return [source for source in SOURCES if asked <= source.dimensions]


def _cover(start: int, end: int, sources: Sequence[Source]) -> list[tuple[Source, int, int]]:
    if start >= end:
        return []
    source, *finer = sources
    low, high = -(-start // source.period_ms) * source.period_ms, end // source.period_ms * source.period_ms
    if low >= high:
        return _cover(start, end, finer)
    return [*_cover(start, low, finer), (source, low, high), *_cover(high, end, finer)]


def sums_of(source: Source) -> dict[str, str]:
    """Each sum as SQL."""
    return {name: source.sum_of(name) for name in SUM_NAMES}
