"""What is asked: for whom, when, by which dimensions, in which steps of time. Checked where it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from core.errors import Invalid
from telemetry.analytics.dimensions import DIMENSIONS

INTERVALS = ("", "hour", "day", "week", "month")
ORDERS = ("cost_usd", "calls", "total_tokens", "prompt_tokens", "completion_tokens", "errors", "unpriced_calls")
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MOST_INTERVALS, MOST_VALUES, MOST_LIMIT = 2_500, 1_000, 10_000
LONGEST_VALUE = 500


@dataclass(frozen=True, slots=True)
class Question:
    """`organization_id` None asks for the whole installation: for superusers, or with a filter by organization.

    `end` is not included. A filter holds one value or several, of which any may match; "" is "none". The first `limit`
    values by `order_by` are told apart, the others become one group. Raises Invalid, with the names that there are.
    """

    organization_id: str | None
    start: datetime
    end: datetime
    dimensions: tuple[str, ...] = ()
    interval: str = ""
    filters: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    time_zone: str = "UTC"
    order_by: str = "cost_usd"
    limit: int = 100

    def __post_init__(self) -> None:
        _known("dimension", self.dimensions, DIMENSIONS)
        _known("filter", self.filters, DIMENSIONS)
        _known("interval", [self.interval], INTERVALS)
        _known("order_by", [self.order_by], ORDERS)
        if len(self.dimensions) > 2 or len(set(self.dimensions)) < len(self.dimensions):
            raise Invalid("dimensions: name two at most, each once.")
        if not 1 <= self.limit <= MOST_LIMIT:
            raise Invalid(f"limit: between 1 and {MOST_LIMIT}.")
        _bounded(self.start, self.end)
        _few(self.filters)
        zone(self.time_zone)
        if len(interval_starts(self)) > MOST_INTERVALS:
            raise Invalid(f"interval: more than {MOST_INTERVALS} of them; ask for longer ones, or for less time.")

    @property
    def values(self) -> dict[str, list[str]]:
        """The filters, each a list."""
        return {name: [v] if isinstance(v, str) else list(v) for name, v in self.filters.items()}


def interval_starts(question: Question) -> list[datetime]:
    """When each interval begins, in the question's time zone; the first may begin before the question does.

    Days are the zone's, 23 to 25 hours long; weeks begin on Monday. Without an interval there is none.
    """
    local = zone(question.time_zone)
    if not question.interval:
        return []
    first, end = question.start.astimezone(local), question.end
    if question.interval == "hour":
        return _hours(first, end, local)
    day = first.date()
    if question.interval == "week":
        day -= timedelta(days=day.weekday())
    if question.interval == "month":
        day = day.replace(day=1)
    starts = []
    while (at := datetime.combine(day, time.min, local)).astimezone(UTC) < end:
        starts.append(_instant(at, local))
        if len(starts) > MOST_INTERVALS:
            break
        if question.interval == "month":
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if question.interval == "week" else 1)
    return starts


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # none of that name; no name at all; a folder
        raise Invalid("time_zone: a name like Europe/Lisbon or UTC.") from None


def _hours(first: datetime, end: datetime, local: ZoneInfo) -> list[datetime]:
    """Counted in UTC, so that the hour a clock shows twice is two."""
    at = (first - timedelta(minutes=first.minute, seconds=first.second, microseconds=first.microsecond)).astimezone(UTC)
    number = min(-(-(end - at) // timedelta(hours=1)), MOST_INTERVALS + 1)
    return [(at + timedelta(hours=n)).astimezone(local) for n in range(number)]


def _instant(at: datetime, local: ZoneInfo) -> datetime:
    """A midnight that the clocks skipped is the moment they skipped it."""
    return at.astimezone(UTC).astimezone(local)


def _known(what: str, names: Iterable[str], allowed: Iterable[str]) -> None:
    for name in names:
        if name not in allowed:
            there = ", ".join(a or "“”" for a in allowed)
            raise Invalid(f"{what}: {str(name)[:40]!r} is not known; it may be one of {there}.")


def _bounded(start: datetime, end: datetime) -> None:
    if start.tzinfo is None or end.tzinfo is None:
        raise Invalid("start, end: with a time zone, like 2026-05-01T00:00:00Z.")
    if not EARLIEST <= start < end <= LATEST:
        raise Invalid(f"start, end: the start comes first, and both lie between {EARLIEST.year} and {LATEST.year}.")


def _few(filters: Mapping[str, str | Sequence[str]]) -> None:
    for name, given in filters.items():
        values = [given] if isinstance(given, str) else given
        if not 1 <= len(values) <= MOST_VALUES:
            raise Invalid(f"{name}: between 1 and {MOST_VALUES} values.")
        if any(not isinstance(value, str) or len(value) > LONGEST_VALUE for value in values):
            raise Invalid(f"{name}: texts of {LONGEST_VALUE} characters at most.")
