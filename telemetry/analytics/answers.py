"""Asking ClickHouse: SQL put together from the files and the fixed tables alone, values bound by the server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from telemetry.analytics.dimensions import DIMENSIONS
from telemetry.analytics.question import Question, interval_starts, zone
from telemetry.analytics.sources import CALLS, PERCENTILES, Piece, pieces, sums_of, whole_hours
from telemetry.client import pool
from telemetry.select import LIMITS, SUM_NAMES, Sums, file

LATENCY_ROWS = 20_000
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """`at`: the interval's beginning, None without intervals. `values`: one for each dimension, "" is "none".

    `is_other`: everything beyond the question's limit; its values are "".
    """

    at: datetime | None
    values: tuple[str, ...]
    sums: Sums
    is_other: bool = False


@dataclass(frozen=True, slots=True)
class LatencyGroup:
    """Of `calls` that ended well. First-token times are None where no call was streamed."""

    at: datetime | None
    values: tuple[str, ...]
    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    ttft_p99_ms: float | None


def usage(question: Question) -> list[UsageGroup]:
    """By time, then the greatest first. Intervals without calls are left out (`interval_starts` has them all).

    A call counts once for each of its tags, so groups by tag add up to more than there is. Raises TelemetryUnavailable.
    """
    asking = _Asking(question)
    told = asking.leaders()
    found: dict[Key, list[Any]] = {}
    for piece in pieces(question, asking.starts):
        for row in asking.select(asking.piece(piece, told, sums_of(piece.source)), piece):
            key, sums = tuple(row[:4]), row[4:]
            found[key] = [a + b for a, b in zip(found[key], sums, strict=True)] if key in found else list(sums)
    groups = [
        UsageGroup(asking.at(at), asking.values((v1, v2)), Sums(**dict(zip(SUM_NAMES, sums, strict=True))), not kept)
        for (at, kept, v1, v2), sums in found.items()
        if sums[0]  # a correction alone, or nothing at all
    ]
    ends = datetime.min.replace(tzinfo=UTC)
    return sorted(groups, key=lambda g: (g.at or ends, g.is_other, -getattr(g.sums, question.order_by), g.values))


def latency(question: Question) -> list[LatencyGroup]:
    """By time, then the most called first; beyond the limit, values are left out. Raises TelemetryUnavailable."""
    asking = _Asking(question)
    told = asking.leaders("sum(t.calls) - sum(t.errors)")
    parts = pieces(question, asking.starts, times=True)
    union = "\nUNION ALL\n".join(
        f"SELECT * FROM\n(\n{asking.piece(part, '1', part.source.times, told)}\n)" for part in parts
    )
    sql = _fill("latency", {"{percentiles}": PERCENTILES, "{pieces}": union})
    return [
        LatencyGroup(asking.at(row[0]), asking.values(row[1:3]), row[3], *row[4], *(_or_none(v) for v in row[5]))
        for row in asking.select(sql, *parts, rows=LATENCY_ROWS)
    ]


class _Asking:
    """One question's way into SQL and back."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.starts = interval_starts(question)
        self._zone = zone(question.time_zone)
        self._params: dict[str, Any] = {f"f_{name}": values for name, values in question.values.items()}
        if question.organization_id is not None:
            self._params["org"] = question.organization_id
        if question.interval:
            self._params["starts"] = [int(at.timestamp()) for at in self.starts]

    def leaders(self, weight: str = "") -> str:
        """A condition, as SQL: the values are among the first `limit`, as the full hours around the time rank them."""
        question = self._question
        if not question.dimensions:
            return "1"
        hours = whole_hours(question)
        if weight and hours.source is CALLS:
            weight = "countIf(t.is_error = 0)"
        figure = f"{weight or hours.source.sum_of(question.order_by)} AS weight"
        sql = _fill("leaders", {"{piece}": self.piece(hours, "1", figure, at="0")})
        found = self.select(sql, hours, limit=question.limit)
        if len(found) < question.limit:
            return "1"
        self._params |= {"leading_1": [row[0] for row in found], "leading_2": [row[1] for row in found]}
        if len(question.dimensions) == 1:
            return "d1 IN {leading_1:Array(String)}"
        return "(d1, d2) IN arrayZip({leading_1:Array(String)}, {leading_2:Array(String)})"

    def piece(self, piece: Piece, told: str, figures: str, only: str = "1", at: str = "") -> str:
        question, source = self._question, piece.source
        values = [DIMENSIONS[name].value for name in question.dimensions] + ["''", "''"]
        filters = [f"AND {DIMENSIONS[name].condition(f'f_{name}')}" for name in question.filters]
        spans = [f"({source.within(*names)})" for names, _ in _named(piece)]
        steps = f"roundDown(toUnixTimestamp({source.at}), {{starts:Array(UInt32)}})" if question.interval else "0"
        constants = {
            "{at}": at or steps,
            "{told}": told,
            "{figures}": figures,
            "{first}": values[0],
            "{second}": values[1],
            "{table}": source.table,
            "{scope}": "1" if question.organization_id is None else "t.organization_id = {org:String}",
            "{spans}": " OR ".join(spans),
            "{filters}": " ".join([*filters, f"AND {only}" if only != "1" else ""]),
        }
        return _fill("piece", constants)

    def select(self, sql: str, *parts: Piece, **params: Any) -> Sequence[Sequence[Any]]:
        for part in parts:
            for names, span in _named(part):
                params |= dict(zip(names, span, strict=True))
        return pool().select(sql, self._params | params, LIMITS)

    def at(self, seconds: int) -> datetime | None:
        return datetime.fromtimestamp(seconds, UTC).astimezone(self._zone) if self._question.interval else None

    def values(self, found: Sequence[str]) -> tuple[str, ...]:
        return tuple(found[: len(self._question.dimensions)])


def _named(piece: Piece) -> list[tuple[tuple[str, str], tuple[int, int]]]:
    """Each span with the names of its two parameters."""
    table = piece.source.table
    return [((f"{table}_from_{n}", f"{table}_to_{n}"), span) for n, span in enumerate(piece.spans)]


def _fill(name: str, constants: dict[str, str]) -> str:
    text = file(f"analytics_{name}")
    for constant, value in constants.items():
        text = text.replace(constant, value)
    return text


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
