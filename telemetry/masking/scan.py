"""Which rules can find anything at all in a payload, told from its bytes as they are written, in some 2 ns a byte.

Each rule has quick patterns: whatever the rule finds begins, as JSON writes it, with something that fits one of them,
and that ends within the same string. They may fit more; the rules themselves decide. `hyperscan` looks for all of them
at once. It has no wheels for ARM: without it, or until it has compiled (0.1 s, in a thread), every rule is tried.

Bytes beyond ASCII count as letters, a sign by its number (backslash, u, four digits) as the letters it is written with,
and a slash or quote may have backslashes before it: JSON within JSON is read as it stands.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import NamedTuple

from telemetry.masking.rules import IBAN_LENGTHS, SHAPES, Rule

try:
    import hyperscan
except ImportError:
    hyperscan = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

MEND = "pip install -r requirements.txt, on a processor that hyperscan knows (x86-64 with SSSE3)."


class Mark(NamedTuple):
    """What may be something: where it ends, and for which rule."""

    end: int
    rule: int


def _any_case(pattern: str) -> str:
    """As Python folds letters: two forms of s, k and i are beyond ASCII."""
    for letter, others in (("s", "ſ"), ("k", "\u212a"), ("i", "İı")):
        pattern = pattern.replace(letter, f"(?:{'|'.join((letter, *others))})")
    return "(?i)" + pattern


LETTER = r"A-Za-z\\\x80-\xff"
WHITE = r"(?:\s|\\+(?:[nrt]|u000[9aAdD]))*"
LINE = r"(?:\n|\\+(?:n|u000[aA]))?"  # what the rules' $ passes over
NAMES = "(?:password|passwd|secret|(?:api|access|private)[_-]?key|token|authorization|cookie)"
WORDS = [
    *((Rule.SHAPE, shape.quick) for shape in SHAPES),
    (
        Rule.ASSIGNED,
        _any_case("(?:pass(?:word|wd)|secret|token|(?:api|access|private)[_-]?key)")
        + rf"""[\\"' ]*{LINE}[:=][\\"' ]*[^\s"',;\[\]{{}}()<>|`]""",
    ),
    (Rule.NAME, _any_case(NAMES) + rf'{LINE}\\*"{WHITE}:{WHITE}\\*"'),
    (Rule.EMAIL, rf"[0-9._%+'\-{LETTER}]@[0-9_.\-{LETTER}]+\.[{LETTER}]"),
    *((Rule.IBAN, rf"{country}\d{{2}}[0-9A-Za-z ]{{4}}") for country in IBAN_LENGTHS),
    (Rule.IP6, r"[0-9][0-9a-fA-F:.]*::|::[0-9a-fA-F:.]*[0-9]"),
    (Rule.IP6, r"(?::[0-9a-fA-F]{1,4}){4}:"),
    # Signs that rules look for, written by their number; < > and & are not among them, and often written so.
    (Rule.ESCAPED, r"\\u(?:00(?:2[0-57-9a-fA-F]|3[0-9abdfABDF]|[4-7][0-9a-fA-F])|017[fF]|013[01]|212[aA])"),
    (Rule.NUMBER, r"[02-6]\d{9}"),  # cards and phones without a gap
]
GAP = r"\)?[ /\\-]+"
# A phone with its city: eight digits at least, which as alternatives cost least. A number before a date is none.
CITY = (
    rf"0(?:\d{GAP}\d{{6}}|\d\d{GAP}\d{{5}}|\d{{3}}{GAP}\d{{4}}|\d{{4}}{GAP}\d{{3}}"
    rf"|\d{{1,4}}{GAP}\d{{3,8}}[ -]\d\d)"
)
# A database of its own: in one with the others, each byte costs half as much again.
FIGURES = [
    (Rule.NUMBER, r"[2-6]\d{3}[ -]\d{4,6}[ -]\d{4}"),  # cards
    (Rule.NUMBER, r"[0-8]\d{2}[ -]\d{2}[ -]\d{4}"),  # SSN
    (Rule.NUMBER, r"\d{3}\.\d{3}\.\d{3}-\d"),  # CPF
    (Rule.NUMBER, r"\d\.\d{1,3}\.\d{1,3}\.\d"),  # IPv4
    (Rule.NUMBER, r"\+\d(?:[ .\-/\\()]*\d){6}"),  # phones from here on
    (Rule.NUMBER, r"[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4}"),
    (Rule.NUMBER, r"0\d[ .]\d{2}[ .]\d{2}[ .]\d{2}[ .]\d"),
    (Rule.NUMBER, rf"[^0-9]{CITY}"),
    (Rule.NUMBER, rf"\\u[0-9a-fA-F]{{4}}{CITY}"),
    (Rule.NUMBER, f"^{CITY}"),
]


def _note(rule: int, start: int, end: int, flags: int, found: object) -> None:
    found.append(Mark(end, rule))  # type: ignore[attr-defined]  # the stub says object; it is the list given to scan


class Scanner:
    """All quick patterns, compiled. Any number of threads at once; the GIL is free while one scans."""

    def __init__(self) -> None:
        """Raises hyperscan.error on a processor that it does not know."""
        self._databases = [self._compiled(patterns) for patterns in (WORDS, FIGURES)]
        self._free: deque[list[hyperscan.Scratch]] = deque()  # working memory, each for one scan at a time

    @staticmethod
    def _compiled(patterns: list[tuple[Rule, str]]) -> hyperscan.Database:
        made = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        made.compile(
            expressions=[pattern.encode() for _, pattern in patterns],
            ids=[int(rule) for rule, _ in patterns],
            elements=len(patterns),
            flags=[0] * len(patterns),
        )
        return made

    def marks(self, raw: bytes) -> list[Mark]:
        found: list[Mark] = []
        try:
            scratches = self._free.pop()
        except IndexError:
            scratches = [hyperscan.Scratch(database) for database in self._databases]
        for database, scratch in zip(self._databases, scratches, strict=True):
            database.scan(raw, match_event_handler=_note, context=found, scratch=scratch)
        self._free.append(scratches)
        return found


_scanner: Scanner | None = None
_begun_in = 0  # the process in which compiling began
_lock = threading.Lock()


def marks(raw: bytes) -> list[Mark] | None:
    """Where something may be; None when that cannot be said (yet)."""
    if _scanner is not None:
        return _scanner.marks(raw)
    if hyperscan is not None and _begun_in != os.getpid():
        _begin()
    return None


def _begin() -> None:
    global _begun_in  # noqa: PLW0603 -- it is the process that has one scanner
    with _lock:
        if _begun_in != os.getpid():
            _begun_in = os.getpid()
            threading.Thread(target=problem, name="masking-compiles").start()


def problem() -> str:
    """Compile now, where it is not yet done; says why it cannot be, or ""."""
    global _scanner  # noqa: PLW0603 -- it is the process that has one scanner
    if hyperscan is None:
        return "hyperscan is not installed"
    if _scanner is None:
        try:
            _scanner = Scanner()
        except hyperscan.error as error:
            log.warning("Masking tries every rule on every text: hyperscan cannot be used here (%s)", error)
            return f"hyperscan cannot be used here: {error}"
    return ""
