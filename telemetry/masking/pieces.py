"""The strings and numbers of JSON in which `scan` has left a mark, found without parsing the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from telemetry.masking.rules import Rule
from telemetry.masking.scan import Mark

COLON = re.compile(rb"\s*:")
FIGURES = frozenset(b"0123456789+-.eE")


@dataclass(slots=True)
class Piece:
    """A string with its quotes, or a number: `raw[start:end]`."""

    start: int
    end: int
    rules: set[int] = field(default_factory=set)


def around(raw: bytes, marks: Sequence[Mark]) -> list[Piece] | None:
    """In their order. None where it matters what else stands beside a string: keys, and values by their names.

    `raw` is valid JSON.
    """
    # With what is escaped out of the way, every quote that is left begins or ends a string.
    plain = raw.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    found: list[Piece] = []
    quotes = at = end = 0
    for mark in sorted(marks):
        if mark.end > end:
            quotes += plain.count(b'"', at, mark.end)
            at = mark.end
            piece = _string(plain, at) if quotes % 2 else _number(plain, at)
            if piece is None:
                continue
            found.append(piece)
            end = piece.end
        if mark.rule == Rule.NAME and mark.end == found[-1].start + 1:
            return None
        found[-1].rules.add(mark.rule)
    return None if any(COLON.match(plain, piece.end) for piece in found) else found


def _string(plain: bytes, at: int) -> Piece:
    return Piece(plain.rindex(b'"', 0, at), plain.index(b'"', at) + 1)


def _number(plain: bytes, at: int) -> Piece | None:
    """None between values: what ends there began in a string, and is nothing."""
    if plain[at - 1] not in FIGURES:
        return None
    start = end = at - 1
    while start and plain[start - 1] in FIGURES:
        start -= 1
    while end < len(plain) and plain[end] in FIGURES:
        end += 1
    return Piece(start, end)


def replaced(raw: bytes, found: Sequence[Piece], masked: Callable[[bytes, frozenset[int]], bytes]) -> bytes:
    """The same bytes where no piece is changed."""
    parts, past = [], 0
    for piece in found:
        written = raw[piece.start : piece.end]
        kept = masked(written, frozenset(piece.rules))
        if kept is not written:
            parts += [raw[past : piece.start], kept]
            past = piece.end
    return b"".join((*parts, raw[past:])) if parts else raw
