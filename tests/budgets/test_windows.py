"""Windows of budgets: without gaps or overlaps in every zone, also where clocks change and months end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgets.windows import span

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # its clocks changed at midnight, until 2019
    "Africa/Cairo",  # so do these
    "America/Havana",
    "Asia/Kathmandu",  # 45 minutes
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Apia",  # left out a whole day in 2011
)
MOMENTS = st.datetimes(datetime(2010, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(MOMENTS, st.sampled_from(ZONES), st.sampled_from(("hour", "day", "week", "month")))
def test_each_moment_lies_in_one_window_and_the_next_begins_where_it_ends(at: datetime, zone: str, window: str) -> None:
    found = span(window, zone, None, at)
    assert found.start <= at < found.end
    assert found.since == found.start
    assert span(window, zone, None, found.end - timedelta(microseconds=1)) == found
    assert span(window, zone, None, found.end).start == found.end
    if window != "hour":
        assert found.start.astimezone(ZoneInfo(zone)).hour in (0, 1), "midnight, or what comes where it is left out"


@given(MOMENTS, st.integers(1, 24 * 366))
def test_a_rolling_window_counts_no_less_than_its_length_and_a_24th_more_at_most(at: datetime, hours: int) -> None:
    found, length = span("rolling", "UTC", hours, at), timedelta(hours=hours)
    assert found.start <= at < found.start + length / 24
    assert length <= at - found.since <= length * 25 / 24
    assert found.end - found.start == length * 25 / 24


@pytest.mark.parametrize(
    ("window", "zone", "at", "start", "end"),
    [
        # 23 and 25 hours: clocks change in Berlin.
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        # Midnight is left out in Cairo: the day begins at 01:00 there.
        ("day", "Africa/Cairo", "2026-04-24T10:00", "2026-04-23T22:00", "2026-04-24T21:00"),
        ("week", "UTC", "2026-11-29T23:59", "2026-11-23T00:00", "2026-11-30T00:00"),
        ("week", "America/New_York", "2026-03-09T03:59", "2026-03-02T05:00", "2026-03-09T04:00"),
        ("month", "UTC", "2028-02-29T23:59", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "Asia/Kathmandu", "2026-12-31T18:14", "2026-11-30T18:15", "2026-12-31T18:15"),
        ("month", "America/New_York", "2026-11-15T00:00", "2026-11-01T04:00", "2026-12-01T05:00"),
        # The hour that comes twice in New York is two hours.
        ("hour", "America/New_York", "2026-11-01T05:30", "2026-11-01T05:00", "2026-11-01T06:00"),
        ("hour", "America/New_York", "2026-11-01T06:30", "2026-11-01T06:00", "2026-11-01T07:00"),
    ],
)
def test_windows_follow_the_clock_of_their_zone(window: str, zone: str, at: str, start: str, end: str) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (at, start, end)]
    found = span(window, zone, None, moments[0])
    assert [found.start, found.end] == moments[1:]
