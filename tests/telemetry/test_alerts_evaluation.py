"""Rules judged on calls in a real ClickHouse; time is moved by passing it."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from telemetry.alerts import rules
from telemetry.alerts.evaluate import evaluate_due
from telemetry.alerts.preview import preview
from telemetry.client import connect
from telemetry.models import AlertChannel, AlertDelivery, AlertEvent, AlertRule, AlertState
from telemetry.trace import COLUMNS, CallEnd, CallStart, end_row, start_row

NOON = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
NOWHERE = "clickhouse://127.0.0.1:9/none"
INSERT = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES"

pytestmark = pytest.mark.django_db


@pytest.fixture
def calls(clickhouse, tenant):
    """`calls(at, 3, cost="0.5", model="m")`: so many calls at that moment."""
    client = connect(clickhouse)

    def insert(at, number=1, cost="1", error="", organization=tenant.organization.pk, **given):
        rows = []
        for _ in range(number):
            start = CallStart(
                **{
                    "id": str(uuid.uuid4()), "organization_id": organization, "call_type": "agent_step",
                    "provider": "openai", "model": "gpt-x", "created_at": at, "request_json": b"", **given,
                }
            )  # fmt: skip
            end = CallEnd(
                cost_usd=None if cost is None else Decimal(cost), error_type=error, latency_ms=700, input_tokens=10
            )
            rows.append([*start_row(start), *end_row(end)])
        client.execute(INSERT, [list(column) for column in zip(*rows, strict=True)], columnar=True)

    yield insert
    client.disconnect()


@pytest.fixture
def channel(tenant):
    return AlertChannel.objects.create(
        organization=tenant.organization, name="ops", kind="webhook", address="https://example.com/h", secret="s"
    )


@pytest.fixture
def make_rule(tenant, channel):
    def make(**given):
        known = {
            "name": "Spend",
            "metric": "cost_usd",
            "alert": Decimal(10),
            "warning": Decimal(5),
            "window_minutes": 60,
        }
        rule = AlertRule.objects.create(
            **{"organization": tenant.organization, "next_due_at": NOON - timedelta(days=60), **known, **given}
        )
        rule.channels.set([channel])
        return rule

    return make


def states(rule):
    return dict(AlertState.objects.filter(rule=rule).values_list("group", "state"))


def told():
    return [d.message["title"] for d in AlertDelivery.objects.order_by("created_at")]


def judge(rule, at):
    """As if it were due at that time."""
    AlertRule.objects.filter(pk=rule.pk).update(next_due_at=at)
    evaluate_due(at)
    rule.refresh_from_db()
    return rule.state


def test_a_rule_goes_through_its_states_and_tells_each_edge_once(calls, make_rule):
    rule = make_rule()
    assert judge(rule, NOON) == "unknown"
    calls(NOON, 2)
    assert judge(rule, NOON + MINUTE) == "ok"
    calls(NOON + MINUTE, 4)
    assert judge(rule, NOON + 2 * MINUTE) == "warning"
    calls(NOON + 2 * MINUTE, 20)
    assert judge(rule, NOON + 3 * MINUTE) == "alert"
    assert judge(rule, NOON + 4 * MINUTE) == "alert"
    assert judge(rule, NOON + 90 * MINUTE) == "alert"  # silence keeps the state
    calls(NOON + 91 * MINUTE, 1)
    assert judge(rule, NOON + 92 * MINUTE) == "ok"
    assert told() == ["Warning: Spend", "Alert: Spend", "Recovered: Spend"]
    body = AlertDelivery.objects.order_by("created_at")[1].message["body"]
    assert body == "Cost of the last hour: $26.00, alert above $10.00"
    history = [(e.before, e.after, e.told) for e in AlertEvent.objects.filter(rule=rule).order_by("at")]
    assert history == [
        ("unknown", "ok", False), ("ok", "warning", True), ("warning", "alert", True), ("alert", "ok", True),
    ]  # fmt: skip
    assert (rule.last_value, rule.raised, rule.evaluated_at) == (1, 0, NOON + 92 * MINUTE)


@pytest.mark.parametrize(
    ("mode", "state", "titles"),
    [
        ("keep", "ok", []),
        ("ok", "ok", []),
        ("no_data", "no_data", ["No data: Spend"]),
        ("alert", "alert", ["Alert: Spend"]),
    ],
)
def test_silence_does_what_the_rule_says(calls, make_rule, mode, state, titles):
    rule = make_rule(no_data=mode)
    calls(NOON - MINUTE)
    assert judge(rule, NOON) == "ok"
    assert judge(rule, NOON + timedelta(hours=2)) == state
    assert told() == titles


def test_a_rule_that_never_saw_a_call_pages_nobody(calls, make_rule):
    quiet = [make_rule(no_data=mode) for mode in ("alert", "no_data")]
    quiet.append(make_rule(metric="calls", operator="lt", warning=None, alert=1))
    assert {judge(rule, NOON) for rule in quiet} == {"unknown"}
    assert told() == []


def test_an_alert_is_repeated_as_often_as_the_rule_says_and_no_more(calls, make_rule):
    rule = make_rule(reminder_minutes=60, window_minutes=1_440)
    calls(NOON - MINUTE, 11)
    for minutes in (0, 30, 59, 60, 90, 119, 121):
        assert judge(rule, NOON + minutes * MINUTE) == "alert"
    assert told() == ["Alert: Spend", "Alert still: Spend", "Alert still: Spend"]


def test_each_group_has_a_state_of_its_own_and_one_message_tells_of_all(calls, make_rule):
    rule = make_rule(group_by="model", name="Spend per model")
    calls(NOON - MINUTE, 11, model="dear")
    calls(NOON - MINUTE, 12, model="dearer")
    calls(NOON - MINUTE, 1, model="cheap")
    assert judge(rule, NOON) == "alert"
    assert states(rule) == {"dear": "alert", "dearer": "alert", "cheap": "ok"}
    assert (rule.raised, rule.last_value) == (2, 12)
    assert told() == ["Alert: Spend per model in 2 groups"]
    message = AlertDelivery.objects.get().message
    assert sorted(message["body"].splitlines()) == [
        "model dear: Cost of the last hour: $11.00, alert above $10.00",
        "model dearer: Cost of the last hour: $12.00, alert above $10.00",
    ]
    assert {event["group"]["model"]: event["value"] for event in message["data"]["events"]} == {
        "dear": "11",
        "dearer": "12",
    }
    calls(NOON + 60 * MINUTE, 1, model="dear")
    judge(rule, NOON + 61 * MINUTE)
    assert states(rule) == {"dear": "ok", "dearer": "alert", "cheap": "ok"}
    assert told()[1:] == ["Recovered: Spend per model for model dear"]


def test_filters_narrow_and_other_organizations_never_count(calls, make_rule, stranger):
    rule = make_rule(filters={"model": "gpt-x", "is_byok": "false", "tag": "demo"})
    fits = {"model": "gpt-x", "agent_tags": ("demo",)}
    calls(NOON - MINUTE, 3, **fits)
    calls(NOON - MINUTE, 20, **{**fits, "model": "gpt-y"})
    calls(NOON - MINUTE, 20, **{**fits, "provider_category": "byok"})
    calls(NOON - MINUTE, 20, model="gpt-x")
    calls(NOON - MINUTE, 20, organization=stranger.organization.pk, **fits)
    judge(rule, NOON)
    assert (rule.state, rule.last_value) == ("ok", 3)
    whole = make_rule(organization=None, filters=rule.filters, group_by="organization")
    judge(whole, NOON)
    mine, theirs = rule.organization_id, stranger.organization.pk
    assert states(whole) == {mine: "ok", theirs: "alert"}


def test_calls_that_failed_do_not_count_as_unpriced_nor_in_latency(calls, make_rule):
    unpriced = make_rule(metric="unpriced_calls", warning=None, alert=1)
    slow = make_rule(metric="latency_p95", warning=None, alert=1)
    calls(NOON - MINUTE, 3, cost=None, error="Overloaded")
    judge(unpriced, NOON)
    judge(slow, NOON)
    assert (unpriced.state, slow.state) == ("unknown", "unknown")
    calls(NOON - MINUTE, 2, cost=None)
    judge(unpriced, NOON)
    judge(slow, NOON)
    assert (unpriced.state, unpriced.last_value) == ("alert", 2)
    assert (slow.state, slow.last_value) == ("alert", 700)


def test_an_anomaly_compares_with_the_same_hour_of_the_past_weeks(calls, make_rule):
    rule = make_rule(kind="anomaly", warning=None, alert=3, minimum_value=Decimal("0.5"))
    calls(NOON - timedelta(weeks=1, minutes=10), 2)
    calls(NOON - timedelta(weeks=2, minutes=10), 3)
    calls(NOON - timedelta(days=3), 90)  # another hour of another day
    calls(NOON - timedelta(weeks=1, hours=3), 90)  # another hour of the same day
    calls(NOON - MINUTE, 7)
    assert judge(rule, NOON) == "unknown"
    said = "$7.00, and only 2 past weeks to compare with: 3 are needed"
    assert AlertState.objects.get(rule=rule).said == said
    calls(NOON - timedelta(weeks=4, minutes=10), 2)
    assert judge(rule, NOON + MINUTE) == "alert"
    said = "$7.00, alert above $6.00 (past weeks $2.00, $3.00, $0, $2.00; median $2.00)"
    assert AlertState.objects.get(rule=rule).said == said
    assert told() == ["Alert: Spend"]
    calls(NOON + timedelta(days=7), 5)
    assert judge(rule, NOON + timedelta(days=7, minutes=1)) == "ok"


def test_with_clickhouse_away_the_state_is_kept_and_nobody_is_paged(calls, make_rule, settings):
    rule = make_rule(no_data="alert")
    calls(NOON - MINUTE, 6)
    assert judge(rule, NOON) == "warning"
    there, settings.CLICKHOUSE_URL = settings.CLICKHOUSE_URL, NOWHERE
    for minutes in (1, 2, 3):
        assert judge(rule, NOON + minutes * MINUTE) == "warning"
    assert "did not answer" in rule.problem
    assert rule.problem_at == NOON + MINUTE
    assert rule.next_due_at > NOON + 3 * MINUTE
    assert told() == ["Warning: Spend"]
    assert AlertEvent.objects.filter(rule=rule, said__startswith="Cannot be evaluated").count() == 1
    settings.CLICKHOUSE_URL = there
    assert judge(rule, NOON + 4 * MINUTE) == "warning"
    assert rule.problem == ""
    assert told() == ["Warning: Spend"]


def test_a_paused_rule_is_not_judged_and_begins_anew_when_it_wakes(calls, make_rule):
    rule = make_rule()
    calls(NOON - MINUTE, 11)
    assert judge(rule, NOON) == "alert"
    rules.change_rule(rule_with(rule, paused_until=NOON + 30 * MINUTE), {"paused_until"}, "user-1")
    assert judge(rule, NOON + MINUTE) == "paused"
    assert states(rule) == {"": "paused"}
    assert rule.next_due_at == NOON + 30 * MINUTE
    evaluate_due(NOON + 10 * MINUTE)
    assert told() == ["Alert: Spend"]
    evaluate_due(NOON + 30 * MINUTE)
    assert told() == ["Alert: Spend", "Alert: Spend"]
    rules.change_rule(rule_with(rule, enabled=False, paused_until=None), {"enabled", "paused_until"}, "user-1")
    assert judge(rule, NOON + 40 * MINUTE) == "paused"
    assert rule.next_due_at is None


def rule_with(rule, **changes):
    fresh = AlertRule.objects.get(pk=rule.pk)
    for name, value in changes.items():
        setattr(fresh, name, value)
    return fresh


def test_a_rule_that_means_something_else_begins_anew_and_keeps_its_history(calls, make_rule):
    rule = make_rule()
    calls(NOON - MINUTE, 11)
    judge(rule, NOON)
    rules.change_rule(rule_with(rule, metric="errors"), {"metric"}, "user-1")
    rule.refresh_from_db()
    assert (rule.state, states(rule), rule.raised) == ("unknown", {}, 0)
    assert AlertEvent.objects.filter(rule=rule).count() == 2
    assert judge(rule, NOON + MINUTE) == "ok"


def test_rules_of_one_shape_share_one_question(calls, make_rule, monkeypatch):
    asked = []
    from telemetry.alerts import measure

    real = measure.usage
    monkeypatch.setattr(measure, "usage", lambda question: asked.append(question) or real(question))
    made = [make_rule(metric=metric, name=metric) for metric in ("cost_usd", "calls", "errors", "error_rate")]
    made.append(make_rule(filters={"model": "other"}))
    calls(NOON - MINUTE, 2)
    assert evaluate_due(NOON).judged == 5
    assert len(asked) == 2
    assert evaluate_due(NOON).judged == 0  # none is due again
    assert AlertRule.objects.filter(next_due_at__gt=NOON, claimed_until=None).count() == 5


def test_what_was_judged_under_a_lost_claim_is_thrown_away(calls, make_rule, monkeypatch):
    """Another worker took the rule over, or somebody edited it, while ClickHouse was thinking."""
    from telemetry.alerts import evaluate

    rule = make_rule()
    calls(NOON - MINUTE, 11)
    real = evaluate.measure

    def slow(shape, at):
        rules.change_rule(rule_with(rule, alert=Decimal(1000), warning=None), {"alert", "warning"}, "user-1")
        AlertRule.objects.filter(pk=rule.pk).update(next_due_at=NOON + MINUTE)
        return real(shape, at)

    monkeypatch.setattr(evaluate, "measure", slow)
    assert evaluate_due(NOON).judged == 0
    assert told() == []
    monkeypatch.setattr(evaluate, "measure", real)
    assert judge(rule, NOON + MINUTE) == "ok"


def test_a_claimed_rule_is_nobody_else_s_until_the_lease_ends(calls, make_rule):
    rule = make_rule()
    calls(NOON - MINUTE, 1)
    AlertRule.objects.filter(pk=rule.pk).update(claimed_until=NOON + MINUTE)  # by a worker that has died
    assert evaluate_due(NOON).judged == 0
    assert evaluate_due(NOON + 2 * MINUTE).judged == 1


def test_the_time_of_one_run_is_bounded_and_what_is_left_is_taken_by_the_next(calls, make_rule):
    for number in range(3):
        make_rule(filters={"model": f"m{number}"})
    first = evaluate_due(NOON, seconds=0)
    assert (first.judged, first.put_off) == (0, 3)
    assert evaluate_due(NOON).judged == 3


def test_a_group_that_is_gone_for_long_is_forgotten(calls, make_rule):
    rule = make_rule(group_by="agent")
    calls(NOON - MINUTE, 1, agent_id="agent-gone")
    calls(NOON - MINUTE, 11, agent_id="agent-raised")
    judge(rule, NOON)
    judge(rule, NOON + timedelta(days=36))
    assert states(rule) == {"agent-raised": "alert"}


def test_the_preview_says_what_the_rule_would_have_said(calls, make_rule):
    rule = make_rule(group_by="model")
    calls(NOON - timedelta(hours=5, minutes=10), 1, model="a")
    calls(NOON - timedelta(hours=3, minutes=10), 11, model="a")
    calls(NOON - timedelta(hours=1, minutes=10), 2, model="a")
    calls(NOON - timedelta(minutes=10), 6, model="b")
    found = preview(rule, NOON)
    assert found.groups == ("a", "b")
    assert len(found.windows) == 24
    of_a = [w[0].state for w in found.windows][-6:]
    assert of_a == ["ok", "ok", "alert", "alert", "ok", "ok"]
    assert [w[1].state for w in found.windows][-2:] == ["unknown", "warning"]
    assert (found.messages, found.cut) == (3, False)
    assert found.values("a")[-4:] == [11, None, 2, None]
    assert not AlertState.objects.exists()
    assert told() == []


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_judge_each_rule_once_and_tell_it_once(calls, make_rule):
    from concurrent.futures import ThreadPoolExecutor

    from tests.support.elsewhere import closing

    for number in range(12):
        make_rule(name=f"rule {number}", filters={"model": f"m{number % 4}"})
    for number in range(4):
        calls(NOON - MINUTE, 11, model=f"m{number}")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: closing(lambda: evaluate_due(NOON)), range(4)))
    assert sum(run.judged for run in done) == 12
    assert AlertEvent.objects.count() == 12
    assert sorted(told()) == sorted(f"Alert: rule {number}" for number in range(12))


def test_a_rule_that_breaks_silences_no_other(calls, make_rule):
    broken = [make_rule(filters={"weather": "rain"}), make_rule(metric="gone")]
    sound = make_rule(filters={"model": "gpt-x"})
    calls(NOON - MINUTE, 11)
    done = evaluate_due(NOON)
    assert (done.judged, done.failed) == (1, 2)
    sound.refresh_from_db()
    assert sound.state == "alert"
    for rule in broken:
        rule.refresh_from_db()
        assert rule.problem
        assert (rule.state, rule.claimed_until) == ("unknown", None)
        assert rule.next_due_at > NOON
