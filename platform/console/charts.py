"""Charts as server-rendered SVG: no script, crisp at every size, coloured by the theme, and told again as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from console.display import usd

COLOURS = 8
HEIGHT = 100.0
STEP = 10.0
BAR = 7.6


@dataclass(frozen=True, slots=True)
class Bar:
    x: str
    y: str
    height: str
    colour: int
    title: str


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the legend, and of the table twin."""

    name: str
    colour: int
    total: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """`width` and the bars are in the units of an SVG that is stretched to its box; labels stand outside of it."""

    title: str
    labels: tuple[str, ...]
    ticks: tuple[str, ...]
    bars: tuple[Bar, ...]
    keys: tuple[Key, ...]
    totals: tuple[str, ...]
    width: str
    bar_width: str

    @property
    def empty(self) -> bool:
        return not self.bars

    @property
    def edge_labels(self) -> tuple[str, ...]:
        """First, middle and last: more do not fit on a phone."""
        if len(self.labels) < 3:
            return self.labels
        return (self.labels[0], self.labels[len(self.labels) // 2], self.labels[-1])


def stacked_bars(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[Decimal]],
    say: Callable[[Any], str] = usd,
) -> Chart:
    """One bar a label, one part a series; the smallest series beyond the colours there are become “other”."""
    kept = _largest(series, len(labels))
    sums = [sum((values[i] for values in kept.values()), Decimal(0)) for i in range(len(labels))]
    top = nice_ceiling(max(sums, default=Decimal(0)))
    bars: list[Bar] = []
    for i, label in enumerate(labels):
        filled = 0.0
        for colour, (name, values) in enumerate(kept.items()):
            height = float(values[i] / top) * HEIGHT if top else 0.0
            if height <= 0:
                continue
            filled += height
            text = f"{label} · {name}: {say(values[i])} (of {say(sums[i])})"
            bars.append(_bar(i, HEIGHT - filled, height, colour, text))
    keys = tuple(
        Key(name, colour, say(sum(values, Decimal(0))), tuple(say(value) for value in values))
        for colour, (name, values) in enumerate(kept.items())
    )
    ticks = (say(top), say(top / 2), say(Decimal(0)))
    width = f"{len(labels) * STEP:g}"
    return Chart(title, tuple(labels), ticks, tuple(bars), keys, tuple(say(s) for s in sums), width, f"{BAR:g}")


def _bar(index: int, y: float, height: float, colour: int, title: str) -> Bar:
    return Bar(f"{index * STEP + (STEP - BAR) / 2:g}", f"{y:.3f}", f"{height:.3f}", colour, title)


def _largest(series: Mapping[str, Sequence[Decimal]], length: int) -> dict[str, Sequence[Decimal]]:
    filled = [(name, values) for name, values in series.items() if any(values)]
    ordered = sorted(filled, key=lambda item: (-sum(item[1], Decimal(0)), item[0]))
    if len(ordered) <= COLOURS:
        return dict(ordered)
    rest = [values for _, values in ordered[COLOURS - 1 :]]
    other = [sum((values[i] for values in rest), Decimal(0)) for i in range(length)]
    return {**dict(ordered[: COLOURS - 1]), "other": other}


def nice_ceiling(value: Decimal) -> Decimal:
    """The next 1, 2, 4, 5, 8 or 10 times a power of ten: what an axis may end in."""
    if value <= 0:
        return Decimal(0)
    power = Decimal(1).scaleb(value.adjusted())
    for factor in (1, 2, 4, 5, 8, 10):
        if value <= power * factor:
            return power * factor
    return power * 10
