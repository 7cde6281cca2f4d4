"""One organization's rules, made ready: `payload` masks JSON and leaves it JSON, `text` masks what is no JSON."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import orjson
import regex

from telemetry.masking import pieces, rules, scan
from telemetry.masking.rules import EVERY, KINDS, Finder, Rule, Span

MAX_DEPTH = 200
# What an organization's own expressions, and an analyzer, may take of one payload; beyond it the payload is dropped.
CUSTOM_BUDGET_S = 0.25
LONG = 1024
SHORTEST = 5  # nothing that a rule finds is shorter: a@b.c
BASE64 = re.compile(r"(?:data:[\w/+.;=-]{0,100},)?[A-Za-z0-9+/_-]+={0,2}")
# Digits and capitals each become one sign, so that what must be looked for is known before anything is parsed.
CLASSES = bytes(
    48 if 48 <= byte <= 57 else 65 if 65 <= byte <= 90 else byte if byte in b".-()+ /" else 97 for byte in range(256)
)
BIG = 10**11  # smaller integers are no card
NUMBER_KINDS = frozenset({rules.PHONE, rules.CARD, rules.IP, rules.NATIONAL_ID})
RULES = {
    rules.SECRET: {Rule.SHAPE, Rule.ASSIGNED, Rule.NAME},
    rules.EMAIL: {Rule.EMAIL},
    rules.PHONE: {Rule.NUMBER},
    rules.CARD: {Rule.NUMBER},
    rules.IBAN: {Rule.IBAN},
    rules.IP: {Rule.NUMBER, Rule.IP6},
    rules.NATIONAL_ID: {Rule.NUMBER},
}
_UNCHECKED: dict[Rule, Finder] = {Rule.SHAPE: rules.shaped, Rule.ASSIGNED: rules.assigned}
# A step's request repeats what the steps before it said. Texts of these lengths are remembered with their masks.
REMEMBERED = range(5, 65_536)
MEMORY_CHARS, ENTRY_CHARS = 8_000_000, 100
_serials = itertools.count()


class MaskingFailed(Exception):
    """It cannot be said that all was masked: what was to be masked must not be kept."""


class Analyzer(Protocol):
    """A recognizer of an own kind (Presidio, a test's double). It raises whatever it likes."""

    def spans(self, text: str) -> Iterable[tuple[int, int, str]]:
        """Start, end and kind of each thing found; the kind becomes the placeholder, `[person]`."""
        ...

    def __hash__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CustomRule:
    name: str
    pattern: str


T = TypeVar("T", str, bytes)


class _Memory(Generic[T]):
    """Texts that were masked before, of all maskers: as many signs as are set, then it begins anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[int, T], T] = {}
        self._chars = 0

    def get(self, key: tuple[int, T]) -> T | None:
        return self._known.get(key)

    def put(self, key: tuple[int, T], masked: T) -> None:
        with self._lock:
            if self._chars > MEMORY_CHARS:
                self._known, self._chars = {}, 0
            self._known[key] = masked
            self._chars += len(key[1]) + ENTRY_CHARS


_memory: _Memory[str] = _Memory()
_pieces: _Memory[bytes] = _Memory()  # as they are written


@dataclass(slots=True)
class _Pass:
    """One look at a payload or a piece of it: the rules that can find anything there, and the time that is left for
    what has no bound of its own."""

    rules: frozenset[int] = EVERY
    left_s: float = CUSTOM_BUDGET_S


@dataclass(frozen=True)
class Masker:
    kinds: frozenset[str] = frozenset(KINDS)
    custom: tuple[CustomRule, ...] = ()
    analyzer: Analyzer | None = None
    _patterns: list[tuple[str, Any]] = field(default_factory=list, compare=False)
    _rules: frozenset[int] = field(default=frozenset(), init=False, compare=False)
    _serial: int = field(default_factory=lambda: next(_serials), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rules", frozenset({Rule.ESCAPED}.union(*(RULES[kind] for kind in self.kinds))))
        self._patterns.extend((f"[{rule.name}]", regex.compile(rule.pattern)) for rule in self.custom)

    def payload(self, raw: bytes) -> bytes:
        """The same JSON with strings masked; the same bytes where nothing was found. Raises MaskingFailed."""
        marks = None if self._slow else scan.marks(raw)
        if marks is not None:
            marks = [mark for mark in marks if mark.rule in self._rules]
            if not marks:
                return raw
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return self.text(raw.decode("utf-8", "replace")).encode("utf-8", "replace")
        found = None if marks is None else pieces.around(raw, marks)
        if found is not None:
            return pieces.replaced(raw, found, self._piece)
        masked = self._value(value, _Pass(), 0)
        return raw if masked is value else orjson.dumps(masked)

    def _piece(self, written: bytes, possible: frozenset[int]) -> bytes:
        """One string or number of the payload, as it is written; the very same where nothing was found."""
        key = (self._serial, written)
        known = _pieces.get(key)
        if known is None:
            value = orjson.loads(written)
            masked = self._value(value, _Pass(EVERY if Rule.ESCAPED in possible else possible), 1)
            known = written if masked is value else orjson.dumps(masked)
            _pieces.put(key, known)
        return written if known == written else known

    def text(self, text: str) -> str:
        """Raises MaskingFailed."""
        return self._text(text, _Pass())

    def _finders(self, text: str, possible: frozenset[int]) -> list[Finder]:
        """Only what can be in this text at all."""
        wanted = self._rules & possible
        found: list[Finder] = [find for rule, find in _UNCHECKED.items() if rule in wanted]
        if Rule.EMAIL in wanted and "@" in text:
            found.append(rules.emails)
        if Rule.IP6 in wanted and ":" in text:
            found.append(rules.addresses6)
        if Rule.NUMBER not in wanted and Rule.IBAN not in wanted:
            return found
        classes = text.encode("utf-8", "replace").translate(CLASSES)
        if Rule.NUMBER in wanted and (b"00" in classes or b"0.0" in classes):
            found.append(rules.Numbers(self.kinds & NUMBER_KINDS))
        if Rule.IBAN in wanted and b"AA00" in classes:
            found.append(rules.ibans)
        return found

    def _value(self, value: Any, look: _Pass, depth: int) -> Any:
        """The very same object where nothing was found in it."""
        if isinstance(value, str):
            return self._string(value, look, depth)
        if isinstance(value, dict):
            return self._dict(value, look, depth)
        if isinstance(value, list):
            if depth > MAX_DEPTH:
                raise MaskingFailed("nested too deep")
            masked = [self._value(item, look, depth + 1) for item in value]
            return masked if any(a is not b for a, b in zip(masked, value, strict=True)) else value
        if isinstance(value, int) and value >= BIG:
            text = str(value)
            masked_text = self._text(text, look)
            return value if masked_text == text else masked_text
        return value

    def _dict(self, value: dict[str, Any], look: _Pass, depth: int) -> dict[str, Any]:
        if depth > MAX_DEPTH:
            raise MaskingFailed("nested too deep")
        masked: dict[str, Any] = {}
        changed, secrets = False, Rule.NAME in self._rules & look.rules
        for name, item in value.items():
            if isinstance(item, str) and item and secrets and _is_secret_name(name):
                kept: Any = "[secret]"
            else:
                kept = self._value(item, look, depth + 1)
            shown = self._text(name, look)
            while shown in masked:
                shown += "'"
            changed = changed or kept is not item or shown != name
            masked[shown] = kept
        return masked if changed else value

    def _string(self, text: str, look: _Pass, depth: int) -> str:
        if text[:1] in ("{", "[") and text[-1:] in ("}", "]"):
            try:
                inner = orjson.loads(text)
            except orjson.JSONDecodeError:
                return self._text(text, look)
            masked = self._value(inner, look, depth + 1)
            return text if masked is inner else orjson.dumps(masked).decode()
        return self._text(text, look)

    def _text(self, text: str, look: _Pass) -> str:
        if len(text) not in REMEMBERED or look.rules is not EVERY:
            return self._masked(text, look)
        key = (self._serial, text)
        known = _memory.get(key)
        if known is None:
            known = self._masked(text, look)
            _memory.put(key, known)
        return text if known == text else known

    def _masked(self, text: str, look: _Pass) -> str:
        if len(text) < SHORTEST and not self._slow:
            return text
        if len(text) > LONG and BASE64.fullmatch(text):
            return text  # an image or a file: rules for text only damage it
        spans = [span for find in self._finders(text, look.rules) for span in find(text)]
        if self._slow:
            spans += self._slow_spans(text, look)
        return _replaced(text, spans) if spans else text

    @property
    def _slow(self) -> bool:
        return bool(self._patterns) or self.analyzer is not None

    def _slow_spans(self, text: str, look: _Pass) -> list[Span]:
        """What others wrote is held by the clock: no expression can hold up a worker."""
        began = time.perf_counter()
        found: list[Span] = []
        try:
            for placeholder, pattern in self._patterns:
                if look.left_s <= 0:
                    raise TimeoutError
                matches = pattern.finditer(text, timeout=look.left_s)
                found += [Span(m.start(), m.end(), placeholder) for m in matches if m.end() > m.start()]
            if self.analyzer is not None:
                found += [Span(start, end, f"[{kind.lower()}]") for start, end, kind in self.analyzer.spans(text)]
        except TimeoutError:
            raise MaskingFailed("an expression of the organization's own took too long") from None
        except Exception as error:  # an analyzer fails as it likes, and a trace must not fail a run: it is dropped
            raise MaskingFailed(f"the analyzer failed: {type(error).__name__}") from None
        if self._patterns:
            look.left_s -= time.perf_counter() - began
        return found


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    return len(name) < 60 and rules.SECRET_NAME.match(name) is not None


def _replaced(text: str, spans: Sequence[Span]) -> str:
    """Spans that overlap become one, named as the longest of them: no rest of any may stay."""
    parts, past = [], 0
    pending: Span | None = None
    for span in sorted(spans):
        if pending is not None and span.start < pending.end:
            longest = max(pending, span, key=lambda s: s.end - s.start)
            pending = Span(pending.start, max(pending.end, span.end), longest.placeholder)
            continue
        if pending is not None:
            parts += [text[past : pending.start], pending.placeholder]
            past = pending.end
        pending = span
    assert pending is not None
    return "".join((*parts, text[past : pending.start], pending.placeholder, text[pending.end :]))


@lru_cache(maxsize=256)
def masker_for(
    kinds: frozenset[str] = frozenset(KINDS), custom: tuple[CustomRule, ...] = (), analyzer: Analyzer | None = None
) -> Masker:
    """Made once for the same rules: compiling an organization's own expressions is dear."""
    return Masker(kinds, custom, analyzer)
