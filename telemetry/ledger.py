"""Calls, corrections and sums, as audits and re-pricing read them: a page at a time, in bounded memory.

Everything raises TelemetryUnavailable when ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson

from telemetry.client import pool
from telemetry.queries import TraceRow
from telemetry.select import LIMITS, SUM_NAMES, filled, scope, select
from telemetry.settle import COARSE, FINE
from telemetry.trace import epoch_ms

PAGE = 1_000
FIGURES = (*SUM_NAMES, "request_bytes", "response_bytes", "id_checksum")
# In sums, whose traces were deleted: the amounts stay.
ERASED = "(erased)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Calls of one organization, [start, end). `model` "" is any."""

    organization_id: str
    start: datetime
    end: datetime
    model: str = ""
    only_unpriced: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the next one begins behind it."""

    at_ms: int = 0
    id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is kept of an answer, as far as tokens and terms go. `said` has its usage object and its service tier."""

    said: dict[str, Any]
    dialect: str


@dataclass(frozen=True, slots=True)
class Sums:
    """A table of sums, with a view `…_recount` beside it. `keys`: its columns that are no sums. `of_day`: SQL, of t."""

    table: str
    keys: tuple[str, ...]
    of_day: str


DAILY = Sums("llm_usage_daily", ("organization_id", "day", *COARSE), "t.day = {day:Date}")
HOURLY = Sums("llm_usage_hourly", ("organization_id", "hour", *COARSE), "toDate(t.hour, 'UTC') = {day:Date}")
DETAIL = Sums("llm_usage_detail", ("organization_id", "hour", *FINE), HOURLY.of_day)
# The finest first: what is added to one is passed on to the next.
SUMS = (DETAIL, HOURLY, DAILY)


@dataclass(frozen=True, slots=True)
class Difference:
    """`figures`: what calls and corrections say less what the sums say, where it is not 0. `key`: of `sums.keys`."""

    sums: Sums
    key: tuple[Any, ...]
    figures: dict[str, int | Decimal]

    @property
    def is_correction(self) -> bool:
        """Every call is in the sums once, but a correction is not, or is twice."""
        return "id_checksum" not in self.figures

    @property
    def is_erased(self) -> bool:
        """Sums of calls that were deleted, under the name of nobody."""
        return ERASED in self.key


def day_of(organization_id: str, day: date) -> Span:
    start = datetime.combine(day, time(), UTC)
    return Span(organization_id=organization_id, start=start, end=start + timedelta(days=1))


def page_of(span: Span, after: Place) -> list[TraceRow]:
    """As they were written, corrections left out."""
    rows = select(
        "ledger_page",
        span.organization_id,
        start=epoch_ms(span.start),
        end=epoch_ms(span.end),
        after_at=after.at_ms,
        after_id=after.id,
        model=span.model,
        unpriced=int(span.only_unpriced),
        limit=PAGE,
    )
    return [TraceRow(*row) for row in rows]


def pages(span: Span, after: Place | None = None) -> Iterator[list[TraceRow]]:
    place = after or Place()
    while rows := page_of(span, place):
        yield rows
        place = place_of(rows[-1])


def place_of(row: TraceRow) -> Place:
    return Place(epoch_ms(row.created_at), row.id)


def answers_of(rows: Sequence[TraceRow]) -> dict[str, Answer]:
    """By call; those are left out of which nothing is kept. The rows are of one organization."""
    if not rows:
        return {}
    times = [epoch_ms(row.created_at) for row in rows]
    found = select(
        "ledger_answers",
        rows[0].organization_id,
        start=min(times),
        end=max(times),
        ids=[row.id for row in rows],
    )
    return {call_id: _answer(parts, dialect) for call_id, kept, *parts, dialect in found if kept}


def _answer(parts: Sequence[str], dialect: str) -> Answer:
    said = {}
    for name, raw in zip(("usage", "usageMetadata", "service_tier"), parts, strict=True):
        if raw:
            said[name] = orjson.loads(raw)
    return Answer(said, dialect)


def times_there(organization_id: str, start: datetime, end: datetime, ids: Sequence[str]) -> dict[str, int]:
    """How often each of the calls is there; those that are not are left out."""
    found: Any = select("ledger_places", organization_id, start=epoch_ms(start), end=epoch_ms(end), ids=list(ids))
    return dict(found)


def organizations_of(day: date) -> list[str]:
    """Those with calls on that day."""
    return [organization_id for (organization_id,) in select("ledger_organizations", None, day=day)]


def differences(organization_id: str, day: date, tables: Sequence[Sums] = SUMS) -> list[Difference]:
    """Between what calls and corrections say of a day, and the sums."""
    found = []
    for sums in tables:
        constants = {"table": sums.table, "period": sums.of_day, "keys": ", ".join(sums.keys)}
        text = filled("ledger_differences", scope=scope(False, "t"), **constants)
        for row in pool().select(text, {"org": organization_id, "day": day}, LIMITS):
            keys = len(sums.keys)
            figures = {name: value for name, value in zip(FIGURES, row[keys:], strict=True) if value}
            found.append(Difference(sums, tuple(row[:keys]), figures))
    return found


def corrected(span: Span, repricing_id: str) -> Sequence[Sequence[Any]]:
    """What a re-pricing changed, the most first: provider, model, calls, old and new cost, newly priced calls."""
    start, end = epoch_ms(span.start), epoch_ms(span.end)
    return select("ledger_corrected", span.organization_id, start=start, end=end, repricing=repricing_id)
