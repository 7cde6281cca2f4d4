"""What ClickHouse loses or doubles when it is killed at the wrong moment is found and mended."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from telemetry import segments
from telemetry.backends.clickhouse import ClickHouse
from telemetry.shipper import Pace, Shipper
from telemetry.spool import Limits, Spool

SUMS = ("llm_usage_daily", "llm_usage_hourly", "llm_usage_detail")
HARM = {
    "rows that only the token is left of": ["DELETE FROM llm_traces WHERE {ours}"],
    "payloads that only the token is left of": ["DELETE FROM llm_payloads WHERE {ours}"],
    "sums that only the token is left of": [f"DELETE FROM {table} WHERE 1" for table in SUMS],
    "a part of the rows": ["DELETE FROM llm_traces WHERE {ours} AND toMonth(created_at) = 5"],
    "rows and sums that came twice": ["INSERT INTO llm_traces SELECT * FROM llm_traces WHERE {ours}"],
    "rows and sums that came four times": 2 * ["INSERT INTO llm_traces SELECT * FROM llm_traces WHERE {ours}"],
    "payloads that came twice": ["INSERT INTO llm_payloads SELECT * FROM llm_payloads WHERE {ours}"],
    "rows that came twice and were merged": [
        "INSERT INTO llm_traces SELECT * FROM llm_traces WHERE {ours}",
        "OPTIMIZE TABLE llm_traces FINAL",
    ],
    "nothing": [],
}


def contents(client):
    query = "SELECT id, cost_usd, total_tokens, created_at FROM llm_traces ORDER BY id, created_at"
    rows = client.execute(query)
    payloads = client.execute("SELECT id, request_json FROM llm_payloads ORDER BY id")
    columns = "sum(calls), sum(cost_usd), sum(total_tokens), sum(unpriced_calls), sum(request_bytes)"
    sums = [client.execute(f"SELECT model, {columns} FROM {t} GROUP BY model ORDER BY model") for t in SUMS]
    return rows, payloads, sums


@pytest.mark.parametrize("harm", HARM)
def test_a_batch_in_doubt_is_there_once_afterwards_and_nothing_else_changes(tmp_path, traces, traces_url, record, harm):
    spool = Spool(tmp_path, Limits(segment_age_s=60))
    may, june = datetime(2026, 5, 31, 23, 59, tzinfo=UTC), datetime(2026, 6, 1, 0, 1, tzinfo=UTC)
    if not harm.startswith("sums"):  # these would be lost with the others, which is no doubt about one batch
        record(spool, created_at=may, end={"cost_usd": Decimal(7)})
        spool.flush()
        assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    ids = [record(spool, created_at=may, model="gpt-1", end={"cost_usd": Decimal("0.1")}) for _ in range(3)]
    ids += [record(spool, created_at=june + timedelta(hours=n), model="gpt-2") for n in range(3)]
    spool.flush()
    [path] = segments.listed(tmp_path, segments.SEALED)
    kept = path.read_bytes()
    ends = [r for r in segments.records(kept) if r.is_end]
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    right = contents(traces)

    for statement in HARM[harm]:
        traces.execute(statement.format(ours=f"id IN {tuple(ids)}"), settings={"lightweight_deletes_sync": 2})
    path.write_bytes(kept)
    segments.Positions(path, "clickhouse").plan(
        ends[0].start, ends[-1].end
    )  # a shipper was killed before it had the answer
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    assert contents(traces) == right
    [(timed,)] = traces.execute("SELECT sum(length(latencies)) FROM llm_usage_detail")
    assert timed >= sum(
        row[1] for row in right[2][2]
    )  # what was doubled weighs more in percentiles, nothing is missing
    spool.close()


def test_a_batch_in_doubt_is_mended_while_another_host_ships_the_same_day(tmp_path, traces, traces_url, record):
    mine, theirs = (
        Spool(tmp_path / "mine", Limits(segment_age_s=60)),
        Spool(tmp_path / "theirs", Limits(segment_age_s=60)),
    )
    ids = [record(mine) for _ in range(5)]
    mine.close()
    [path] = segments.listed(tmp_path / "mine", segments.SEALED)
    kept = path.read_bytes()
    ends = [r for r in segments.records(kept) if r.is_end]
    assert Shipper(tmp_path / "mine", [ClickHouse(traces_url)]).drain()
    traces.execute("DELETE FROM llm_usage_daily WHERE 1", settings={"lightweight_deletes_sync": 2})
    other = Shipper(tmp_path / "theirs", [ClickHouse(traces_url)], Pace(idle_s=0.01))
    running = threading.Thread(target=other.run)
    running.start()
    for _ in range(10):
        ids += [record(theirs) for _ in range(4)]
        theirs.flush()
    path.write_bytes(kept)
    segments.Positions(path, "clickhouse").plan(ends[0].start, ends[-1].end)
    assert Shipper(tmp_path / "mine", [ClickHouse(traces_url)]).drain()
    theirs.close()
    assert Shipper(tmp_path / "theirs", [ClickHouse(traces_url)]).drain()
    other.stop()
    running.join()
    assert contents(traces)[2] == [[("gpt-x", len(ids), 0, 3 * len(ids), len(ids), 15 * len(ids))]] * 3
