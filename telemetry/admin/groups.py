"""Groups of calls as rows of a table, and crossed by two dimensions as a matrix whose totals add up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from console.charts import OTHER, OTHER_NAME
from telemetry.admin.metrics import Metric
from telemetry.analytics import LatencyGroup
from telemetry.select import SUM_NAMES, Sums

MOST_COLUMNS, MOST_LINES, SHADES = 12, 50, 5


@dataclass(frozen=True, slots=True)
class Group:
    """A row of the table: `values` as they are, `names` as they are read; `latency` where that is the metric."""

    values: tuple[str, ...]
    names: tuple[str, ...]
    sums: Sums
    latency: LatencyGroup | None = None
    is_other: bool = False
    narrower: str = ""
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """`value` None: there was no call. `shade`: 0 to 5, how large it is beside the largest."""

    value: Any
    text: str
    rows: str = ""
    shade: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    cells: tuple[Cell, ...]
    total: Cell


@dataclass(frozen=True, slots=True)
class Matrix:
    """A metric by two dimensions; the small ones beyond what fits are in “other”, so that all adds up."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    totals: tuple[Cell, ...]
    whole: Cell


def no_calls() -> Sums:
    return added([])


def added(parts: Iterable[Sums]) -> Sums:
    total: dict[str, Any] = {name: Decimal(0) if name == "cost_usd" else 0 for name in SUM_NAMES}
    for part in parts:
        for name in SUM_NAMES:
            total[name] += getattr(part, name)
    return Sums(**total)


def figure(metric: Metric, row: Group) -> Any:
    if metric.is_latency:
        return metric.of(row.latency) if row.latency else None
    return metric.of(row.sums)


def crossed(metric: Metric, rows: Sequence[Group]) -> Matrix:
    """Of rows grouped by two dimensions, and a metric of sums."""
    down, across = _first(metric, rows, 0, MOST_LINES), _first(metric, rows, 1, MOST_COLUMNS)
    parts: dict[tuple[str, str], list[Sums]] = defaultdict(list)
    links: dict[tuple[str, str], str] = {}
    for row in rows:
        key = _place(row, 0, down), _place(row, 1, across)
        parts[key].append(row.sums)
        links[key] = row.rows if OTHER not in key else ""
    down, across = _with_other(down, (key[0] for key in parts)), _with_other(across, (key[1] for key in parts))
    sums = {key: added(found) for key, found in parts.items()}
    most = max((float(metric.of(one) or 0) for one in sums.values()), default=0.0)

    def cell(key: tuple[str, str]) -> Cell:
        if key not in sums:
            return Cell(None, "")
        value = metric.of(sums[key])
        shade = min(SHADES, round(SHADES * float(value or 0) / most)) if most else 0
        return Cell(value, metric.say(value), links[key], shade)

    def whole(found: Iterable[Sums]) -> Cell:
        value = metric.of(added(found))
        return Cell(value, metric.say(value))

    def total(place: int, value: str) -> Cell:
        return whole(one for key, one in sums.items() if key[place] == value)

    lines = tuple(Line(name, tuple(cell((one, two)) for two in across), total(0, one)) for one, name in down.items())
    return Matrix(tuple(across.values()), lines, tuple(total(1, two) for two in across), whole(sums.values()))


def _first(metric: Metric, rows: Sequence[Group], place: int, most: int) -> dict[str, str]:
    """The largest values, with their names."""
    parts: dict[str, list[Sums]] = defaultdict(list)
    names: dict[str, str] = {}
    for row in rows:
        if not row.is_other:
            parts[row.values[place]].append(row.sums)
            names[row.values[place]] = row.names[place]
    ordered = sorted(parts, key=lambda value: (-float(metric.of(added(parts[value])) or 0), names[value]))
    return {value: names[value] for value in ordered[:most]}


def _place(row: Group, place: int, kept: dict[str, str]) -> str:
    return row.values[place] if not row.is_other and row.values[place] in kept else OTHER


def _with_other(kept: dict[str, str], used: Iterable[str]) -> dict[str, str]:
    return {**kept, OTHER: OTHER_NAME} if OTHER in set(used) else kept
