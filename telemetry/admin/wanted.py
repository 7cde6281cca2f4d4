"""What the trace explorer is asked for: its address, read with suspicion, and written again with something changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.http import HttpRequest, QueryDict

from console.periods import CUSTOM, Period, chosen
from telemetry.admin.asked import Reach, chips, filter_pairs, read_filters
from telemetry.admin.dimensions import Chip, Filters
from telemetry.calls import IDS, PRICES, Wanted
from telemetry.trace import UINT32_MAX

STATES = (("", "Any"), ("on", "Failed"), ("no", "Went well"))
PRICE_STATES = (("", "Any"), ("unpriced", "Without a price"), ("estimated", "Estimated"), ("priced", "Exact"))
ID_LABELS = {"run": "Run", "step": "Step", "trace": "Trace", "call": "Call"}
LONGEST_ID, LONGEST_WORDS = 100, 200


@dataclass(frozen=True, slots=True)
class TracesAsked:
    """`failed`: "on", "no" or ""; `price`: a state of it; `problems` are to be said."""

    period: Period
    filters: Filters
    ids: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    price: str = ""
    min_ms: int = 0
    min_usd: Decimal | None = None
    words: str = ""
    problems: tuple[str, ...] = ()

    @property
    def filtered(self) -> bool:
        return bool(self.filters or self.ids or self.failed or self.price or self.min_ms or self.min_usd or self.words)

    def address(self, **changes: Any) -> str:
        """The query string of the list, at its newest page; `changes` go over the fields."""
        one = replace(self, **changes)
        pairs = [*one.period.query.items(), *filter_pairs(one.filters), *one.ids.items()]
        pairs += [("failed", one.failed), ("price", one.price), ("q", one.words)]
        pairs += [("min_ms", str(one.min_ms or "")), ("min_usd", f"{one.min_usd:f}" if one.min_usd else "")]
        return f"?{urlencode([(name, value) for name, value in pairs if value])}"

    def parameters(self, *without: str) -> list[tuple[str, str]]:
        """What a form on the page sends along, so that it changes nothing but its own."""
        return [(name, value) for name, value in parse_qsl(self.address()[1:]) if name not in without]

    def narrowed(self, start: datetime, end: datetime) -> str:
        return self.address(period=Period(CUSTOM, "", start, end))

    def chips(self) -> list[Chip]:
        found = chips(self.filters, lambda left: self.address(filters=left))
        for name, value in self.ids.items():
            left = {other: given for other, given in self.ids.items() if other != name}
            found.append(Chip(ID_LABELS[name], value, self.address(ids=left)))
        return found

    def wanted(self, reach: Reach) -> Wanted:
        """Raises Invalid."""
        return Wanted(
            organization_id=reach.organization_id,
            start=self.period.start,
            end=self.period.end,
            filters=reach.filters,
            ids=self.ids,
            failed={"on": True, "no": False}.get(self.failed),
            price=self.price,
            min_ms=self.min_ms,
            min_usd=self.min_usd,
            words=self.words,
        )


def read(request: HttpRequest) -> TracesAsked:
    """What cannot be understood is said, and left out."""
    given, period = request.GET, chosen(request)
    problems = [period.problem] if period.problem else []
    ids = {name: given[name].strip()[:LONGEST_ID] for name in IDS if given.get(name, "").strip()}
    words = given.get("q", "").strip()
    if len(words) > LONGEST_WORDS or "\0" in words:
        problems.append(f"Words: at most {LONGEST_WORDS} characters are looked for.")
        words = ""
    return TracesAsked(
        period,
        read_filters(given, problems),
        ids={name: value.replace("\0", "") for name, value in ids.items()},
        failed=_one_of(given, "failed", {key for key, _ in STATES}, problems),
        price=_one_of(given, "price", {"", *PRICES}, problems),
        min_ms=_number(given, "min_ms", _milliseconds, problems) or 0,
        min_usd=_number(given, "min_usd", _dollars, problems),
        words=words,
        problems=tuple(problems),
    )


def _one_of(given: QueryDict, name: str, allowed: set[str], problems: list[str]) -> str:
    value = given.get(name, "")
    if value in allowed:
        return value
    problems.append(f"{name.capitalize()}: “{value[:40]}” is none of the choices.")
    return ""


def _number(given: QueryDict, name: str, read_one: Callable[[str], Any], problems: list[str]) -> Any:
    text = given.get(name, "").strip()
    if not text:
        return None
    try:
        return read_one(text[:30])
    except (ValueError, InvalidOperation):
        problems.append(
            "Slower than: whole milliseconds." if name == "min_ms" else "Dearer than: US dollars, like 0.05."
        )
        return None


def _milliseconds(text: str) -> int:
    value = int(text)
    if not 0 <= value <= UINT32_MAX:
        raise ValueError
    return value


def _dollars(text: str) -> Decimal:
    value = Decimal(text)
    if not value.is_finite() or not 0 <= value < 10**9:
        raise ValueError
    return round(value, 12)
