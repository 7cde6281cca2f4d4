"""The cockpit's pieces by themselves: periods, lines, trees of JSON, and what changed between two requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from console.charts import OTHER, Marks, lines, spark, stacked_bars
from console.chat import parsed
from console.display import percent, pretty
from console.json_tree import MOST_NODES, json_tree
from console.periods import EARLIEST, custom, period_of
from telemetry.admin.changes import compare

AT = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)


def test_periods_have_names_for_hours_days_and_months() -> None:
    spans = {key: (period_of(key, AT).start, period_of(key, AT).end) for key in ("1h", "24h", "month", "last_month")}
    assert spans == {
        "1h": (AT - timedelta(hours=1), AT),
        "24h": (AT - timedelta(days=1), AT),
        "month": (datetime(2026, 3, 1, tzinfo=UTC), AT),
        "last_month": (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)),
    }
    before = period_of("7d", AT).before
    assert (before.end, before.length) == (period_of("7d", AT).start, period_of("7d", AT).length)


def test_the_last_of_two_dates_belongs_to_the_period_and_an_address_says_it_again() -> None:
    found = custom("2025-05-01", "2025-05-03")
    assert (found.start, found.end) == (datetime(2025, 5, 1, tzinfo=UTC), datetime(2025, 5, 4, tzinfo=UTC))
    again = custom(found.query["start"], found.query["end"])
    assert (again.start, again.end) == (found.start, found.end)
    exact = custom("2025-05-01T10:00:00.250", "2025-05-01T12:00+02:00")
    assert exact.problem == "The end is before the beginning."
    assert custom("2025-05-01T10:00:00.250", "2025-05-01T10:00:01").query["start"] == "2025-05-01T10:00:00.250"


def test_wrong_dates_give_the_usual_period_and_say_why() -> None:
    wrong = [("", ""), ("soon", ""), ("9999-12-31", "9999-12-31"), ("2025-13-01", ""), ("1999-01-01", "2025-01-01")]
    for start, end in wrong:
        found = custom(start, end)
        assert found.problem
        assert found.key == "7d"
        assert found.start > EARLIEST


def test_lines_leave_gaps_and_mark_points_that_stand_alone() -> None:
    chart = lines("p95", ["a", "b", "c", "d"], {"x": [10.0, None, 20.0, 40.0]}, lambda v: f"{v}")
    [line] = chart.lines
    assert line.path == "M25 50.00L35 0.00"
    assert line.dots == "M5 75.00h0 M25 50.00h0 M35 0.00h0"
    assert chart.ticks == ("4E+1", "2E+1", "0")
    assert lines("p95", ["a"], {"x": [None]}, str).empty


def test_a_series_that_people_call_other_is_not_taken_for_the_rest() -> None:
    series = {f"m{n}": [Decimal(20 - n)] for n in range(9)} | {"other": [Decimal(100)]}
    chart = stacked_bars("Spend", ["Mon"], series, str, Marks(link=lambda name, i: str(name)))
    assert [key.name for key in (chart.keys[0], chart.keys[-1])] == ["other", "other"]
    assert (chart.keys[0].total, chart.keys[0].href) == ("100", "other")
    assert chart.keys[-1].href == "None"
    assert OTHER not in [key.name for key in chart.keys]


def test_a_spark_ends_where_its_values_end() -> None:
    assert spark([0, 1, 2]) == "M0 23.00L50 12.00L100 1.00"
    assert spark([5]) == spark([0, 0]) == ""


def test_percents_keep_the_digits_that_matter() -> None:
    assert [percent(v) for v in (0, 0.5, 0.0333, 0.0004, 1, None)] == ["0 %", "50 %", "3.3 %", "0.04 %", "100 %", "–"]


def test_a_tree_escapes_all_and_stops_at_its_limits() -> None:
    html = json_tree({"<b>": ["<i>", 1, None, True, {"role": "user", "x": "data:image/png;base64," + "A" * 900}]})
    assert "&lt;b&gt;" in html
    assert "&lt;i&gt;" in html
    assert "<b>" not in html
    assert "more characters" in html
    assert '<span class="pn-j-hint">user</span>' in html
    assert f"… {10} more: see the text" in json_tree(list(range(MOST_NODES + 10)))
    deep: list[object] = []
    for _ in range(500):
        deep = [deep]
    assert json_tree(deep).count("<details") < 100
    bottomless = "[" * 100_000 + "]" * 100_000
    assert (parsed(bottomless), pretty(bottomless)) == (None, bottomless)


def test_messages_that_were_compacted_away_are_removed_and_the_summary_added() -> None:
    old = [{"role": "user", "content": f"line {n}"} for n in range(4)]
    summary = {"role": "user", "content": "In short: lines."}
    found = compare({"messages": old}, {"messages": [summary, *old[2:]]})
    assert found.kept == 2
    assert [(change.kind, change.turn.texts) for change in found.messages] == [
        ("removed", ["line 0"]),
        ("removed", ["line 1"]),
        ("added", ["In short: lines."]),
    ]
    assert compare({"messages": old}, {"messages": old}).nothing
    assert compare(None, None).nothing
