"""What figures mean, what state follows, who hears of it: tables, without a clock or a database."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from telemetry.alerts.conditions import Finding, Outcome, judge
from telemetry.alerts.evaluate import cadence, next_due
from telemetry.alerts.metrics import METRICS, NOTHING, Figures
from telemetry.alerts.states import follow, is_told, worst
from telemetry.analytics import LatencyGroup
from telemetry.models import AlertRule
from telemetry.select import SUM_NAMES, Sums

UNKNOWN, PAUSED, OK, NO_DATA, WARNING, ALERT = "unknown", "paused", "ok", "no_data", "warning", "alert"


def sums(**given):
    return Figures(sums=Sums(**{**dict.fromkeys(SUM_NAMES, 0), "cost_usd": Decimal(0), **given}))


def rule(**given):
    return AlertRule(**{"name": "r", "metric": "cost_usd", "alert": Decimal(10), "warning": Decimal(5), **given})


def finding(outcome, calls=3):
    return Finding(Outcome(outcome), None, 0 if outcome == "empty" else calls, "")


@pytest.mark.parametrize(
    ("current", "outcome", "no_data", "after"),
    [
        # Judged figures decide alone, whatever was before.
        *[(before, o, "keep", o) for before in (UNKNOWN, PAUSED, OK, NO_DATA, WARNING, ALERT) for o in (OK, WARNING, ALERT)],
        # Before a first call is seen, silence means nothing: no page, whatever is set.
        *[(before, "empty", mode, UNKNOWN) for before in (UNKNOWN, PAUSED) for mode in ("keep", "ok", "no_data", "alert")],
        *[(before, "few", mode, UNKNOWN) for before in (UNKNOWN, PAUSED) for mode in ("keep", "ok", "no_data", "alert")],
        # Silence after that, as it is set.
        *[(before, "empty", "keep", before) for before in (OK, NO_DATA, WARNING, ALERT)],
        *[(before, "empty", "ok", OK) for before in (OK, NO_DATA, WARNING, ALERT)],
        *[(before, "empty", "no_data", NO_DATA) for before in (OK, NO_DATA, WARNING, ALERT)],
        *[(before, "empty", "alert", ALERT) for before in (OK, NO_DATA, WARNING, ALERT)],
        # Too few calls are no silence: they never raise, and prove nothing.
        *[(before, "few", mode, before) for before in (OK, WARNING, ALERT) for mode in ("keep", "no_data", "alert")],
        *[(before, "few", "ok", OK) for before in (OK, NO_DATA, WARNING, ALERT)],
        # Without history nothing is known.
        *[(before, "no_history", "alert", UNKNOWN) for before in (UNKNOWN, OK, WARNING, ALERT)],
    ],
)  # fmt: skip
def test_every_finding_leads_from_every_state_to_one_state(current, outcome, no_data, after):
    assert follow(current, finding(outcome), no_data) == after


def test_a_new_rule_against_silence_stays_unknown_until_a_first_call_though_nothing_counts_as_zero():
    lull = rule(metric="calls", operator="lt", alert=Decimal(1), warning=None)
    found = judge(lull, NOTHING)
    assert (found.outcome, found.value) == (Outcome.ALERT, 0)
    assert follow(UNKNOWN, found, "keep") == UNKNOWN
    assert follow(OK, found, "keep") == ALERT


TOLD = {
    (OK, WARNING), (OK, ALERT), (OK, NO_DATA), (UNKNOWN, WARNING), (UNKNOWN, ALERT), (PAUSED, WARNING), (PAUSED, ALERT),
    (WARNING, ALERT), (ALERT, WARNING), (NO_DATA, WARNING), (NO_DATA, ALERT), (WARNING, NO_DATA), (ALERT, NO_DATA),
    (WARNING, OK), (ALERT, OK), (NO_DATA, OK),
}  # fmt: skip


def test_states_are_told_at_their_edges_and_nowhere_else():
    every = (UNKNOWN, PAUSED, OK, NO_DATA, WARNING, ALERT)
    assert {(a, b) for a in every for b in every if is_told(a, b, tell_recovery=True)} == TOLD
    silent = {(a, b) for a in every for b in every if is_told(a, b, tell_recovery=False)}
    assert silent == {(a, b) for a, b in TOLD if b != OK}


def test_the_state_of_a_rule_is_its_worst_group_s():
    assert worst([OK, NO_DATA, WARNING, UNKNOWN]) == WARNING
    assert worst([UNKNOWN, OK]) == OK
    assert worst([]) == UNKNOWN


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("gt", {"5": OK, "5.000001": WARNING, "10": WARNING, "11": ALERT}),
        ("gte", {"4.9": OK, "5": WARNING, "10": ALERT}),
    ],
)
def test_a_value_is_compared_with_both_limits(operator, values):
    for value, wanted in values.items():
        found = judge(rule(operator=operator), sums(calls=1, cost_usd=Decimal(value)))
        assert (value, found.outcome.value) == (value, wanted)


def test_limits_from_below():
    watched = rule(operator="lte", warning=Decimal(5), alert=Decimal(1))
    wanted = {"6": OK, "5": WARNING, "1": ALERT, "0": ALERT}
    for value, state in wanted.items():
        assert judge(watched, sums(calls=1, cost_usd=Decimal(value))).outcome.value == state


def test_every_metric_reads_its_own_figure():
    figures = sums(
        calls=8, errors=2, cost_usd=Decimal("1.5"), prompt_tokens=200, completion_tokens=7, total_tokens=207,
        input_tokens=100, cached_input_tokens=50, cache_write_tokens=50, unpriced_calls=3,
    )  # fmt: skip
    spans = Figures(latency=LatencyGroup(None, (), 5, 1.0, 2.0, 3.0, 4.0, None, 6.0))
    wanted = {
        "cost_usd": "1.5", "calls": "8", "errors": "2", "error_rate": "25", "total_tokens": "207", "input_tokens": "100",
        "completion_tokens": "7", "cached_input_tokens": "50", "cache_write_tokens": "50", "cache_hit_rate": "25",
        "unpriced_calls": "3", "latency_p50": "1", "latency_p95": "2", "latency_p99": "3", "ttft_p50": "4",
        "ttft_p95": None, "ttft_p99": "6",
    }  # fmt: skip
    assert set(wanted) == set(METRICS)
    for name, value in wanted.items():
        found = METRICS[name].value(spans if METRICS[name].of_latency else figures)
        assert (name, found) == (name, None if value is None else Decimal(value))


def test_few_calls_are_not_judged():
    watched = rule(metric="error_rate", minimum_calls=20)
    assert judge(watched, sums(calls=19, errors=19)).outcome is Outcome.FEW
    assert judge(watched, sums(calls=20, errors=20)).outcome is Outcome.ALERT
    assert judge(watched, NOTHING).outcome is Outcome.EMPTY


def weeks(*costs):
    return [NOTHING if cost is None else sums(calls=1, cost_usd=Decimal(cost)) for cost in costs]


@pytest.mark.parametrize(
    ("given", "value", "past", "wanted"),
    [
        ({"spread": "times"}, "2.9", ("1", "1", "1.2", "0.8"), OK),
        ({"spread": "times"}, "3.1", ("1", "1", "1.2", "0.8"), WARNING),
        ({"spread": "times"}, "5.1", ("1", "1", "1.2", "0.8"), ALERT),
        ({"spread": "times"}, "5.1", ("1", "1", "1.2"), ALERT),
        ({"spread": "times"}, "5.1", ("1", "1"), "no_history"),
        ({"spread": "times"}, "5.1", ("1", "1", None, None), "no_history"),
        ({"spread": "times"}, "0.4", (None, None, "0.1", None), OK),  # quiet weeks count from the oldest with calls
        ({"spread": "times"}, "0.6", (None, None, "0.1", None), ALERT),  # and the minimum stands in for their median
        ({"spread": "deviations"}, "11.4", ("10", "11", "9", "10"), OK),  # the median 10, the deviation 0.5
        ({"spread": "deviations"}, "11.6", ("10", "11", "9", "10"), WARNING),
        ({"spread": "deviations"}, "12.6", ("10", "11", "9", "10"), ALERT),
        ({"spread": "deviations"}, "11.4", ("10", "10", "10", "10"), OK),  # no deviation at all counts as 5 %
        ({"operator": "lt", "spread": "times"}, "1.9", ("10", "11", "9", "10"), ALERT),
        ({"operator": "lt", "spread": "times"}, "2.1", ("10", "11", "9", "10"), WARNING),
        ({"operator": "lt", "spread": "times"}, "0.01", ("0.4", "0.4", "0.4", "0.4"), OK),  # too small to be missed
    ],
)
def test_an_anomaly_is_measured_by_the_past_weeks(given, value, past, wanted):
    watched = rule(
        **{"kind": "anomaly", "warning": Decimal(3), "alert": Decimal(5), "minimum_value": Decimal("0.5"), **given}
    )
    found = judge(watched, sums(calls=1, cost_usd=Decimal(value)), weeks(*past))
    assert found.outcome.value == wanted


def test_an_anomaly_says_the_figures_it_was_measured_by():
    watched = rule(kind="anomaly", warning=None, alert=Decimal(3), minimum_value=Decimal("0.1"))
    found = judge(watched, sums(calls=4, cost_usd=Decimal("12.4")), weeks("1", "1.2", None, "0.8"))
    assert found.said == "$12.40, alert above $2.70 (past weeks $1.00, $1.20, $0, $0.80; median $0.90)"


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(5, 60), (60, 60), (180, 300), (1_440, 1_800), (10_080, 10_800), (43_200, 43_200)]
)
def test_a_long_window_is_judged_less_often_and_rules_spread_over_the_time(minutes, seconds):
    assert cadence(minutes) == seconds
    at = datetime(2026, 11, 2, 10, 0, 30, tzinfo=UTC)
    due = [next_due(rule(window_minutes=minutes), at) for _ in range(40)]
    assert all(0 < (when - at).total_seconds() <= seconds for when in due)
    assert len(set(due)) > 15
    one = rule(window_minutes=minutes)
    assert (next_due(one, next_due(one, at)) - next_due(one, at)).total_seconds() == seconds
