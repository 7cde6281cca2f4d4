"""The spans of time that an operator may look at: short names, mandatory bounds, days in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from core.time import now

CHOICES = (("today", "Today", 1), ("7d", "7 days", 7), ("30d", "30 days", 30), ("90d", "90 days", 90))
DEFAULT = "7d"


@dataclass(frozen=True, slots=True)
class Period:
    """From midnight UTC of the first day up to `end`, which is not included."""

    key: str
    label: str
    start: datetime
    end: datetime

    @property
    def days(self) -> list[datetime]:
        count = (self.end - timedelta(microseconds=1)).date().toordinal() - self.start.date().toordinal() + 1
        return [self.start + timedelta(days=number) for number in range(count)]


def period_of(key: str | None, at: datetime | None = None) -> Period:
    """The period of that name; the default one for a name that there is not."""
    end = at or now()
    for name, label, days in CHOICES:
        if name == key:
            midnight = datetime.combine(end.date(), time.min, UTC)
            return Period(name, label, midnight - timedelta(days=days - 1), end)
    return period_of(DEFAULT, end)
