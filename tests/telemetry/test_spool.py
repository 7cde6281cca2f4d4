"""The spool: what a process writes before and after each model call."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from telemetry import segments
from telemetry.spool import Limits, Spool
from telemetry.trace import COLUMNS, CallEnd, CallStart

ROOT = Path(__file__).resolve().parents[2]
# Nothing is sealed by age: the tests say when.
SLOW = Limits(segment_age_s=60)


def call(**given):
    known = {
        "id": str(uuid.uuid4()),
        "organization_id": "org-1",
        "call_type": "agent_step",
        "provider": "openai",
        "model": "gpt-x",
        "created_at": datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC),
        "request_json": b'{"messages":[]}',
    }
    return CallStart(**(known | given))


def read(path):
    return list(segments.records(path.read_bytes()))


def ended_rows(directory):
    """Ended calls of all segments as dicts, with their payloads."""
    rows = []
    for path in segments.listed(directory, segments.SEALED, segments.OPEN):
        for record in read(path):
            if record.is_end:
                lengths, row, _ = record.parse()
                rows.append((dict(zip(COLUMNS, row, strict=True)), record.payloads(lengths)))
    return rows


def open_ids(path):
    started, ended = set(), set()
    for record in read(path):
        (ended if record.is_end else started).add(record.parse()[1][0])
    return started - ended


def test_a_call_comes_out_of_the_spool_as_it_went_in(tmp_path):
    spool = Spool(tmp_path, SLOW)
    start = call(agent_tags=("a", "b"), llm_config={"model": "gpt-x"}, provider_category="byok")
    spool.begin(start).finish(
        CallEnd(
            response_json=b'{"ok":1}',
            input_tokens=10,
            cache_read_tokens=5,
            cache_write_1h_tokens=2,
            output_tokens=7,
            cost_usd=Decimal("0.0000000375"),
            price_source="genai-prices",
            latency_ms=1200,
            ttft_ms=90,
            finish_reason="stop",
        )
    )
    spool.close()
    [(row, payloads)] = ended_rows(tmp_path)
    assert payloads == [b'{"messages":[]}', b'{"ok":1}', b'{"model":"gpt-x"}']
    assert row["id"] == start.id
    assert row["agent_tags"] == ["a", "b"]
    assert row["is_byok"] == 1
    assert row["created_at"] == 1777636800123
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (17, 7, 24)
    assert (row["cached_input_tokens"], row["cache_write_tokens"], row["cache_write_5m_tokens"]) == (5, 2, None)
    assert Decimal(row["cost_usd"]) == Decimal("0.0000000375")
    assert (row["is_error"], row["error_type"]) == (0, "")


def test_a_call_finished_twice_is_recorded_once(tmp_path):
    spool = Spool(tmp_path, SLOW)
    opened = spool.begin(call())
    opened.finish(CallEnd(finish_reason="first"))
    opened.finish(CallEnd(finish_reason="second"))
    spool.close()
    assert [row["finish_reason"] for row, _ in ended_rows(tmp_path)] == ["first"]


def test_what_json_cannot_say_does_not_break_a_call(tmp_path):
    spool = Spool(tmp_path, SLOW)
    opened = spool.begin(call(model="bad\ud800", llm_config={1: object(), "n": 2**70}))
    opened.finish(CallEnd(input_tokens=-3, latency_ms=2**40, cost_usd=Decimal("NaN"), error_message="x\udfff" * 2000))
    spool.close()
    [(row, _)] = ended_rows(tmp_path)
    assert (row["model"], row["input_tokens"], row["latency_ms"]) == ("bad?", 0, 2**32 - 1)
    assert row["cost_usd"] is None
    assert len(row["error_message"]) == 1000


def test_the_newest_segment_holds_every_open_call(tmp_path):
    spool = Spool(tmp_path, SLOW)
    early = spool.begin(call())
    for _ in range(3):
        spool.begin(call()).finish(CallEnd())
        spool.flush()
    late = spool.begin(call())
    [newest] = segments.listed(tmp_path, segments.OPEN)
    assert open_ids(newest) == {early.start.id, late.start.id}
    assert len(segments.listed(tmp_path, segments.SEALED)) == 3
    early.finish(CallEnd())
    late.finish(CallEnd())
    spool.close()
    assert not segments.listed(tmp_path, segments.OPEN)
    assert len(ended_rows(tmp_path)) == 5


def test_a_segment_is_sealed_soon_after_its_first_ended_call(tmp_path):
    spool = Spool(tmp_path, Limits(segment_age_s=0.05, sync_every_s=0.01))
    waiting = spool.begin(call())
    spool.begin(call()).finish(CallEnd())
    deadline = time.monotonic() + 20
    while not segments.listed(tmp_path, segments.SEALED):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    [newest] = segments.listed(tmp_path, segments.OPEN)
    assert open_ids(newest) == {waiting.start.id}
    waiting.finish(CallEnd())
    spool.close()


def test_a_graceful_stop_keeps_open_calls_until_they_finish(tmp_path):
    spool = Spool(tmp_path, SLOW)
    opened = spool.begin(call())
    spool.close()
    [path] = segments.listed(tmp_path, segments.OPEN)
    assert segments.lock_of_the_dead(path) is None
    opened.finish(CallEnd())
    assert not segments.listed(tmp_path, segments.OPEN)
    assert len(ended_rows(tmp_path)) == 1
    spool.begin(call()).finish(CallEnd())  # and it can be taken up again
    spool.close()
    assert len(ended_rows(tmp_path)) == 2


def test_threads_share_one_spool(tmp_path):
    spool = Spool(tmp_path, Limits(segment_bytes=200_000, segment_age_s=0.02, sync_every_s=0.002))
    ids = [[str(uuid.uuid4()) for _ in range(150)] for _ in range(8)]

    def work(mine):
        for call_id in mine:
            spool.begin(call(id=call_id, request_json=b"x" * 5000)).finish(CallEnd(response_json=b"y" * 500))

    threads = [threading.Thread(target=work, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spool.close()
    rows = ended_rows(tmp_path)
    assert sorted(row["id"] for row, _ in rows) == sorted(i for mine in ids for i in mine)
    assert {tuple(map(len, payloads)) for _, payloads in rows} == {(5000, 500, 2)}
    assert len(segments.listed(tmp_path, segments.SEALED)) > 1


def test_a_forked_child_writes_to_a_segment_of_its_own_and_does_not_hold_the_parents(tmp_path):
    program = """
        import os, sys, time
        from pathlib import Path
        sys.path.insert(0, "tests/telemetry")
        from test_spool import SLOW, call
        from telemetry.spool import Spool
        from telemetry.trace import CallEnd
        spool = Spool(Path(sys.argv[1]), SLOW)
        parents = spool.begin(call())
        child = os.fork()
        if child == 0:
            parents.finish(CallEnd())  # not the child's to end
            spool.begin(call()).finish(CallEnd(finish_reason="child"))
            print("ready", flush=True)
            time.sleep(60)
        print(child, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    lines = {parent.stdout.readline().strip(), parent.stdout.readline().strip()}
    assert "ready" in lines
    child = int((lines - {"ready"}).pop())
    try:
        assert [row["finish_reason"] for row, _ in ended_rows(tmp_path)] == ["child"]
        assert len(segments.listed(tmp_path, segments.OPEN)) == 2
        parent.kill()
        parent.wait()
        free = [p for p in segments.listed(tmp_path, segments.OPEN) if segments.lock_of_the_dead(p) is not None]
        assert len(free) == 1
        assert len(open_ids(free[0])) == 1
    finally:
        os.kill(child, signal.SIGKILL)
        parent.kill()
        parent.stdout.close()


def test_a_disk_that_refuses_is_waited_for_in_memory(tmp_path, caplog):
    directory = tmp_path / "spool"
    directory.write_text("in the way")
    spool = Spool(directory, Limits(segment_age_s=0.05, sync_every_s=0.01))
    for _ in range(5):
        spool.begin(call()).finish(CallEnd())
    assert spool.stats.kept == 5
    assert spool.stats.failures > 5
    assert len([r for r in caplog.records if "cannot be written" in r.message]) == 1
    directory.unlink()
    spool.begin(call()).finish(CallEnd())
    spool.close()
    assert spool.stats.kept == 0
    assert spool.stats.lost == 0
    assert len(ended_rows(directory)) == 6


def test_memory_stays_bounded_while_the_disk_refuses(tmp_path):
    directory = tmp_path / "spool"
    directory.write_text("in the way")
    spool = Spool(directory, Limits(segment_age_s=60, memory_bytes=100_000))
    for _ in range(100):
        spool.begin(call(request_json=b"x" * 20_000)).finish(CallEnd())
    assert spool._kept_bytes <= 100_000
    assert spool.stats.payloads_dropped > 0
    assert spool.stats.kept + spool.stats.lost == 100
    directory.unlink()
    spool.close()
    assert len(ended_rows(directory)) == spool.stats.kept + 100 - spool.stats.lost


def test_a_full_directory_costs_payloads_but_no_row(tmp_path):
    spool = Spool(tmp_path, Limits(segment_age_s=60, total_bytes=1, sync_every_s=0.001))
    spool.begin(call()).finish(CallEnd())
    spool._measured_at = 0
    spool._measure()
    spool.begin(call(request_json=b"x" * 100)).finish(CallEnd(cost_usd=Decimal("1.5")))
    spool.close()
    row, payloads = ended_rows(tmp_path)[-1]
    assert payloads == [b"", b"", b""]
    assert (row["request_size_bytes"], row["cost_usd"]) == (100, "1.500000000000")
    assert spool.stats.payloads_dropped == 1


def test_one_huge_call_loses_its_payload_alone(tmp_path):
    spool = Spool(tmp_path, Limits(segment_age_s=60, call_bytes=1000))
    spool.begin(call(request_json=b"x" * 2000)).finish(CallEnd())
    spool.begin(call()).finish(CallEnd())
    spool.close()
    assert [len(payloads[0]) for _, payloads in ended_rows(tmp_path)] == [0, 15]


def test_a_torn_record_ends_the_reading_of_a_segment(tmp_path):
    spool = Spool(tmp_path, SLOW)
    for _ in range(3):
        spool.begin(call()).finish(CallEnd())
    spool.close()
    [path] = segments.listed(tmp_path, segments.SEALED)
    data = path.read_bytes()
    whole = list(segments.records(data))
    assert whole[-1].end == len(data)
    for cut in (1, 7, 30, len(data) - whole[-1].start - 1):
        assert len(list(segments.records(data[:-cut]))) == len(whole) - 1
    spoilt = bytearray(data)
    spoilt[whole[-1].start + 40] ^= 1
    assert len(list(segments.records(bytes(spoilt)))) == len(whole) - 1


def test_a_disk_that_fills_up_in_the_middle_of_a_record_leaves_whole_records_only(tmp_path):
    program = """
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, "tests/telemetry")
        from test_spool import SLOW, call
        from telemetry.spool import Spool
        from telemetry.trace import CallEnd
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # no file may grow beyond
        spool = Spool(Path(sys.argv[1]), SLOW)
        for _ in range(20):
            spool.begin(call(request_json=b"x" * 5000)).finish(CallEnd())
        assert spool.stats.kept > 5, spool.stats
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        spool.close()
        assert spool.stats.kept == spool.stats.lost == 0, spool.stats
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], cwd=ROOT, check=True)
    [path] = segments.listed(tmp_path, segments.SEALED)
    found = read(path)
    assert found[-1].end == path.stat().st_size
    assert sum(r.is_end for r in found) == 20


WRITER = """
    import sys
    from pathlib import Path
    sys.path.insert(0, "tests/telemetry")
    from test_spool import call
    from telemetry.spool import Limits, Spool
    from telemetry.trace import CallEnd
    spool = Spool(Path(sys.argv[1]), Limits(segment_bytes=100_000, segment_age_s=0.02, sync_every_s=0.001))
    opened = []
    while True:
        opened.append(spool.begin(call(request_json=b"x" * 4000)))
        print("s", opened[-1].start.id, flush=True)
        if len(opened) > 3:
            ending = opened.pop(0)
            print("f", ending.start.id, flush=True)
            ending.finish(CallEnd())
            print("e", ending.start.id, flush=True)
"""


@pytest.mark.parametrize("after_s", [0.05, 0.12, 0.31])
def test_kill_9_loses_no_acknowledged_record(tmp_path, after_s):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    first = writer.stdout.readline()
    time.sleep(after_s)
    writer.send_signal(signal.SIGKILL)
    said = (first + writer.stdout.read()).splitlines()
    writer.wait()
    writer.stdout.close()
    told = {kind: {line[2:] for line in said if line.startswith(kind) and len(line) == 38} for kind in "sfe"}
    ended = [row["id"] for row, _ in ended_rows(tmp_path)]
    assert len(ended) == len(set(ended))
    assert told["e"] <= set(ended)
    newest = segments.listed(tmp_path, segments.OPEN)[-1]
    assert told["s"] - told["f"] <= open_ids(newest) <= told["s"] | open_ids(newest)
    assert not open_ids(newest) & set(ended)
