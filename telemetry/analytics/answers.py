"""Asking ClickHouse: SQL put together from the files and the fixed tables alone, values bound by the server."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from telemetry.analytics.dimensions import DIMENSIONS
from telemetry.analytics.question import Question, interval_starts, zone
from telemetry.analytics.sources import ROWS, Piece, pieces, sums_of
from telemetry.client import pool
from telemetry.select import LIMITS, SUM_NAMES, Sums, file, sums
from telemetry.trace import epoch_ms

LATENCY = (
    "count() AS calls, quantiles(0.5, 0.95, 0.99)(t.latency_ms) AS latency, "
    "quantiles(0.5, 0.95, 0.99)(t.ttft_ms) AS ttft"
)
LATENCY_ROWS = 20_000


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
    sql = asking.fill(
        "usage",
        {
            "{pieces}": asking.union(asking.leaders() if question.interval else "1", sums_of),
            "{place}": "0" if question.interval else f"row_number() OVER (ORDER BY {question.order_by} DESC, v1, v2)",
            "{part_sums}": ", ".join(f"sum(p.{name}) AS {name}" for name in SUM_NAMES),
            "{sums}": ", ".join(f"sum(g.{name}) AS {name}" for name in SUM_NAMES),
            "{order}": question.order_by,
        },
    )
    rows = asking.select(sql, limit=question.limit)
    return [
        UsageGroup(asking.at(row), asking.values(row[2:4]), Sums(**sums(row)), is_other=not row[1])
        for row in rows
        if row[len(row) - len(SUM_NAMES)]  # without dimensions there is a row of zeros where there is nothing
    ]


def latency(question: Question) -> list[LatencyGroup]:
    """By time, then the most called first; beyond the limit, values are left out. Raises TelemetryUnavailable."""
    asking = _Asking(question, rows_only=True)
    told = asking.leaders(weight="calls")
    sql = asking.fill("latency", {"{pieces}": asking.union(told, lambda source: LATENCY, "AND t.is_error = 0")})
    rows = asking.select(sql, limit=question.limit, rows=LATENCY_ROWS)
    return [
        LatencyGroup(asking.at(row), asking.values(row[1:3]), row[3], *row[4], *(_or_none(v) for v in row[5]))
        for row in rows
        if row[3]
    ]


class _Asking:
    """One question's way into SQL and back."""

    def __init__(self, question: Question, *, rows_only: bool = False) -> None:
        self._question = question
        self._starts = interval_starts(question)
        whole = Piece(ROWS, epoch_ms(question.start), epoch_ms(question.end))
        self._pieces = [whole] if rows_only else pieces(question, self._starts)
        self._zone = zone(question.time_zone)

    def leaders(self, weight: str = "") -> str:
        """A condition: this value is among the first `limit`."""
        if not self._question.dimensions:
            return "1"
        name = weight or self._question.order_by
        weighed = self.union("1", lambda source: f"{source.sum_of(name)} AS weight", at="0")
        return self.fill("leaders", {"{pieces}": weighed})

    def union(self, told: str, figures: Any, further: str = "", at: str = "") -> str:
        return "\nUNION ALL\n".join(
            self._piece(number, piece, {"{told}": told, "{figures}": figures(piece.source), "{at}": at}, further)
            for number, piece in enumerate(self._pieces)
        )

    def fill(self, name: str, constants: dict[str, str]) -> str:
        text = file(f"analytics_{name}")
        for constant, value in constants.items():
            text = text.replace(constant, value)
        return text

    def select(self, sql: str, **params: Any) -> Sequence[Sequence[Any]]:
        question = self._question
        if question.organization_id is not None:
            params["org"] = question.organization_id
        if question.interval:
            params["starts"] = [int(at.timestamp()) for at in self._starts]
        params |= {f"f_{name}": values for name, values in question.values.items()}
        for number, piece in enumerate(self._pieces):
            params |= {f"from_{number}": piece.start, f"to_{number}": piece.end}
        return pool().select(sql, params, LIMITS)

    def at(self, row: Sequence[Any]) -> datetime | None:
        return datetime.fromtimestamp(row[0], UTC).astimezone(self._zone) if self._question.interval else None

    def values(self, found: Sequence[str]) -> tuple[str, ...]:
        return tuple(found[: len(self._question.dimensions)])

    def _piece(self, number: int, piece: Piece, constants: dict[str, str], further: str) -> str:
        question, source = self._question, piece.source
        values = [DIMENSIONS[name].value for name in question.dimensions] + ["''", "''"]
        filters = [f"AND {DIMENSIONS[name].condition(f'f_{name}')}" for name in question.filters]
        at = constants["{at}"] or "0"
        if question.interval and not constants["{at}"]:
            at = f"roundDown(toUnixTimestamp({source.at}), {{starts:Array(UInt32)}})"
        return self.fill(
            "piece",
            constants
            | {
                "{at}": at,
                "{first}": values[0],
                "{second}": values[1],
                "{table}": source.table,
                "{column}": source.column,
                "{scope}": "1" if question.organization_id is None else "t.organization_id = {org:String}",
                "{from}": source.bound(f"from_{number}"),
                "{to}": source.bound(f"to_{number}"),
                "{filters}": " ".join([*filters, further]),
            },
        )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
