"""Charts as server-rendered SVG: no script, crisp at every size, coloured by the theme, and told again as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from typing import Any

from console.display import usd

COLOURS = 8
HEIGHT = 100.0
STEP = 10.0
BAR = 7.6
AXIS_LABELS = 8
# The key of all that is not told apart: nothing that people name is called so.
OTHER, OTHER_NAME = "\0other", "other"

Say = Callable[[Any], str]


def _no_link(name: str | None, index: int | None) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Marks:
    """What a chart's parts are called and where they lead.

    `name`: of a series; `link`: the rows behind a series (None: all of them) at a label's index (None: all the time).
    `wholes`: the figure of a series over the whole time, where it is not the sum.
    `colours`: of series that have their own.
    """

    name: Callable[[str], str] = str
    link: Callable[[str | None, int | None], str] = _no_link
    wholes: Mapping[str, str] = field(default_factory=dict)
    whole: str = ""
    colours: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bar:
    x: str
    y: str
    height: str
    colour: int
    title: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """`path` joins the points; `dots` marks each, also those that stand alone."""

    path: str
    dots: str
    colour: int


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    href: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Key:
    """A line of the legend, and of the table twin."""

    name: str
    colour: int
    total: str
    values: tuple[str, ...]
    href: str = ""
    links: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        return [
            Cell(value, href) for value, href in zip(self.values, self.links or [""] * len(self.values), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Column:
    """The whole height over one label: what the pointer meets."""

    x: str
    href: str
    title: str


@dataclass(frozen=True, slots=True)
class AxisLabel:
    """Stands under the first of `share` labels."""

    text: str
    share: int


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
    lines: tuple[Line, ...] = ()
    columns: tuple[Column, ...] = ()
    total_links: tuple[str, ...] = ()
    whole: str = ""

    @property
    def empty(self) -> bool:
        return not self.bars and not self.lines

    @property
    def total_cells(self) -> list[Cell]:
        return [
            Cell(text, href)
            for text, href in zip(self.totals, self.total_links or [""] * len(self.totals), strict=True)
        ]

    @property
    def edge_labels(self) -> tuple[str, ...]:
        """First and last, for a small one."""
        return self.labels if len(self.labels) < 2 else (self.labels[0], self.labels[-1])

    @property
    def axis_labels(self) -> list[AxisLabel]:
        """As many as fit on a desk, evenly; a phone leaves out every second."""
        share = max(1, ceil(len(self.labels) / AXIS_LABELS))
        found = []
        for i in range(0, len(self.labels), share):
            room = min(share, len(self.labels) - i)
            found.append(AxisLabel(self.labels[i] if 2 * room >= share else "", room))
        return found


def stacked_bars(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[Decimal]],
    say: Say = usd,
    marks: Marks = Marks(),
) -> Chart:
    """One bar a label, one part a series; the smallest series beyond the colours there are become “other”."""
    kept = _largest(series, len(labels))
    sums = [sum((values[i] for values in kept.values()), Decimal(0)) for i in range(len(labels))]
    top = nice_ceiling(max(sums, default=Decimal(0)))
    bars: list[Bar] = []
    for i, label in enumerate(labels):
        filled = 0.0
        for place, (name, values) in enumerate(kept.items()):
            height = float(values[i] / top) * HEIGHT if top else 0.0
            if height <= 0:
                continue
            filled += height
            text = f"{label} · {_named(name, marks)}: {say(values[i])} (of {say(sums[i])})"
            colour = marks.colours.get(name, place)
            bars.append(_bar(i, (HEIGHT - filled, height), colour, text, _href(name, i, marks)))
    keys = tuple(
        Key(
            _named(name, marks),
            marks.colours.get(name, place),
            say(sum(values, Decimal(0))),
            tuple(say(value) for value in values),
            _href(name, None, marks),
            tuple(_href(name, i, marks) if value else "" for i, value in enumerate(values)),
        )
        for place, (name, values) in enumerate(kept.items())
    )
    return Chart(
        title,
        tuple(labels),
        _ticks(top, say),
        tuple(bars),
        keys,
        tuple(say(s) for s in sums),
        f"{len(labels) * STEP:g}",
        f"{BAR:g}",
        columns=_columns(labels, [say(s) for s in sums], marks),
        total_links=tuple(marks.link(None, i) for i in range(len(labels))),
        whole=marks.whole or say(sum(sums, Decimal(0))),
    )


def lines(
    title: str,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | Decimal | None]],
    say: Say,
    marks: Marks = Marks(),
) -> Chart:
    """Figures that do not add up, as one line a series; None leaves a gap. In the order given, as many as colours."""
    kept = {name: values for name, values in list(series.items())[:COLOURS] if any(v is not None for v in values)}
    highest = max((Decimal(str(v)) for values in kept.values() for v in values if v is not None), default=Decimal(0))
    top = nice_ceiling(highest)
    drawn = tuple(_line(values, top, colour) for colour, values in enumerate(kept.values()))
    keys = tuple(
        Key(
            _named(name, marks),
            colour,
            marks.wholes.get(name, ""),
            tuple(say(value) for value in values),
            _href(name, None, marks),
            tuple("" if value is None else _href(name, i, marks) for i, value in enumerate(values)),
        )
        for colour, (name, values) in enumerate(kept.items())
    )
    texts = [
        ", ".join(f"{key.name}: {key.values[i]}" for key in keys if keys) if keys else "" for i in range(len(labels))
    ]
    return Chart(
        title,
        tuple(labels),
        _ticks(top, say),
        (),
        keys,
        (),
        f"{len(labels) * STEP:g}",
        f"{BAR:g}",
        lines=drawn,
        columns=_columns(labels, texts, marks),
        whole=marks.whole,
    )


def spark(values: Sequence[Decimal | float | int]) -> str:
    """The path of a small line without axes, in a box of 100 by 24; "" where there is nothing to draw."""
    top = max((float(value) for value in values), default=0.0)
    if len(values) < 2 or top <= 0:
        return ""
    apart = 100 / (len(values) - 1)
    return _joined([(i * apart, 23 - 22 * float(value) / top) for i, value in enumerate(values)])


def _line(values: Sequence[float | Decimal | None], top: Decimal, colour: int) -> Line:
    pieces: list[list[tuple[float, float]]] = [[]]
    for i, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        share = float(Decimal(str(value)) / top) if top else 0.0
        pieces[-1].append((i * STEP + STEP / 2, HEIGHT - share * HEIGHT))
    dots = " ".join(f"M{x:g} {y:.2f}h0" for piece in pieces for x, y in piece)
    return Line(" ".join(_joined(piece) for piece in pieces if len(piece) > 1), dots, colour)


def _joined(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:.2f}" for x, y in points)


def _columns(labels: Sequence[str], texts: Sequence[str], marks: Marks) -> tuple[Column, ...]:
    return tuple(
        Column(f"{i * STEP:g}", marks.link(None, i), f"{label} · {texts[i]}") for i, label in enumerate(labels)
    )


def _ticks(top: Decimal, say: Say) -> tuple[str, ...]:
    return (say(top), say(top / 2), say(Decimal(0)))


def _named(name: str, marks: Marks) -> str:
    return OTHER_NAME if name == OTHER else marks.name(name)


def _href(name: str, index: int | None, marks: Marks) -> str:
    return marks.link(None if name == OTHER else name, index)


def _bar(index: int, span: tuple[float, float], colour: int, title: str, href: str) -> Bar:
    y, height = span
    return Bar(f"{index * STEP + (STEP - BAR) / 2:g}", f"{y:.3f}", f"{height:.3f}", colour, title, href)


def _largest(series: Mapping[str, Sequence[Decimal]], length: int) -> dict[str, Sequence[Decimal]]:
    """Kept in order of size; what is named “other” already stays last."""
    filled = [(name, values) for name, values in series.items() if any(values)]
    ordered = sorted(filled, key=lambda item: (item[0] == OTHER, -sum(item[1], Decimal(0)), item[0]))
    if len(ordered) <= COLOURS:
        return dict(ordered)
    rest = [values for _, values in ordered[COLOURS - 1 :]]
    other = [sum((values[i] for values in rest), Decimal(0)) for i in range(length)]
    return {**dict(ordered[: COLOURS - 1]), OTHER: other}


def nice_ceiling(value: Decimal) -> Decimal:
    """The next 1, 2, 4, 5, 8 or 10 times a power of ten: what an axis may end in."""
    if value <= 0:
        return Decimal(0)
    power = Decimal(1).scaleb(value.adjusted())
    for factor in (1, 2, 4, 5, 8, 10):
        if value <= power * factor:
            return power * factor
    return power * 10
