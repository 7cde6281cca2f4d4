"""Asking ClickHouse: SQL put together from the files and the fixed tables alone, values bound by the server."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from telemetry.analytics.dimensions import DIMENSIONS
from telemetry.analytics.question import Question, interval_starts, zone
from telemetry.analytics.sources import Piece, around, pieces, sums_of
from telemetry.client import pool
from telemetry.select import LIMITS, SUM_NAMES, Sums, filled, scope

LATENCY_ROWS = 20_000
FEW = 40
# Percentiles are of every call up to so many, which takes a quarter less work than a sample: their times are in memory,
# 8 bytes a call and as much again while they are put in order. Beyond, of 8,192 in each group.
EVERY_CALL = 20_000_000
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
    if question.dimensions:
        asking.find_leaders()
    found: dict[Key, list[Any]] = {}
    for piece in pieces(question, asking.starts):
        sql = asking.piece(piece, sums_of(piece.source), told=asking.told())
        for row in asking.select(sql, piece):
            key, sums = asking.key(row), row[4:]
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
    ended = asking.find_leaders(ended=True)
    only = asking.told(exactly=True)
    parts = pieces(question, asking.starts, times=True)
    rows = "\nUNION ALL\n".join(asking.piece(part, part.source.times, only=only, kind="times") for part in parts)
    kind = "quantilesExactArray" if ended <= EVERY_CALL else "quantilesArray"
    sql = filled("analytics_latency", quantiles=f"{kind}(0.5, 0.95, 0.99)", pieces=rows)
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
        self._leaders: set[tuple[str, str]] = set()
        self._params: dict[str, Any] = {f"f_{name}": values for name, values in question.values.items()}
        if question.organization_id is not None:
            self._params["org"] = question.organization_id
        if question.interval:
            self._params["starts"] = [int(at.timestamp()) for at in self.starts]

    def find_leaders(self, *, ended: bool = False) -> int:
        """Which values are the first `limit`, by the time around the question's: by what it orders by, or by calls that
        ended well. Then: how many calls of these values did."""
        question = self._question
        piece = around(question)
        weight = f"sum({piece.source.times['ended']})" if ended else piece.source.sum_of(question.order_by)
        sql = filled("analytics_leaders", piece=self.piece(piece, {"weight": weight}, kind="ranks"))
        found = self.select(sql, piece, limit=question.limit)
        if question.dimensions and len(found) == question.limit:
            self._leaders = {(row[0], row[1]) for row in found}
            self._params |= {f"leading_{n + 1}": sorted({pair[n] for pair in self._leaders}) for n in (0, 1)}
            self._params |= {f"pair_{n + 1}": [row[n] for row in found] for n in (0, 1)}
        return sum(int(row[2]) for row in found) if ended else 0

    def told(self, *, exactly: bool = False) -> str:
        """A condition, as SQL: values to tell apart. Of few pairs, whether each value is one of theirs: that is asked
        faster, and `key` looks again."""
        if not self._leaders:
            return "1"
        first = "d1 IN {leading_1:Array(String)}"
        if len(self._question.dimensions) == 1:
            return first
        either = f"{first} AND d2 IN {{leading_2:Array(String)}}"
        if len(self._leaders) <= FEW and not exactly:
            return either
        return f"{either} AND (d1, d2) IN arrayZip({{pair_1:Array(String)}}, {{pair_2:Array(String)}})"

    def key(self, row: Sequence[Any]) -> Key:
        """Interval, whether its values are told apart, values."""
        at, told, *pair = row[:4]
        if told and self._leaders and tuple(pair) not in self._leaders:
            return (at, 0, "", "")
        return (at, told, *pair)

    def piece(
        self,
        piece: Piece,
        figures: Mapping[str, str],
        *,
        told: str = "1",
        only: str = "1",
        kind: Literal["sums", "ranks", "times"] = "sums",
    ) -> str:
        question, source = self._question, piece.source
        values = [DIMENSIONS[name].value for name in question.dimensions] + ["''", "''"]
        filters = [f"AND {DIMENSIONS[name].condition(f'f_{name}')}" for name in question.filters]
        spans = [f"({source.within(*names)})" for names, _ in _named(piece)]
        steps = f"roundDown(toUnixTimestamp({source.at}), {{starts:Array(UInt32)}})" if question.interval else "0"
        tagged = source.has_tag_sets and "tag" in question.dimensions and kind != "times"
        constants = {
            "at": "0" if kind == "ranks" else steps,
            "told": told,
            "figures": ", ".join(f"{sql} AS {name}" for name, sql in figures.items()),
            "sums": ", ".join(f"sum(t.{name}) AS {name}" for name in figures),
            "first": values[0],
            "second": values[1],
            "table": source.table,
            "scope": scope(question.organization_id is None, "t"),
            "spans": " OR ".join(spans),
            "filters": " ".join([*filters, f"AND {only}" if only != "1" else ""]),
        }
        if not tagged:
            return filled("analytics_times" if kind == "times" else "analytics_sums", **constants)
        place = question.dimensions.index("tag")
        tag, other = "arrayJoin(splitByChar('\\0', t.tags))", "t.other"
        return filled(
            "analytics_tagged_sums",
            d1=other if place else tag,
            d2=tag if place else other,
            other=values[1 - place],
            other_told=f"d IN {{leading_{2 - place}:Array(String)}}" if told != "1" else "1",
            **constants,
        )

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


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
