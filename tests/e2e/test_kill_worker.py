"""`kill -9` of the worker, ten times at random moments of turns with tool calls: nothing is lost and nothing is doubled."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from letta_client import Letta

from tests.support.live import MODEL, Live, wait_for

KILLS = 10
RUNS_AT_ONCE = 4
LATENCY_MS = 60
RECOVERED_S = 30
ACTIVE = "status IN ('queued', 'running')"


@pytest.fixture
def slow_models(live: Live) -> Iterator[None]:
    live.mock("__config", {"latency_ms": LATENCY_MS})
    yield
    live.mock("__config", {"latency_ms": 0})


def edit(label: str) -> str:
    return f'tool memory_insert {{"label": "human", "new_string": "{label}"}}'


@pytest.mark.timeout(300)
def test_turns_survive_ten_kills_of_their_worker(live: Live, client: Letta, slow_models: None) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    runs: dict[str, str] = {}
    rounds: list[list[str]] = []
    before = live.calls_seen()
    kills: list[float] = []
    for _ in range(KILLS):
        fresh = dict(start(client) for _ in range(RUNS_AT_ONCE))
        runs |= fresh
        rounds.append(list(fresh))
        wait_for(lambda ids=list(fresh): count(live, ids, "worker <> ''"), RECOVERED_S, 0.005, "the worker is back")
        # A run whose step is lost five times in a row is given up, and rightly so: older ones end first.
        wait_for(
            lambda: not count(live, [run for ids in rounds[:-2] for run in ids], ACTIVE),
            RECOVERED_S,
            0.05,
            "older runs ended",
        )
        time.sleep(dice.uniform(0, 5 * LATENCY_MS / 1000))
        live.kill("worker")
        kills.append(time.time())
        live.start_service("worker")
    wait_for(lambda: not count(live, list(runs), ACTIVE), RECOVERED_S, 0.1, "the runs ended")

    lost = sum(check_run(live, run_id, nonce) for run_id, nonce in runs.items())
    assert lost, "no kill hit a step: the test shows nothing"
    slowest = check_recovery(live, list(runs), kills)
    check_traces(live, list(runs), live.calls_seen() - before)
    print(f"{lost} steps were lost; the slowest recovery took {slowest:.1f} s")


def start(client: Letta) -> tuple[str, str]:
    """(run, nonce) of a turn with two memory edits, on an agent of its own."""
    nonce = uuid.uuid4().hex[:12]
    agent = client.agents.create(
        model=MODEL,
        include_base_tools=False,
        tools=["memory_insert"],
        memory_blocks=[{"label": "human", "value": "Nothing yet."}],
    )
    script = f"[[{edit(f'first {nonce}')} then {edit(f'second {nonce}')} then say done {nonce}]]"
    return client.agents.messages.create_async(agent.id, input=script).id, nonce


def count(live: Live, run_ids: list[str], condition: str) -> int:
    query = f"SELECT count(*) FROM conversations_run WHERE id = ANY(%s) AND {condition}"
    return int(live.sql(query, [run_id[-36:] for run_id in run_ids])[0][0])


def check_recovery(live: Live, run_ids: list[str], kills: list[float]) -> float:
    """The longest time from the last kill that a run may have met to its end."""
    query = "SELECT extract(epoch FROM created_at), extract(epoch FROM completed_at) FROM conversations_run WHERE id = ANY(%s)"
    spans = live.sql(query, [run_id[-36:] for run_id in run_ids])
    met = [
        float(end) - max(at for at in kills if at < end)
        for start, end in spans
        if any(start < at < end for at in kills)
    ]
    assert max(met) < RECOVERED_S
    return max(met)


def check_run(live: Live, run_id: str, nonce: str) -> int:
    """The steps of the run that were lost and done again."""
    key = run_id[-36:]
    ((status, stop_reason, step_count, cost, agent_id, error),) = live.sql(
        "SELECT status, stop_reason, step_count, cost_usd, agent_id, error FROM conversations_run WHERE id = %s", key
    )
    assert (status, stop_reason, step_count) == ("completed", "end_turn", 3), error

    messages = live.sql("SELECT role, seq, text FROM conversations_message WHERE run_id = %s ORDER BY seq", key)
    assert [role for role, _, _ in messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [seq for _, seq, _ in messages] == list(range(1, 7))
    assert messages[-1][2] == f"done {nonce}"

    ((block_id, value),) = live.sql(
        "SELECT b.id, b.value FROM agents_block b JOIN agents_agentblock ab ON ab.block_id = b.id WHERE ab.agent_id = %s",
        agent_id,
    )
    assert value.splitlines() == ["Nothing yet.", f"first {nonce}", f"second {nonce}"]
    revisions = live.sql("SELECT value FROM agents_blockrevision WHERE block_id = %s ORDER BY version", block_id)
    assert [len(text.splitlines()) for (text,) in revisions] == [1, 2, 3]

    steps = live.sql(
        'SELECT "index", status, error_type, cost_usd FROM conversations_step WHERE run_id = %s ORDER BY "index", attempt',
        key,
    )
    done = [step for step in steps if step[1] == "success"]
    assert [index for index, *_ in done] == [0, 1, 2]
    lost = [step for step in steps if step[1] != "success"]
    assert {error_type for _, _, error_type, _ in lost} <= {"worker_lost"}
    assert cost == sum(step[3] for step in done)
    assert cost > 0
    return len(lost)


def check_traces(live: Live, run_ids: list[str], called: int) -> None:
    """One row for each call that any worker began, whatever became of it; the vendor has seen `called`."""
    paid = dict(
        live.sql(
            "SELECT trace_call_id, cost_usd FROM conversations_step WHERE run_id = ANY(%s) AND status = 'success'",
            [run_id[-36:] for run_id in run_ids],
        )
    )
    begun = live.sql(
        "SELECT count(*) FROM conversations_step WHERE run_id = ANY(%s) AND error_type = 'worker_lost'",
        [run_id[-36:] for run_id in run_ids],
    )[0][0]

    def shipped() -> list[Any] | None:
        rows = live.traces(
            "SELECT id, step_id, error_type, cost_usd, usage_estimated FROM llm_traces WHERE run_id IN %(runs)s",
            runs=tuple(run_ids),
        )
        return rows if len(rows) >= called and paid.keys() <= {row[0] for row in rows} else None

    wait_for(shipped, 20, 0.2, "all rows are in ClickHouse")
    time.sleep(1.0)  # and no more come
    rows = shipped()
    assert rows is not None
    assert max(Counter(row[0] for row in rows).values()) == 1
    assert max(Counter(row[1] for row in rows).values()) == 1, "one call a step"
    by_id = {row[0]: row for row in rows}
    assert all(by_id[call_id][2:4] == ("", cost) for call_id, cost in paid.items())
    others = [row for row in rows if row[0] not in paid]
    assert {row[2] for row in others} <= {"worker_lost", "cancelled", ""}, "lost in the call, or before its commit"
    assert all(row[4] for row in others if row[2] == "worker_lost"), "its usage is estimated"
    assert len(others) <= begun, "a step that was lost before its call has no row"
