"""The shipper: from spool files to ClickHouse, each call once."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
from clickhouse_driver import Client

from stack.clickhouse import ClickHouse as Server
from telemetry import segments
from telemetry.backends.clickhouse import ClickHouse
from telemetry.migrate import Retention, migrate
from telemetry.shipper import Pace, Shipper
from telemetry.spool import Limits, Spool
from telemetry.spooled import retry_quarantined
from telemetry.trace import CallEnd

ROOT = Path(__file__).resolve().parents[2]
SLOW = Limits(segment_age_s=60)
QUICK = Pace(idle_s=0.01, first_retry_s=0.02, last_retry_s=0.1)


def counted(client):
    """Rows, distinct ids, payloads, and the calls and dollars of both roll-ups."""
    [(rows, ids, cost)] = client.execute("SELECT count(), uniqExact(id), sum(ifNull(cost_usd, 0)) FROM llm_traces")
    [(payloads,)] = client.execute("SELECT count() FROM llm_payloads")
    sums = [
        client.execute(f"SELECT sum(calls), sum(cost_usd) FROM {t}")[0] for t in ("llm_usage_daily", "llm_usage_hourly")
    ]
    return rows, ids, payloads, sums, cost


def assert_each_call_once(client, ids, lost=0):
    rows, distinct, payloads, sums, cost = counted(client)
    assert (rows, distinct, payloads) == (len(ids), len(ids), len(ids) - lost)
    assert sums == [(len(ids), cost)] * 2
    assert {i for (i,) in client.execute("SELECT id FROM llm_traces")} == set(ids)


@contextlib.contextmanager
def program(text, *argv):
    """A process of its own, killed at the end; `text` may use `call`, `record` and the telemetry package."""
    head = """
        import sys, time, uuid
        from datetime import datetime, UTC
        from decimal import Decimal
        from pathlib import Path
        from telemetry.backends.clickhouse import ClickHouse
        from telemetry.inserter import Inserter
        from telemetry.shipper import Pace, Shipper
        from telemetry.spool import Limits, Spool
        from telemetry.trace import CallEnd, CallStart
        def call(**more):
            return CallStart(id=str(uuid.uuid4()), organization_id="org-1", call_type="agent_step", provider="openai",
                model="gpt-x", created_at=datetime(2026, 5, 1, 12, tzinfo=UTC), request_json=b"x" * 3000, **more)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(text), *map(str, argv)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PATH": os.defpath,
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_call_reaches_every_table_with_what_was_said_to_the_byte(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, SLOW)
    odd = b'{"text":"\xc3\xa9 \\u0000 \xff not utf-8"}'
    call_id = record(
        spool,
        request_json=odd,
        agent_tags=("a", "b'c"),
        end={
            "cost_usd": Decimal("0.000000037512"),
            "cache_read_tokens": 4,
            "input_tokens": 6,
            "ttft_ms": 80,
            "latency_ms": 900,
        },
    )
    spool.close()
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    names = (
        "id, agent_tags, prompt_tokens, cached_input_tokens, cache_write_tokens, cost_usd, ttft_ms, request_size_bytes"
    )
    assert traces.execute(f"SELECT {names} FROM llm_traces") == [
        (call_id, ["a", "b'c"], 10, 4, None, Decimal("0.000000037512"), 80, len(odd))
    ]
    assert traces.execute("SELECT hex(request_json), response_json, llm_config_json FROM llm_payloads") == [
        (odd.hex().upper(), '{"ok":true}', "{}")
    ]
    [sums] = traces.execute("SELECT calls, cost_usd, unpriced_calls, ttft_calls, toString(day) FROM llm_usage_daily")
    assert sums == (1, Decimal("0.000000037512"), 0, 1, "2026-05-01")
    assert os.listdir(tmp_path) == ["shipper.lock"]


def test_small_batches_and_several_segments_carry_everything(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, SLOW)
    ids = []
    for _ in range(4):
        ids += [record(spool, end={"cost_usd": Decimal("0.01")}) for _ in range(25)]
        spool.flush()
    spool.close()
    assert Shipper(tmp_path, [ClickHouse(traces_url)], Pace(batch_rows=7)).drain()
    assert_each_call_once(traces, ids)


def test_the_same_range_sent_again_counts_once_in_every_table(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool, end={"cost_usd": Decimal("0.5")}) for _ in range(30)]
    spool.close()
    [path] = segments.listed(tmp_path, segments.SEALED)
    kept = path.read_bytes()
    for _ in range(3):
        assert Shipper(tmp_path, [ClickHouse(traces_url)], Pace(batch_rows=10)).drain()
        path.write_bytes(kept)  # as if it had been killed before it could remove the segment
    assert_each_call_once(traces, ids)


def test_a_crash_between_plan_and_insert_is_taken_up_at_the_planned_range(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(9)]
    spool.close()
    [path] = segments.listed(tmp_path, segments.SEALED)
    ends = [r for r in segments.records(path.read_bytes()) if r.is_end]
    segments.Positions(path, "clickhouse").plan(ends[0].start, ends[3].end)
    with segments.Positions(path, "clickhouse").path.open("ab") as torn:
        torn.write(b"half an entry")
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    assert_each_call_once(traces, ids)


def test_calls_of_a_dead_worker_become_one_lost_row_each(tmp_path, traces, traces_url):
    writer = """
        spool = Spool(Path(sys.argv[1]), Limits(segment_age_s=60))
        priced = call(estimated_prompt_tokens=1000, estimated_cost_usd=Decimal("0.25"))
        for start in (priced, call(estimated_prompt_tokens=70), call()):
            print(start.id, flush=True)
            opened = spool.begin(start)
        opened.finish(CallEnd())
        spool.flush()
        for _ in range(2):
            print("done", flush=True)
            time.sleep(60)
    """
    shipper = Shipper(tmp_path, [ClickHouse(traces_url)])
    with program(writer, tmp_path) as process:
        ids = [process.stdout.readline().strip() for _ in range(3)]
        assert process.stdout.readline() == "done\n"
        assert shipper.drain()
        assert counted(traces)[0] == 1  # the others may still end
        process.kill()
        process.wait()
        for _ in range(2):
            shipper.ship_once()
    assert_each_call_once(traces, ids, lost=2)
    query = "SELECT prompt_tokens, usage_estimated, cost_usd, price_source, is_error FROM llm_traces WHERE error_type = 'worker_lost' ORDER BY prompt_tokens"
    assert traces.execute(query) == [(70, 1, None, "unpriced", 1), (1000, 1, Decimal("0.25"), "estimated", 1)]


def test_a_writer_that_died_while_it_changed_segments_is_not_counted_twice(tmp_path, traces, traces_url, make_call):
    spool = Spool(tmp_path, SLOW)
    lost = spool.begin(make_call())
    ended = spool.begin(make_call())
    ended.finish(CallEnd())
    with spool._lock:
        spool._swap()  # both segments are open now: the process "dies" before the old one is sealed
    for fd in (*spool._full_segments, spool._fd):
        os.close(fd)
    assert len(segments.listed(tmp_path, segments.OPEN)) == 2
    shipper = Shipper(tmp_path, [ClickHouse(traces_url)])
    shipper.ship_once()
    assert_each_call_once(traces, [lost.start.id, ended.start.id], lost=1)
    spool._begin_anew()


def test_the_torn_tail_of_a_dead_writer_is_ignored_and_that_of_a_sealed_segment_kept_aside(
    tmp_path, traces, traces_url, record
):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(3)]
    spool.close()
    [path] = segments.listed(tmp_path, segments.SEALED)
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    path.rename(path.with_suffix(segments.OPEN))
    shipper = Shipper(tmp_path, [ClickHouse(traces_url)])
    shipper.ship_once()
    assert shipper.condition.quarantined == 0
    assert_each_call_once(traces, ids, lost=1)  # its start is whole, its end is not
    path.write_bytes(data[:-5])
    shipper.ship_once()
    assert [p.suffix for p in sorted((tmp_path / "dead").iterdir())] == [".seg", ".txt"]
    assert not segments.listed(tmp_path, segments.SEALED)


@pytest.mark.parametrize("poison", ["attempt", "agent_tags", "header"])
def test_a_record_that_cannot_be_stored_is_put_aside_and_stops_no_other(tmp_path, traces, traces_url, record, poison):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(5)]
    if poison == "header":
        row = [*spool.begin.__self__._open, *["x"] * 60]
        spool._write(segments.frame(segments.END, row))
    else:
        record(spool, **({"attempt": 70_000} if poison == "attempt" else {"agent_tags": ({"not": "text"},)}))
    ids += [record(spool) for _ in range(6)]
    spool.close()
    shipper = Shipper(tmp_path, [ClickHouse(traces_url)])
    assert shipper.drain()
    assert shipper.condition.quarantined == 1
    rows, distinct, _, sums, _ = counted(traces)
    assert (rows, distinct, sums[0][0], sums[1][0]) == (11, 11, 11, 11)
    [kept] = segments.listed(tmp_path / "dead", segments.SEALED)
    assert kept.with_suffix(".txt").read_text()
    assert segments.backlog(tmp_path).dead_records == 1
    assert retry_quarantined(tmp_path, ["clickhouse"]) == 1
    assert shipper.drain()
    assert shipper.condition.quarantined == 2
    assert counted(traces)[0] == 11


def test_two_shippers_of_one_spool_take_turns(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(200)]
    spool.close()
    both = [Shipper(tmp_path, [ClickHouse(traces_url)], Pace(batch_rows=20, idle_s=0.01)) for _ in range(2)]
    threads = [threading.Thread(target=s.drain) for s in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_each_call_once(traces, ids)
    assert sorted(s.condition.rows for s in both) == [0, 200]


SHIPPER = """
    import random, os
    shipper = Shipper(Path(sys.argv[1]), [ClickHouse(sys.argv[2])], Pace(batch_rows=20, idle_s=0.01, first_retry_s=0.02, last_retry_s=0.1))
    print("up", flush=True)
    shipper.run()
"""


def test_a_shipper_killed_again_and_again_ships_each_call_once(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path, Limits(segment_age_s=0.05, sync_every_s=0.01))
    ids, stop = [], threading.Event()

    def work():
        while not stop.is_set():
            ids.append(record(spool, end={"cost_usd": Decimal("0.001")}))
            time.sleep(0.002)

    worker = threading.Thread(target=work)
    worker.start()
    for after in (0.05, 0.11, 0.02, 0.17):
        with program(SHIPPER, tmp_path, traces_url) as process:
            process.stdout.readline()
            time.sleep(after)
            process.send_signal(signal.SIGKILL)
    stop.set()
    worker.join()
    spool.close()
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    assert_each_call_once(traces, ids)


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_command_ships_until_sigterm_and_drains_what_came_later(tmp_path, traces, traces_url, record):
    spool = Spool(tmp_path / "spool", SLOW)
    ids = [record(spool)]
    spool.flush()
    env = {"CLICKHOUSE_URL": traces_url, "TELEMETRY_SPOOL_DIR": str(spool.directory), "DATA_DIR": str(tmp_path)}
    command = [sys.executable, str(ROOT / "manage.py"), "shipper"]
    running = subprocess.Popen(command, env={"PATH": os.defpath} | env)
    try:
        wait_for(lambda: counted(traces)[:3] == (1, 1, 1))
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    finally:
        running.kill()
        running.wait()
    ids.append(record(spool))
    spool.close()
    assert counted(traces)[0] == 1
    said = subprocess.run(
        [*command, "--drain"], env={"PATH": os.defpath} | env, capture_output=True, text=True, check=True
    )
    assert said.stdout == "1 rows shipped to clickhouse\n"
    assert_each_call_once(traces, ids)


WORKER = """
    import threading
    spool = Spool(Path(sys.argv[1]), Limits(segment_age_s=0.05, sync_every_s=0.01))
    opened = []
    while True:
        opened.append(spool.begin(call()))
        print("s", opened[-1].start.id, flush=True)
        if len(opened) > 2:
            opened.pop(0).finish(CallEnd(cost_usd=Decimal("0.001")))
        time.sleep(0.002)
"""


def test_nothing_is_lost_or_doubled_while_clickhouse_workers_and_the_shipper_are_killed(tmp_path):
    part = Server(tmp_path / "clickhouse", tmp_path, throwaway=True)
    url = part.start()
    migrate(url, Retention(trace_days=10_000, payload_days=10_000))
    directory = tmp_path / "spool"
    shipper = Shipper(
        directory, [ClickHouse(url)], Pace(batch_rows=25, idle_s=0.01, first_retry_s=0.02, last_retry_s=0.1)
    )
    running = threading.Thread(target=shipper.run)
    running.start()
    try:
        with program(WORKER, directory) as first, program(WORKER, directory) as second:
            first.stdout.readline(), second.stdout.readline()
            for after in (0.15, 0.1):
                time.sleep(after)
                part.child.process.kill()
                part.child.process.wait()
                time.sleep(0.3)
                if after == 0.15:
                    first.kill()
                part.start()
            second.kill()
            said = [
                line.split()[1] for p in (first, second) for line in p.stdout.read().splitlines() if len(line) == 38
            ]
        running_client = Client.from_url(url)
        wait_for(lambda: not segments.listed(directory, segments.OPEN, segments.SEALED, segments.DEAD))
        rows, distinct, payloads, sums, cost = counted(running_client)
        [(lost,)] = running_client.execute("SELECT countIf(error_type = 'worker_lost') FROM llm_traces")
        stored = {i for (i,) in running_client.execute("SELECT id FROM llm_traces")}
        running_client.disconnect()
    finally:
        shipper.stop()
        running.join()
        part.stop()
    assert rows == distinct == len(stored)
    assert set(said) <= stored
    assert len(stored) <= len(said) + 4  # the first line of each was read apart, the last was perhaps never said
    assert 2 <= lost <= 6
    assert payloads == rows - lost
    assert sums == [(rows, cost)] * 2


def test_a_long_outage_keeps_calls_on_disk_and_the_log_quiet(tmp_path, traces, traces_url, record, caplog):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(50)]
    spool.close()
    away = Shipper(tmp_path, [ClickHouse("clickhouse://nobody:x@127.0.0.1:1/none")], QUICK)
    running = threading.Thread(target=away.run)
    running.start()
    time.sleep(0.5)
    assert away.condition.away
    assert segments.backlog(tmp_path).segments == 1
    away.stop()
    running.join(5)
    assert not running.is_alive()
    assert len([r for r in caplog.records if "takes no traces" in r.message]) == 1
    assert Shipper(tmp_path, [ClickHouse(traces_url)]).drain()
    assert_each_call_once(traces, ids)


def test_a_server_without_its_tables_is_waited_for(tmp_path, empty_database, record):
    spool = Spool(tmp_path, SLOW)
    ids = [record(spool) for _ in range(3)]
    spool.close()
    shipper = Shipper(tmp_path, [ClickHouse(empty_database)], QUICK)
    running = threading.Thread(target=shipper.drain)
    running.start()
    time.sleep(0.3)
    assert shipper.condition.away
    migrate(empty_database, Retention(trace_days=10_000, payload_days=10_000))
    running.join(20)
    assert (shipper.condition.rows, shipper.condition.quarantined) == (len(ids), 0)
