"""Where secrets and personal data stand in a text: one finder for each kind, each behind a check that costs nothing.

A finder takes the text and yields spans. None of them can run long on hostile text: each begins at a sign that is found
at the speed of memory, and repeats nothing that is itself repeated.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent

# Kind to what the admin calls it. The order is the order of the form.
KINDS = {
    "secret": "API keys, tokens, passwords",
    "email": "Email addresses",
    "phone": "Phone numbers",
    "card": "Credit card numbers (with a valid check digit)",
    "iban": "Bank accounts (IBAN with a valid check sum)",
    "ip": "IP addresses",
    "national_id": "National ids (US SSN, Brazilian CPF)",
}
SECRET, EMAIL, PHONE, CARD, IBAN, IP, NATIONAL_ID = KINDS
TAIL_FROM = 20  # a shorter secret shows nothing of itself


class Rule(IntEnum):
    """What can be ruled out for a text before it is looked at closely (`scan`)."""

    SHAPE = 0
    ASSIGNED = 1
    NAME = 2  # a value is secret by the name it stands under
    EMAIL = 3
    NUMBER = 4
    IBAN = 5
    IP6 = 6
    ESCAPED = 7  # something is written in a way that hides from `scan` what it is: it may be anything


EVERY = frozenset(Rule)


class Span(NamedTuple):
    start: int
    end: int
    placeholder: str


@dataclass(frozen=True, slots=True)
class Shape:
    name: str
    marks: tuple[str, ...]
    pattern: re.Pattern[str]
    tail: bool
    inside: bool  # may stand within a word
    quick: str  # what `scan` looks for: a beginning of whatever fits

    def placeholder(self, value: str) -> str:
        named = f"secret:{self.name}" if self.name else "secret"
        return f"[{named} …{value[-4:]}]" if self.tail and len(value) >= TAIL_FROM else f"[{named}]"

    def at(self, text: str, start: int) -> Span | None:
        if start and not self.inside and text[start - 1].isalnum():
            return None
        found = self.pattern.match(text, start)
        if found is None:
            return None
        begin, end = found.span("value" if "value" in self.pattern.groupindex else 0)
        return Span(begin, end, self.placeholder(text[begin:end]))


def _shapes() -> tuple[Shape, ...]:
    raw = tomllib.loads((HERE / "secrets.toml").read_text())["shape"]
    return tuple(
        Shape(
            s["name"],
            tuple(s["marks"]),
            re.compile(s["pattern"]),
            s.get("tail", True),
            s.get("inside", False),
            s.get("quick", s["pattern"].replace(",}", "}")),
        )
        for s in raw
    )


SHAPES = _shapes()


def _by_stem(sign: str) -> dict[str, list[Shape]]:
    """Most marks hold a dash or an underscore: what stands before the first of them, and the shapes it leads to."""
    found: dict[str, list[Shape]] = {}
    for shape in SHAPES:
        for mark in shape.marks:
            stem = re.split("[-_]", mark)[0]
            if stem and mark[len(stem) : len(stem) + 1] == sign and shape not in found.setdefault(stem, []):
                found[stem].append(shape)
    return found


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign with a long word behind it is rare; only there it is looked at what stands before."""

    sign: str
    far: re.Pattern[str]
    stems: dict[str, list[Shape]]
    ends: tuple[str, ...]

    @classmethod
    def of(cls, sign: str) -> Sign:
        stems = _by_stem(sign)
        return cls(sign, re.compile(sign + "(?=[A-Za-z0-9_-]{10})"), stems, tuple(stems))

    def spans(self, text: str) -> Iterator[Span]:
        for match in self.far.finditer(text):
            at = match.start()
            if text.endswith(self.ends, max(0, at - LONGEST_STEM), at):
                yield from self._behind(text, at)

    def _behind(self, text: str, at: int) -> Iterator[Span]:
        for stem, shapes in self.stems.items():
            if text.endswith(stem, 0, at):
                found = (shape.at(text, at - len(stem)) for shape in shapes)
                first = next((span for span in found if span), None)
                if first:
                    yield first
                    return


SIGNS = (Sign.of("-"), Sign.of("_"))
LONGEST_STEM = max(len(stem) for sign in SIGNS for stem in sign.ends)
UNSIGNED = tuple(s for s in SHAPES if not any(s in shapes for sign in SIGNS for shapes in sign.stems.values()))
IBAN_LENGTHS: dict[str, int] = tomllib.loads((HERE / "ibans.toml").read_text())
# A name before the value: password=…, "api_key": …; the value must hold a digit, or prose would be full of secrets.
ASSIGNED = re.compile(r"""[:=](?=["' ]{0,3}(?P<value>(?=[^\s"',;]{0,200}[0-9])[^\s"'“”‘’`|<>,;\[\]{}()]{6,200}))""")
ASSIGNED_NAME = re.compile(
    r"(?i)(?:pass(?:word|wd)|secret|(?:access|refresh|auth|id)[_-]?token|\btoken|(?:api|access|private)[_-]?key)"
    r"""["' ]{0,2}$"""
)
SECRET_NAME = re.compile(
    r"(?i)^(?:x[_-])?(?:(?:[a-z]+[_-])?(?:password|passwd|secret|api[_-]?key|access[_-]?key|private[_-]?key)"
    r"|(?:access|refresh|auth|bearer|id|session|secret)[_-]?token|token|(?:proxy[_-])?authorization|(?:set[_-])?cookie)$"
)
DOMAIN = re.compile(r"@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62}")
LOCAL_SIGNS = frozenset("._%+-'")
# Dates are the most frequent digits by far: they are passed over at once.
RUN = re.compile(r"[0-9](?:[0-9]{3}-[0-9]{2}-[0-9]{2}(?![0-9-])(?P<date>)|[0-9 ().\-/]{5,}[0-9])")
CARDS = tuple(
    map(
        re.compile,
        (
            r"(?<!\d)[2-6]\d{3}(?P<s>[ -]?)\d{4}(?P=s)\d{4}(?P=s)\d{4}(?!\d)",
            r"(?<!\d)3[47]\d{2}(?P<s>[ -]?)\d{6}(?P=s)\d{5}(?!\d)",
            r"(?<!\d)3[0689]\d{2}(?P<s>[ -]?)\d{6}(?P=s)\d{4}(?!\d)",
            r"(?<!\d)[2-6]\d{12,18}(?!\d)",
            r"(?<!\d)[2-6]\d{3}(?P<s>[ -])\d{4}(?P=s)\d{4}(?P=s)\d{4}(?P=s)\d{3}(?!\d)",
        ),
    )
)
SSN = re.compile(r"(?<!\d)(?!000|666|9\d\d)\d{3}([- ])(?!00)\d{2}\1(?!0000)\d{4}(?!\d)")
CPF = re.compile(r"(?<!\d)\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)")
IPV4 = re.compile(r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\d|\.\d)")
ABROAD = re.compile(r"\d{1,3}(?:[ .\-/]{0,2}\(?\d{1,5}\)?){2,6}(?!\d)")
PHONES = tuple(
    map(
        re.compile,
        (
            r"(?<!\d)(?:1[ .-])?\(?[2-9]\d{2}\)?[ .-]{1,2}[2-9]\d{2}[ .-]\d{4}(?!\d)",
            r"(?<!\d)0\d(?:[ .]\d{2}){4}(?!\d)",
            r"(?<!\d)\(?0\d{1,4}\)?[ /-]{1,2}\d{3,8}(?:[ -]\d{2,6})?(?!\d)",
            r"(?<!\d)0\d{9,10}(?!\d)",
        ),
    )
)
IBAN_HEAD = re.compile(r"[A-Z]{2}\d{2}")
IPV6_HEAD = re.compile(r":[0-9A-Fa-f]{0,4}:")
IPV6_SIGNS = "0123456789abcdefABCDEF:."


def shaped(text: str) -> Iterator[Span]:
    for sign in SIGNS:
        yield from sign.spans(text)
    for shape in UNSIGNED:
        for mark in shape.marks:
            at = text.find(mark)
            while at >= 0:
                span = shape.at(text, at)
                if span:
                    yield span
                at = text.find(mark, max(span.end if span else 0, at + 1))


def assigned(text: str) -> Iterator[Span]:
    for match in ASSIGNED.finditer(text):
        if ASSIGNED_NAME.search(text, max(0, match.start() - 24), match.start()):
            yield Span(*match.span("value"), "[secret]")


def emails(text: str) -> Iterator[Span]:
    at = text.find("@")
    while at >= 0:
        domain = DOMAIN.match(text, at)
        start = at
        while start and at - start < 64 and (text[start - 1].isalnum() or text[start - 1] in LOCAL_SIGNS):
            start -= 1
        start += len(text[start:at]) - len(text[start:at].lstrip("'"))
        password = start and text[start - 1] == ":" and "://" in text[max(0, start - 110) : start]
        if domain and start < at and not password:
            yield Span(start, domain.end(), "[email]")
        at = text.find("@", at + 1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is written in digits: one search for runs of them, and a closer look at each."""

    kinds: frozenset[str]

    def __call__(self, text: str) -> Iterator[Span]:
        for run in RUN.finditer(text):
            if run.lastgroup:
                continue
            start, end = run.span()
            before = text[start - 1] if start else ""
            if before.isalpha() or (end < len(text) and text[end].isalpha()):
                continue
            offset = start - 1 if before in "+(" and before else start
            for found in self._within(text[offset:end]):
                yield Span(offset + found.start, offset + found.end, found.placeholder)

    def _within(self, run: str) -> Iterator[Span]:
        digits = _digit_count(run)
        if CARD in self.kinds and digits >= 13:
            yield from _cards(run)
        if NATIONAL_ID in self.kinds and digits >= 9:
            yield from (Span(*m.span(), "[ssn]") for m in SSN.finditer(run))
            yield from (Span(*m.span(), "[cpf]") for m in CPF.finditer(run) if _is_cpf(m[0]))
        if IP in self.kinds and "." in run:
            yield from (Span(*m.span(), "[ip]") for m in IPV4.finditer(run) if _is_address(m[0]))
        if PHONE in self.kinds and digits >= 7:
            yield from _phones(run)


def _cards(run: str) -> Iterator[Span]:
    found: set[int] = set()
    for pattern in CARDS:
        for match in pattern.finditer(run):
            if match.start() not in found and luhn(match[0]):
                found.add(match.start())
                yield Span(*match.span(), "[card]")


def _phones(run: str) -> Iterator[Span]:
    if run[0] == "+":
        abroad = ABROAD.match(run, 1)
        if abroad and 7 <= _digit_count(abroad[0]) <= 17:
            yield Span(0, abroad.end(), "[phone]")
    for pattern in PHONES:
        for match in pattern.finditer(run):
            start = match.start() + (match[0][0] == "(" and ")" not in match[0])
            if 8 <= _digit_count(match[0]) <= 15:
                yield Span(start, match.end(), "[phone]")


def ibans(text: str) -> Iterator[Span]:
    for head in IBAN_HEAD.finditer(text):
        start = head.start()
        length = IBAN_LENGTHS.get(head[0][:2])
        if length is None or (start and text[start - 1].isalnum()):
            continue
        signs, at = "", start
        while at < len(text) and len(signs) < length and (text[at].isalnum() or text[at] == " "):
            signs += text[at].strip()
            at += 1
        whole = at == len(text) or not text[at].isalnum()
        if len(signs) == length and whole and _is_iban(signs.upper()):
            yield Span(start, at, "[iban]")


def addresses6(text: str) -> Iterator[Span]:
    past = 0
    for head in IPV6_HEAD.finditer(text):
        at = head.start()
        if at < past:
            continue
        left, right = text[max(past, at - 45) : at], text[at : at + 46]
        start = at - (len(left) - len(left.rstrip(IPV6_SIGNS)))
        found = text[start : at + len(right) - len(right.lstrip(IPV6_SIGNS))].rstrip(".")
        past = start + len(found)
        found = found if found.endswith("::") else found.rstrip(":")
        end = start + len(found)
        if "::" not in found and found.count(":") < 6:
            continue
        alone = (not start or not text[start - 1].isalnum()) and (end == len(text) or not text[end].isalnum())
        if alone and any(c.isdigit() for c in found) and _is_address(found):
            yield Span(start, end, "[ip]")


def luhn(number: str) -> bool:
    digits = [int(c) for c in reversed(number) if c.isdigit()]
    if len(set(digits)) < 2:
        return False
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def _digit_count(text: str) -> int:
    return sum(c.isdigit() for c in text)


def _is_iban(signs: str) -> bool:
    if not signs.isascii():
        return False
    turned = signs[4:] + signs[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _is_address(text: str) -> bool:
    """One that leads to somebody: not this machine, not "any"."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_loopback or found.is_unspecified)


def _is_cpf(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    for place in (9, 10):
        rest = sum(d * (place + 1 - i) for i, d in enumerate(digits[:place])) * 10 % 11 % 10
        if rest != digits[place]:
            return False
    return len(set(digits)) > 1


Finder = Callable[[str], Iterable[Span]]
