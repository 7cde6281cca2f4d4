"""Windows of time that budgets count in: aligned to a time zone's clock, or rolling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

ROLLING_PIECES = 24
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """`start`: of the counter that takes what is spent now. `since`: of the oldest counter that still counts.

    `end`: when the window is over; of a rolling one, when the counter that is filled now has left it.
    """

    start: datetime
    since: datetime
    end: datetime


def span(window: str, zone: str, rolling_hours: int | None, at: datetime) -> Span:
    """The window that `at` lies in, in UTC."""
    if window == "rolling":
        return _rolling(timedelta(hours=rolling_hours or 1), at)
    start, end = _calendar(window, ZoneInfo(zone), at)
    return Span(start, start, end)


def _calendar(window: str, zone: ZoneInfo, at: datetime) -> tuple[datetime, datetime]:
    local = at.astimezone(zone)
    if window == "hour":
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        start = at.astimezone(UTC) - into
        return start, start + timedelta(hours=1)
    first, following = _days(window, local.date())
    return _midnight(first, zone), _midnight(following, zone)


def _days(window: str, today: date) -> tuple[date, date]:
    if window == "day":
        return today, today + timedelta(days=1)
    if window == "week":
        monday = today - timedelta(days=today.weekday())
        return monday, monday + timedelta(days=7)
    first = today.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The day's first instant: where clocks skip midnight, the moment they do; where it comes twice, the first."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _rolling(length: timedelta, at: datetime) -> Span:
    """In pieces of a 24th. One that has begun to leave counts whole: never less than the window, up to a 24th more."""
    piece = length / ROLLING_PIECES
    start = at - (at - _EPOCH) % piece
    return Span(start, start - length, start + piece + length)
