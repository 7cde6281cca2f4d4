"""What can be read back: lists and single traces, and only one's own."""

import threading
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import Invalid
from telemetry import queries
from telemetry.backends.clickhouse import ClickHouse
from telemetry.calls import list_calls
from telemetry.client import TelemetryUnavailable, pool
from telemetry.filters import TraceFilters, wanted_by
from telemetry.shipper import Shipper
from telemetry.spool import Limits, Spool
from telemetry.trace import COLUMNS

MINE, OTHERS = "org-mine", "org-others"


def at(day, minute=0):
    return datetime(2026, 5, day, 10, minute, tzinfo=UTC)


def listed(organization_id, filters=None, cursor="", limit=50):
    return list_calls(wanted_by(organization_id, filters or TraceFilters()), cursor, limit)


@pytest.fixture
def stored(tmp_path, traces_url, record, settings):
    """Ship calls, each given as the arguments of `record`; returns their ids."""
    settings.CLICKHOUSE_URL = traces_url

    def store(*calls):
        spool = Spool(tmp_path, Limits(segment_age_s=60))
        ids = [record(spool, **{"organization_id": MINE, "created_at": at(1)} | call) for call in calls]
        spool.close()
        assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
        return ids

    yield store
    pool().close()


def test_a_trace_row_has_the_columns_of_the_table():
    assert tuple(f.name for f in fields(queries.TraceRow)) == COLUMNS


def test_pages_of_traces_go_on_where_they_ended_while_new_ones_come_in(stored):
    ids = stored(*({"created_at": at(1, minute)} for minute in (0, 1, 1, 1, 2)))
    first = listed(MINE, limit=2)
    [newer] = stored({"created_at": at(1, 3)})
    second = listed(MINE, cursor=first.cursor, limit=2)
    third = listed(MINE, cursor=second.cursor, limit=2)
    seen = [row.id for page in (first, second, third) for row in page.rows]
    assert seen[0] == ids[4]
    assert seen[-1] == ids[0]
    assert sorted(seen) == sorted(ids)
    assert third.cursor == ""
    assert listed(MINE, limit=1).rows[0].id == newer


@pytest.mark.parametrize("cursor", ["x", "_", "1777636800123_", "-17_x", "²_x", f"{10**18}_x"])
def test_a_foreign_cursor_is_refused(stored, cursor):
    with pytest.raises(Invalid, match="leave it out"):
        listed(MINE, cursor=cursor)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"project_id": "project-1"}, {"project_id": "project-1"}),
        ({"agent_id": "agent-'; DROP TABLE llm_traces --"}, {"agent_id": "agent-'; DROP TABLE llm_traces --"}),
        ({"conversation_id": "conv-1\\"}, {"conversation_id": "conv-1\\"}),
        ({"run_id": "run-1"}, {"run_id": "run-1"}),
        ({"step_id": "step-1\n"}, {"step_id": "step-1\n"}),
        ({"trace_id": "ab" * 16}, {"trace_id": "ab" * 16}),
        ({"call_type": "summarization"}, {"call_type": "summarization"}),
        ({"provider": "anthropic"}, {"provider": "anthropic"}),
        ({"model": "claude"}, {"model": "claude"}),
        ({"provider_key_id": "provider-1"}, {"provider_key_id": "provider-1"}),
        ({"identity_id": "identity-1"}, {"identity_id": "identity-1"}),
        ({"api_key_id": "key-1"}, {"api_key_id": "key-1"}),
        ({"agent_tags": ("a", "{b:String}")}, {"tag": "{b:String}"}),
        ({"provider_category": "byok"}, {"is_byok": True}),
        ({"end": {"error_type": "Timeout"}}, {"error_type": "Timeout"}),
        ({"end": {"error_type": "Timeout"}}, {"is_error": True}),
        ({"created_at": at(3)}, {"start": at(3), "end": at(3) + timedelta(milliseconds=1)}),
    ],
)
def test_each_filter_finds_its_calls_alone(stored, given, wanted):
    ids = stored(given, {}, {"organization_id": OTHERS} | given)
    assert [row.id for row in listed(MINE, TraceFilters(**wanted)).rows] == [ids[0]]
    assert len(listed(None, TraceFilters(**wanted)).rows) == 2


def test_filters_can_ask_for_what_is_not_so(stored):
    ids = stored({"end": {"error_type": "Timeout"}, "provider_category": "byok"}, {})
    assert [row.id for row in listed(MINE, TraceFilters(is_error=False, is_byok=False)).rows] == [ids[1]]


def test_a_step_shows_its_newest_call_and_a_run_all_of_them_in_order(stored):
    ids = stored(
        {
            "run_id": "run-1",
            "step_id": "step-1",
            "attempt": 1,
            "created_at": at(1, 0),
            "end": {"error_type": "Timeout"},
        },
        {"run_id": "run-1", "step_id": "step-1", "attempt": 2, "created_at": at(1, 1), "llm_config": {"model": "m"}},
        {"run_id": "run-1", "step_id": "step-2", "created_at": at(1, 2)},
    )
    trace = queries.trace_of_step(MINE, "step-1")
    assert (trace.row.id, trace.row.attempt) == (ids[1], 2)
    assert (trace.request_json, trace.response_json, trace.llm_config_json) == (
        '{"messages":[]}',
        '{"ok":true}',
        '{"model":"m"}',
    )
    assert [row.id for row in queries.traces_of_run(MINE, "run-1")] == ids


def test_a_payload_that_is_gone_leaves_the_row(stored, traces):
    [call_id] = stored({})
    traces.execute("TRUNCATE TABLE llm_payloads")
    trace = queries.get_trace(MINE, call_id)
    assert (trace.row.id, trace.request_json, trace.response_json) == (call_id, "", "")


def test_nothing_of_another_organization_is_found(stored):
    [call_id] = stored({"run_id": "run-1", "step_id": "step-1"})
    for stranger in (OTHERS, "", "org-%", "1"):
        assert queries.get_trace(stranger, call_id) is None
        assert queries.trace_of_step(stranger, "step-1") is None
        assert queries.traces_of_run(stranger, "run-1") == []
        assert listed(stranger).rows == []
    assert queries.get_trace(MINE, call_id) is not None
    assert queries.get_trace(None, call_id) is not None


def test_many_threads_read_at_once(stored):
    [call_id] = stored({})
    found = []

    def read():
        found.extend(queries.get_trace(MINE, call_id).row.id for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [call_id] * 40


@pytest.mark.parametrize("url", ["", "clickhouse://nobody:secret@127.0.0.1:1/none"])
def test_an_absent_clickhouse_is_said_so_without_its_password(settings, url):
    settings.CLICKHOUSE_URL = url
    with pytest.raises(TelemetryUnavailable) as caught:
        listed(MINE)
    assert caught.value.status == 503
    assert "secret" not in str(caught.value)


def test_a_reader_survives_a_lost_connection(stored):
    [call_id] = stored({})
    assert queries.get_trace(MINE, call_id)
    for client in pool()._idle:
        client.connection.socket.shutdown(2)
    assert queries.get_trace(MINE, call_id)
