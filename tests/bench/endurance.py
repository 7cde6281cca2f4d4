"""Nothing lost, nothing doubled: turns at a steady rate while ClickHouse, shippers and workers are killed.

    python tests/bench/endurance.py [--minutes 10] [--rate 50]

ClickHouse is killed and started again, then stopped for three tenths of the time; the shipper and the worker are killed
with -9 again and again. In the end: the calls that the vendor saw against the rows, each id once, and the roll-ups
against the rows. Exit code 1 where they differ.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from letta_client import APIConnectionError, APIStatusError  # noqa: E402

from tests.support.live import MODEL, Live, wait_for  # noqa: E402
from tests.support.parts import start_test_parts  # noqa: E402

SENDERS = 40
SETTLED_S = 180


class Load:
    """Senders that share one pace: each takes the next slot of time, and sends one turn in it."""

    def __init__(self, live: Live, rate: float) -> None:
        self.live, self.rate = live, rate
        self.stop = threading.Event()
        self.began = time.monotonic()
        self.answered = self.failed = 0
        self._slot = 0
        self._lock = threading.Lock()

    def send(self, agent_id: str) -> None:
        client = self.live.client(timeout=120)
        while not self.stop.is_set():
            with self._lock:
                at = self.began + self._slot / self.rate
                self._slot += 1
            if (pause := at - time.monotonic()) > 0:
                time.sleep(pause)
            elif pause < -1:  # the machine is behind: a burst would say nothing of the rate
                with self._lock:
                    self._slot = int((time.monotonic() - self.began) * self.rate)
            try:
                client.agents.messages.create(agent_id, input="[[say counted]]")
                self.answered += 1
            except (APIStatusError, APIConnectionError) as error:
                self.failed += 1
                print(f"a turn failed: {error}", flush=True)
                time.sleep(0.5)


def main() -> int:
    options = _options()
    parts = start_test_parts("endurance", uuid.uuid4().hex)
    live = Live(parts, "endurance")
    try:
        live.start()
        agents = [live.client().agents.create(model=MODEL, include_base_tools=False).id for _ in range(SENDERS)]
        before, rows_before = live.calls_seen(), _rows(live)[0]
        load = Load(live, options.rate)
        with ThreadPoolExecutor(SENDERS) as pool:
            sending = [pool.submit(load.send, agent_id) for agent_id in agents]
            try:
                _trouble(live, options.minutes * 60)
            finally:
                load.stop.set()
            for future in sending:
                future.result()
        print(f"{load.answered} turns answered, {load.failed} failed, in {options.minutes:g} min", flush=True)
        wait_for(lambda: not _active(live), 120, 0.5, "the last turns ended")
        return _verdict(live, live.calls_seen() - before, rows_before)
    finally:
        live.stop()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=50, help="turns per second, of one model call each")
    return parser.parse_args()


def _trouble(live: Live, seconds: float) -> None:
    """What happens when, as parts of the whole time."""
    deeds: list[tuple[float, str, Callable[[], None]]] = [
        (0.10, "kill ClickHouse", lambda: _kill_clickhouse(live)),
        (0.12, "start ClickHouse", lambda: live.clickhouse.start() and None),
        (0.40, "stop ClickHouse", live.clickhouse.stop),
        (0.70, "start ClickHouse", lambda: live.clickhouse.start() and None),
        (0.85, "kill ClickHouse", lambda: _kill_clickhouse(live)),
        (0.86, "start ClickHouse", lambda: live.clickhouse.start() and None),
    ]
    deeds += [(part, "kill the shipper", lambda: _again(live, "shipper")) for part in (0.11, 0.3, 0.5, 0.71, 0.9)]
    deeds += [(part, "kill the worker", lambda: _again(live, "worker")) for part in (0.2, 0.35, 0.55, 0.75)]
    began = time.monotonic()
    for part, what, do in sorted(deeds, key=lambda deed: deed[0]):
        time.sleep(max(0.0, began + part * seconds - time.monotonic() + random.uniform(0, 0.5)))
        print(f"{time.monotonic() - began:6.1f} s: {what}", flush=True)
        do()
    time.sleep(max(0.0, began + seconds - time.monotonic()))


def _kill_clickhouse(live: Live) -> None:
    child = live.clickhouse.child
    assert child is not None
    assert child.process is not None
    child.process.kill()
    child.process.wait()


def _again(live: Live, name: str) -> None:
    live.kill(name)
    live.start_service(name)


def _active(live: Live) -> int:
    return int(live.sql("SELECT count(*) FROM conversations_run WHERE status IN ('queued', 'running')")[0][0])


def _rows(live: Live) -> tuple[int, int, int]:
    """Rows, distinct ids, and calls that their worker died in."""
    [row] = live.traces("SELECT count(), uniqExact(id), countIf(error_type = 'worker_lost') FROM llm_traces")
    return row  # type: ignore[return-value]


def _verdict(live: Live, called: int, rows_before: int) -> int:
    """A call that its worker died in may not have reached the vendor: it has a row all the same."""

    def settled() -> bool:
        waiting = [path for path in (live.home / "spool").iterdir() if path.suffix in (".seg", ".dead")]
        return _rows(live)[0] - rows_before >= called and not waiting

    wait_for(settled, SETTLED_S, 1.0, "every call that the vendor saw has a row")
    time.sleep(5)  # and no more come
    rows, distinct, lost = _rows(live)
    print(f"{called} calls at the vendor, {rows - rows_before} rows, {lost} of them of a worker that died in the call")
    wrong = []
    if rows != distinct:
        wrong.append(f"{rows - distinct} rows are doubled")
    if not called <= rows - rows_before <= called + lost:
        wrong.append(f"{called} calls, but {rows - rows_before} rows")
    for table in ("llm_usage_daily", "llm_usage_hourly"):
        sums = "sum(calls), sum(total_tokens), sum(cost_usd), sum(errors)"
        if live.traces(f"SELECT {sums} FROM {table}") != live.traces(f"SELECT {sums} FROM {table}_recount"):
            wrong.append(f"{table} differs from the rows")
    print("; ".join(wrong) or "rows equal calls, roll-ups equal rows")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
