"""ClickHouse stopped under load, shipper and worker killed meanwhile: afterwards every model call has exactly one row.

`OUTAGE_S=120 pytest -s tests/e2e/test_clickhouse_outage.py` is the long form.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from letta_client import APIStatusError, Letta

from tests.support.live import MODEL, Live, wait_for

OUTAGE_S = float(os.environ.get("OUTAGE_S", "5"))
SENDERS = 4


@pytest.mark.timeout(300 + int(OUTAGE_S) * 2)
def test_no_call_is_lost_while_clickhouse_is_away(live: Live, client: Letta) -> None:
    agents = [client.agents.create(model=MODEL, include_base_tools=False).id for _ in range(SENDERS)]
    stop = threading.Event()
    before = live.calls_seen()
    with ThreadPoolExecutor(SENDERS) as pool:
        sending = [pool.submit(send_until, live, agent_id, stop) for agent_id in agents]
        try:
            time.sleep(0.5)
            live.clickhouse.stop()
            stopped_at = time.monotonic()
            time.sleep(OUTAGE_S * 0.3)
            live.kill("shipper")
            live.kill("worker")
            live.start_service("worker")
            live.start_service("shipper")
            time.sleep(max(0.0, OUTAGE_S - (time.monotonic() - stopped_at)))
            live.clickhouse.start()
            time.sleep(0.5)
        finally:
            stop.set()
        sent = sum(future.result() for future in sending)
    wait_for(lambda: not active(live, agents), 30, 0.1, "the last turns ended")
    steps = live.sql(
        "SELECT trace_call_id, status FROM conversations_step WHERE agent_id = ANY(%s)", [a[-36:] for a in agents]
    )
    paid = {call_id for call_id, status in steps if status == "success"}
    lost = sum(status != "success" for _, status in steps)

    def rows() -> list[tuple[str, str]]:
        query = "SELECT id, error_type FROM llm_traces WHERE agent_id IN %(agents)s"
        return live.traces(query, agents=tuple(agents))  # type: ignore[return-value]

    called = live.calls_seen() - before
    wait_for(lambda: paid <= {call_id for call_id, _ in rows()}, 60, 0.2, "every call that was paid has a row")
    wait_for(lambda: len(rows()) >= called, 60, 0.2, "every call that the vendor saw has a row")
    time.sleep(1.0)  # and no more come
    found = rows()
    print(f"{sent} turns, {called} calls, {len(paid)} of them committed, {lost} steps lost, {len(found)} rows")
    assert sent >= SENDERS
    assert max(Counter(call_id for call_id, _ in found).values()) == 1
    others = [error for call_id, error in found if call_id not in paid]
    assert set(others) <= {"worker_lost", "cancelled", ""}, "lost in the call, or before its commit"
    assert len(others) <= lost


def send_until(live: Live, agent_id: str, stop: threading.Event) -> int:
    """Turns that were answered. One that the killed worker held is waited for as any other."""
    client = live.client(timeout=60)
    answered = 0
    while not stop.is_set():
        try:
            client.agents.messages.create(agent_id, input="[[say counted]]")
        except APIStatusError as error:
            raise AssertionError(f"a turn failed while ClickHouse was away: {error}") from error
        answered += 1
        time.sleep(0.02)
    return answered


def active(live: Live, agents: list[str]) -> int:
    query = "SELECT count(*) FROM conversations_run WHERE agent_id = ANY(%s) AND status IN ('queued', 'running')"
    return int(live.sql(query, [agent_id[-36:] for agent_id in agents])[0][0])
