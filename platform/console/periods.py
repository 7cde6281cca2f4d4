"""The spans of time that an operator may look at: short names or two dates, always bounded, days in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from django.http import HttpRequest

from core.time import now

CHOICES = (("today", "Today", 1), ("7d", "7 days", 7), ("30d", "30 days", 30), ("90d", "90 days", 90))
HOURS = (("1h", "1 hour", 1), ("24h", "24 hours", 24))
MONTHS = (("month", "This month", 0), ("last_month", "Last month", 1))
PRESETS = (*((key, label) for key, label, _ in (*HOURS, *CHOICES, *MONTHS)),)
CUSTOM = "custom"
DEFAULT = "7d"
SESSION = "console_period"
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=1830)
AT_A_MINUTE = "%Y-%m-%dT%H:%M"


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` up to `end`, which is not included. `problem`: what was wrong with the one that was asked for."""

    key: str
    label: str
    start: datetime
    end: datetime
    problem: str = ""

    @property
    def days(self) -> list[datetime]:
        count = (self.end - timedelta(microseconds=1)).date().toordinal() - self.start.date().toordinal() + 1
        return [self.start + timedelta(days=number) for number in range(count)]

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    @property
    def before(self) -> Period:
        """As long, and right before: what a figure is compared with."""
        return Period(CUSTOM, "the period before", self.start - self.length, self.start)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of an address that say this period."""
        if self.key != CUSTOM:
            return {"period": self.key}
        return {"period": CUSTOM, "start": said(self.start), "end": said(self.end)}

    @property
    def length_words(self) -> str:
        """3 hours, 30 days."""
        hours = max(1, round(self.length / timedelta(hours=1)))
        number, unit = (hours, "hour") if hours <= 48 else (round(hours / 24), "day")
        return f"{number} {unit}{'s' if number > 1 else ''}"

    @property
    def words(self) -> str:
        """Nov 3 – Nov 9, 2026; with times where it does not begin or end at midnight of a day."""
        last = self.end - timedelta(microseconds=1)
        if self.start.date() == last.date():
            day = f"{self.start:%b} {self.start.day}, {self.start.year}"
            return (
                day
                if _midnight(self.start) and _midnight(self.end)
                else f"{day}, {self.start:%H:%M} – {self.end:%H:%M}"
            )
        hours = self.length <= timedelta(days=2)
        first, final = (f"{at:%b} {at.day}" + (f" {at:%H:%M}" if hours else "") for at in (self.start, last))
        return f"{first} – {final}, {last.year}"


def said(at: datetime) -> str:
    """As an address says it, to the millisecond where the minute is not all."""
    utc = at.astimezone(UTC)
    if not (utc.second or utc.microsecond):
        return utc.strftime(AT_A_MINUTE)
    return utc.replace(tzinfo=None).isoformat(timespec="milliseconds")


def period_of(key: str | None, at: datetime | None = None) -> Period:
    """The period of that name; the default one for a name that there is not."""
    end = at or now()
    midnight = datetime.combine(end.date(), time.min, UTC)
    for name, label, days in CHOICES:
        if name == key:
            return Period(name, label, midnight - timedelta(days=days - 1), end)
    for name, label, hours in HOURS:
        if name == key:
            return Period(name, label, end - timedelta(hours=hours), end)
    first = midnight.replace(day=1)
    if key == "month":
        return Period("month", "This month", first, end)
    if key == "last_month":
        return Period("last_month", "Last month", (first - timedelta(days=1)).replace(day=1), first)
    return period_of(DEFAULT, end)


def custom(start: str, end: str) -> Period:
    """Between two dates or times in UTC; the last date belongs to it. No end: until now."""
    try:
        first = _moment(start, last=False)
        final = _moment(end, last=True) if end else now()
    except (ValueError, OverflowError):
        return _refused("Enter a valid date/time.")
    if first >= final:
        return _refused("The end is before the beginning.")
    if first < EARLIEST or final > now() + timedelta(days=366):
        return _refused(f"Dates may lie between {EARLIEST.year} and now.")
    if final - first > LONGEST:
        return _refused(f"At most {LONGEST.days:,} days can be looked at once.")
    return Period(CUSTOM, "From … to …", first, final)


def chosen(request: HttpRequest) -> Period:
    """What the address asks for, else what was asked for last; kept in the session."""
    asked = {name: request.GET.get(name, "")[:40] for name in ("period", "start", "end")}
    if not asked["period"] and asked["start"]:
        asked["period"] = CUSTOM
    if not asked["period"]:
        kept = request.session.get(SESSION)
        asked = kept if isinstance(kept, dict) else {"period": DEFAULT}
    period = _read(asked)
    if "period" in request.GET and not period.problem and request.session.get(SESSION) != period.query:
        request.session[SESSION] = period.query
    return period


def range_fields(period: Period) -> dict[str, str]:
    """What two fields of a form show: dates, or times where the period does not begin and end at midnight."""
    if period.key == CUSTOM and not (_midnight(period.start) and _midnight(period.end)):
        return {
            "range_type": "datetime-local",
            "range_start": said(period.start)[:16],
            "range_end": said(period.end)[:16],
        }
    last = period.end - timedelta(microseconds=1)
    return {"range_type": "date", "range_start": f"{period.start:%Y-%m-%d}", "range_end": f"{last:%Y-%m-%d}"}


def _read(asked: dict[str, str]) -> Period:
    if asked.get("period") == CUSTOM:
        return custom(asked.get("start", ""), asked.get("end", ""))
    return period_of(asked.get("period"))


def _refused(problem: str) -> Period:
    fallback = period_of(DEFAULT)
    return Period(fallback.key, fallback.label, fallback.start, fallback.end, problem)


def _moment(text: str, *, last: bool) -> datetime:
    """A date alone means its midnight, or as the end the midnight after it."""
    at = datetime.fromisoformat(text.strip().replace(" ", "T"))
    aware = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return aware + timedelta(days=1) if last and len(text.strip()) == 10 else aware


def _midnight(at: datetime) -> bool:
    return at.timetz().replace(tzinfo=None) == time.min
