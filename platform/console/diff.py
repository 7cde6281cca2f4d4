"""What changed between two texts, line by line and word by word, ready to be coloured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

CONTEXT = 3
MOST_LINES = 2_000
Kind = Literal["same", "added", "removed", "gap"]


@dataclass(frozen=True, slots=True)
class Line:
    """`pieces`: the text in order, each piece with whether it is what changed within the line."""

    kind: Kind
    pieces: tuple[tuple[str, bool], ...]

    @property
    def sign(self) -> str:
        return {"same": " ", "added": "+", "removed": "−", "gap": "⋯"}[self.kind]


def diff(before: str, after: str) -> list[Line]:
    """Changed lines with three lines around them; a gap stands for what is left out."""
    old, new = before.splitlines()[:MOST_LINES], after.splitlines()[:MOST_LINES]
    lines: list[Line] = []
    for number, group in enumerate(SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(CONTEXT)):
        if number or group[0][1] or group[0][3]:
            lines.append(Line("gap", ()))
        for tag, a1, a2, b1, b2 in group:
            if tag == "equal":
                lines += [_whole("same", text) for text in old[a1:a2]]
            elif tag == "replace" and a2 - a1 == b2 - b1:
                lines += _pairs(old[a1:a2], new[b1:b2])
            else:
                lines += [_whole("removed", text) for text in old[a1:a2]]
                lines += [_whole("added", text) for text in new[b1:b2]]
    return lines


def _whole(kind: Kind, text: str) -> Line:
    return Line(kind, ((text, False),))


def _pairs(old: list[str], new: list[str]) -> list[Line]:
    """Lines that took each other's place: the removed ones first, with the changed words marked in both."""
    removed, added = [], []
    for before, after in zip(old, new, strict=True):
        a, b = _words(before), _words(after)
        opcodes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
        removed.append(
            Line("removed", tuple(("".join(a[i:j]), tag != "equal") for tag, i, j, _, _ in opcodes if j > i))
        )
        added.append(Line("added", tuple(("".join(b[i:j]), tag != "equal") for tag, _, _, i, j in opcodes if j > i)))
    return [*removed, *added]


def _words(text: str) -> list[str]:
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    for match in re.finditer(r"\s+|\w+|[^\w\s]", text):
        yield match.group()
