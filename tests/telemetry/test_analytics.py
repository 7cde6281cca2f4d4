"""Sums and times by any two dimensions: equal to what Python counts, whatever tables answer; hostile input is refused."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from core.errors import Invalid
from telemetry.analytics import DIMENSIONS, INTERVALS, ORDERS, Question, answers, interval_starts, latency, usage
from telemetry.analytics.sources import pieces
from telemetry.calls import Wanted, list_calls
from telemetry.client import pool
from telemetry.select import SUM_NAMES
from telemetry.trace import COLUMNS, CallEnd, end_row, start_row

INSERT = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES"
MINE, OTHERS = "org-mine", "org-others"
FIRST, LAST = datetime(2026, 10, 23, 21, 30, tzinfo=UTC), datetime(2026, 10, 27, 3, 15, tzinfo=UTC)  # clocks go back
HOSTILE = "a'b\\c\n\t{org:String} --"


def _calls(make_call, number):
    dice = Random(7)
    for n in range(number):
        start = make_call(
            id=f"call-{n}",
            organization_id=dice.choice([MINE, MINE, OTHERS]),
            project_id=dice.choice(["", "project-1"]),
            agent_id=dice.choice(["agent-1", "agent-2", HOSTILE]),
            agent_tags=dice.choice([(), ("a",), ("a", "b"), ("b",)]),
            model=dice.choice(["gpt-x", "gpt-y", "claude"]),
            provider=dice.choice(["openai", "anthropic"]),
            provider_category=dice.choice(["base", "byok"]),
            provider_key_id=dice.choice(["", "provider-1"]),
            call_type=dice.choice(["agent_step", "summarization"]),
            api_key_id=dice.choice(["key-1", "key-2"]),
            identity_id=dice.choice(["", "identity-1"]),
            created_at=FIRST + (LAST - FIRST) * dice.random(),
        )
        failed = dice.random() < 0.2
        end = CallEnd(
            input_tokens=dice.randint(1, 10**6),
            cache_read_tokens=dice.choice([None, 5, 10**6]),
            output_tokens=dice.randint(0, 9999),
            reasoning_tokens=dice.choice([None, 3]),
            usage_estimated=dice.random() < 0.1,
            cost_usd=None if failed else Decimal(dice.randint(1, 10**13)) / 10**12,
            price_source="unpriced" if failed else "list",
            latency_ms=dice.randint(1, 60_000),
            ttft_ms=dice.choice([None, 7, 70]),
            error_type=dice.choice(["Timeout", "Overloaded"]) if failed else "",
        )
        yield [*start_row(start), *end_row(end)]


@pytest.fixture
def stored(traces, traces_url, make_call, settings):
    """The rows, each a dict, as they are in the table."""
    settings.CLICKHOUSE_URL = traces_url
    rows = list(_calls(make_call, 500))
    traces.execute(INSERT, [list(column) for column in zip(*rows, strict=True)], columnar=True)
    yield [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    pool().close()


def _values(row, name):
    dimension = DIMENSIONS[name]
    value = row[dimension.column]
    if dimension.is_list:
        return sorted(set(value)) or [""]
    return ["true" if value else "false"] if dimension.is_flag else [value]


def _matches(row, name, wanted):
    return bool(set(_values(row, name)) & set([wanted] if isinstance(wanted, str) else wanted))


def _sums(rows):
    cost = [Decimal(r["cost_usd"]) for r in rows if r["cost_usd"] is not None]
    plain = {name: sum(r[name] or 0 for r in rows) for name in COLUMNS if name.endswith("_tokens")}
    return {
        **{name: plain[name] for name in SUM_NAMES if name in plain},
        "calls": len(rows),
        "errors": sum(r["is_error"] for r in rows),
        "estimated_calls": sum(r["usage_estimated"] for r in rows),
        "unpriced_calls": len(rows) - len(cost),
        "cost_usd": sum(cost, Decimal(0)),
        "latency_ms_sum": sum(r["latency_ms"] for r in rows),
        "ttft_ms_sum": sum(r["ttft_ms"] or 0 for r in rows),
        "ttft_calls": sum(r["ttft_ms"] is not None for r in rows),
    }


def counted(rows, question):
    """What usage() must say, by a way of its own: {(at, values): sums}, without the limit."""
    local = ZoneInfo(question.time_zone)
    groups = defaultdict(list)
    for row in rows:
        at = datetime.fromtimestamp(row["created_at"] / 1000, UTC)
        if not question.start <= at < question.end or question.organization_id not in (None, row["organization_id"]):
            continue
        if not all(_matches(row, name, wanted) for name, wanted in question.filters.items()):
            continue
        begin = _begin(at.astimezone(local), question.interval)
        places = [()]
        for name in question.dimensions:
            places = [(*place, value) for place in places for value in _values(row, name)]
        for place in places:
            groups[begin, place].append(row)
    return {key: _sums(found) for key, found in groups.items()}


def _begin(at, interval):
    if not interval:
        return None
    if interval == "hour":
        return at.replace(minute=0, second=0, microsecond=0)
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    back = {"day": 0, "week": midnight.weekday(), "month": midnight.day - 1}[interval]
    return midnight - timedelta(days=back)


def told(groups):
    return {(g.at, g.values): {name: getattr(g.sums, name) for name in SUM_NAMES} for g in groups}


moments = st.one_of(
    st.datetimes(datetime(2026, 10, 23), datetime(2026, 10, 28), timezones=st.just(UTC)),
    st.dates(FIRST.date(), LAST.date()).map(lambda day: datetime(day.year, day.month, day.day, tzinfo=UTC)),
)
questions = st.builds(
    lambda ends, **rest: (min(ends), max(ends) + timedelta(milliseconds=1), rest),
    st.tuples(moments, moments),
    organization_id=st.sampled_from([MINE, OTHERS, None, "org-none"]),
    dimensions=st.lists(st.sampled_from(sorted(DIMENSIONS)), max_size=2, unique=True).map(tuple),
    interval=st.sampled_from(INTERVALS),
    time_zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    filters=st.sampled_from(
        [{}, {}, {"model": ["gpt-x", "claude"]}, {"agent": HOSTILE}, {"is_byok": "true"}, {"tag": ["b", ""]}]
    ),
)


def _rounded(at):
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def test_groups_equal_what_python_counts_for_any_two_dimensions_interval_and_zone(stored):
    @given(questions)
    @effort(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @example(
        (
            FIRST,
            LAST,
            {
                "organization_id": None,
                "dimensions": ("organization", "model"),
                "interval": "day",
                "time_zone": "Europe/Berlin",
                "filters": {},
            },
        )
    )
    def check(asked):
        start, end, rest = asked
        question = Question(start=_rounded(start), end=_rounded(end), limit=10_000, **rest)
        assert told(usage(question)) == counted(stored, question)

    check()


@pytest.mark.parametrize("by", [("agent",), ("agent", "model"), ("model", "call_type"), ("end_user", "api_key")])
@pytest.mark.parametrize("interval", ["", "day"])
def test_what_is_beyond_the_limit_is_one_group_so_that_totals_stay_right(stored, by, interval):
    for rest in ({}, {"time_zone": "Europe/Berlin", "filters": {"project": ["project-1"]}}):
        asked = Question(MINE, FIRST, LAST, by, interval, order_by="calls", limit=1, **rest)
        groups = usage(asked)
        ranked = counted(stored, replace(asked, interval=""))
        [alone] = {g.values for g in groups if not g.is_other}
        assert ranked[None, alone]["calls"] == max(sums["calls"] for sums in ranked.values())
        whole = counted(stored, asked)
        others = {at: [sums for (when, _), sums in whole.items() if when == at] for at, _ in whole}
        assert any(g.is_other for g in groups)
        for group in groups:
            told = whole.get((group.at, alone), dict.fromkeys(SUM_NAMES, 0))
            rest_of_it = {n: sum(sums[n] for sums in others[group.at]) - told[n] for n in SUM_NAMES}
            wanted = rest_of_it if group.is_other else told
            assert {name: getattr(group.sums, name) for name in SUM_NAMES} == wanted
            assert group.values == ((("",) * len(by)) if group.is_other else alone)


@pytest.mark.parametrize("by", [("tag",), ("tag", "agent"), ("agent", "tag")])
def test_tags_beyond_the_limit_are_one_group_too(stored, by):
    groups = usage(Question(MINE, FIRST, LAST, by, "day", order_by="calls", limit=2))
    whole = counted(stored, Question(MINE, FIRST, LAST, by, "day"))
    assert len({g.values for g in groups if not g.is_other}) == 2
    for group in groups:
        if not group.is_other:
            assert group.sums.calls == whole[group.at, group.values]["calls"]
    assert sum(g.sums.cost_usd for g in groups) == sum(s["cost_usd"] for s in whole.values())


def _price_anew(traces):
    """All calls of gpt-x: a dollar more."""
    columns = ", ".join(c for c in COLUMNS if c not in ("cost_usd", "price_source"))
    traces.execute(
        f"INSERT INTO llm_repricings ({columns}, cost_usd, price_source, old_cost_usd, old_price_source, repricing_id,"
        f" repriced_at) SELECT {columns}, ifNull(t.cost_usd, 0) + 1, 'override', t.cost_usd, t.price_source, 'job',"
        " now64() FROM llm_traces AS t WHERE t.model = 'gpt-x'"
    )


def test_calls_are_listed_by_the_price_source_that_they_were_written_with(stored, traces):
    _price_anew(traces)
    filters = {"model": ["gpt-x"], "price_source": ["unpriced"]}
    page = list_calls(Wanted(organization_id=MINE, start=FIRST, end=LAST, filters=filters), limit=500)
    ours = [row for row in stored if row["organization_id"] == MINE and row["model"] == "gpt-x"]
    assert {row.id for row in page.rows} == {row["id"] for row in ours if row["price_source"] == "unpriced"} != set()


def test_amounts_are_those_that_hold_since_the_last_re_pricing_at_the_edges_too(stored, traces):
    _price_anew(traces)
    for row in stored:
        if row["model"] == "gpt-x":
            row |= {"cost_usd": Decimal(row["cost_usd"] or 0) + 1, "price_source": "override"}
    for by in (("price_source",), ("model",), ("price_source", "agent"), ("conversation",)):
        question = Question(MINE, FIRST, LAST, by, "day", limit=1000)
        assert told(usage(question)) == counted(stored, question)
    left = Question(MINE, FIRST, LAST, ("model",), filters={"price_source": "unpriced"})
    assert told(usage(left)) == counted(stored, left)
    assert sum(g.calls for g in latency(Question(MINE, FIRST, LAST, ("price_source",)))) == sum(
        r["organization_id"] == MINE and not r["is_error"] for r in stored
    )


def test_sums_answer_the_middle_and_rows_the_edges():
    asked = Question(MINE, FIRST, LAST, ("model",), "day")
    hour = 3_600_000
    assert {p.source.table: [end - start for start, end in p.spans] for p in pieces(asked)} == {
        "llm_usage_daily": [3 * 24 * hour],
        "llm_usage_hourly": [2 * hour, 3 * hour],
        "llm_traces": [hour // 2, hour // 4],
        "llm_corrections": [hour // 2, hour // 4],
    }
    berlin = Question(MINE, FIRST, LAST, ("model",), "day", time_zone="Europe/Berlin")
    assert {p.source.table for p in pieces(berlin)} == {"llm_usage_hourly", "llm_traces", "llm_corrections"}
    kolkata = Question(MINE, FIRST, LAST, ("model",), "day", time_zone="Asia/Kolkata")
    assert {p.source.table for p in pieces(kolkata)} == {"llm_traces", "llm_corrections"}


@pytest.mark.parametrize(
    ("zone", "first", "interval", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), "day", [25, 24]),
        ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), "day", [23, 24]),
        ("Africa/Cairo", datetime(2026, 4, 22, 22, tzinfo=UTC), "day", [24, 23]),  # midnight itself is skipped
        ("Europe/Berlin", datetime(2026, 10, 25, 0, tzinfo=UTC), "hour", [1, 1]),  # 02:00 twice
        ("Europe/Berlin", datetime(2026, 10, 18, 22, tzinfo=UTC), "week", [169, 168]),
        ("UTC", datetime(2026, 1, 31, tzinfo=UTC), "month", [744, 672]),
    ],
)
def test_intervals_are_those_of_the_zone_also_where_its_clocks_change(zone, first, interval, hours):
    starts = interval_starts(Question(None, first, first + timedelta(days=70), (), interval, {}, zone))
    lengths = [(b.astimezone(UTC) - a.astimezone(UTC)) / timedelta(hours=1) for a, b in pairwise(starts)]
    if interval == "day" and zone == "Africa/Cairo":
        assert (24, 23) in list(pairwise(lengths))
        return
    assert lengths[:2] == hours
    assert starts[0] <= first < starts[1]


def test_latency_is_of_calls_that_ended_well_by_two_dimensions(stored, monkeypatch):
    groups = latency(Question(MINE, FIRST, LAST, ("model", "is_byok"), filters={"agent": HOSTILE}))
    assert groups
    for group in groups:
        rows = [
            r
            for r in stored
            if r["organization_id"] == MINE and r["agent_id"] == HOSTILE and not r["is_error"]
            if (r["model"], "true" if r["is_byok"] else "false") == group.values
        ]
        times, first = sorted(r["latency_ms"] for r in rows), [r["ttft_ms"] for r in rows if r["ttft_ms"] is not None]
        assert group.calls == len(rows)
        assert times[0] <= group.p50_ms <= group.p95_ms <= group.p99_ms <= times[-1]
        ranks = [min(len(times) - 1, int(share * len(times))) for share in (0.5, 0.95, 0.99)]
        assert [group.p50_ms, group.p95_ms, group.p99_ms] == [times[rank] for rank in ranks]  # of every call
        assert (group.ttft_p99_ms is None) == (not first)
    monkeypatch.setattr(answers, "EVERY_CALL", 10)
    sampled = latency(Question(MINE, FIRST, LAST, ("model", "is_byok"), filters={"agent": HOSTILE}))
    assert [(g.values, g.calls) for g in sampled] == [(g.values, g.calls) for g in groups]
    assert all(abs(a.p50_ms - b.p50_ms) < 3_000 for a, b in zip(sampled, groups, strict=True))
    assert latency(Question("org-none", FIRST, LAST)) == []
    assert usage(Question("org-none", FIRST, LAST)) == []


@pytest.mark.parametrize("who", [MINE, None])
@pytest.mark.parametrize("limit", [1, 4, 500])
def test_a_list_has_every_call_of_the_hours_in_which_the_sums_know_some(stored, who, limit):
    filters = {"tag": ["a"], "error_type": ["Timeout", "Overloaded"]}
    ours = [row for row in stored if who in (row["organization_id"], None)]
    wanted = [row for row in ours if row["error_type"] and "a" in row["agent_tags"]]
    assert len(wanted) > 12
    found, cursor = [], ""
    while len(found) <= len(wanted):
        page = list_calls(Wanted(organization_id=who, start=FIRST, end=LAST, filters=filters), cursor, limit)
        found += [row.id for row in page.rows]
        cursor = page.cursor
        if not cursor:
            break
    assert found == [row["id"] for row in sorted(wanted, key=lambda r: (r["created_at"], r["id"]), reverse=True)]


@pytest.mark.parametrize(
    "given",
    [
        {"dimensions": ("model; DROP TABLE llm_traces",)},
        {"dimensions": ("model", "agent", "tag")},
        {"dimensions": ("model", "model")},
        {"filters": {"organization_id) OR 1 --": "x"}},
        {"filters": {"model": []}},
        {"filters": {"model": "x" * 501}},
        {"filters": {"model": [3]}},
        {"interval": "minute"},
        {"interval": "hour", "end": datetime(2027, 10, 1, tzinfo=UTC)},
        {"order_by": "cost_usd DESC"},
        {"time_zone": "Mars/Olympus"},
        {"time_zone": "../../etc/passwd"},
        {"limit": 0},
        {"start": LAST, "end": FIRST},
        {"start": FIRST.replace(tzinfo=None)},
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(given):
    with pytest.raises(Invalid) as refused:
        Question(**({"organization_id": MINE, "start": FIRST, "end": LAST} | given))
    assert len(refused.value.message) < 400


def test_every_order_is_a_sum():
    assert set(ORDERS) <= set(SUM_NAMES)
