"""Workers that die, come late, or meet: each step is done once, and what is told of it is told once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from conversations import commit, doorbell, lease, parking, runner, tasks
from conversations import history as histories
from conversations.models import Run, RunStatus, Step
from conversations.retelling import retell
from core.time import now
from providers.clients import scripted
from streams.publish import RunWriter
from tests.support.api import Tenant
from tests.support.elsewhere import closing, elsewhere
from tests.support.turns import block, events, kinds, lose, messages, rang, send, thinker, traces, turn, work

pytestmark = pytest.mark.usefixtures("redis")
SCRIPT = '[[tool memory_insert {"label": "human", "new_string": "Name: Ada"} then say Nice name]]'


class Killed(BaseException):
    """The worker's process ends here: nothing that would come after it happens."""


def kill(*_: Any, **__: Any) -> Any:
    raise Killed


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Advance a run with a worker that is killed where it calls `module.name`."""

    def advance(run: Run, module: Any, name: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, kill)
            patch.setattr(runner.failures, "fail_run", kill)
            patch.setattr(RunWriter, "close", lambda writer: setattr(writer, "fenced", True))  # it flushes no more
            with pytest.raises(Killed):
                runner.advance(run.pk)
        histories._remembered.clear()  # as in another process

    return advance


def is_whole(tenant: Tenant, run: Run) -> None:
    """The turn of SCRIPT, done once: messages, memory, steps, cost, and what was told."""
    run.refresh_from_db()
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.COMPLETED, "end_turn", 2)
    assert [role for role, _ in messages(run.conversation)] == ["user", "assistant", "tool", "assistant"]
    assert block(run.conversation) == "Name: ?\nName: Ada"
    done = Step.objects.filter(run=run, status="success").order_by("index")
    assert [step.index for step in done] == [0, 1]
    assert run.usage["output"] == sum(step.usage["output"] for step in done)
    assert run.cost_usd == sum(step.cost_usd or 0 for step in done)
    told = [e["message"]["seq"] for e in events(run) if e["type"] == "message_added"]
    assert told == [1, 2, 3, 4]
    assert kinds(run).count("run_ended") == 1
    assert kinds(run)[-1] == "run_ended"
    assert turn(tenant, run.conversation, "[[say On]]").status == RunStatus.COMPLETED


@pytest.mark.parametrize("at_step", [0, 1])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (runner.turn, "load"),
        (parking, "ModelCall"),
        (runner, "commit_step"),
        (commit, "insert_rows"),
        (commit, "write_run"),
        (commit, "write_conversation"),
    ],
    ids=[
        "claimed",
        "before the call",
        "after the call",
        "memory edited",
        "all but the run written",
        "messages written",
    ],
)
def test_a_worker_lost_in_a_step_costs_that_step_alone(
    tenant: Tenant, dying: Callable[..., None], module: Any, name: str, at_step: int
) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    for _ in range(at_step):
        runner.advance(run.pk)
    dying(run, module, name)
    runner.advance(run.pk)  # too early: the lease still runs
    assert Run.objects.get(pk=run.pk).step_count == at_step
    lose(run)
    is_whole(tenant, work(run))
    lost = Step.objects.get(run=run, status="failed")
    assert (lost.index, lost.attempt, lost.error_type) == (at_step, 1, "worker_lost")
    assert Step.objects.get(run=run, index=at_step, status="success").attempt == 2
    assert kinds(run).count("step_lost") == 1


@pytest.mark.parametrize("at_step", [0, 1])
def test_what_was_committed_and_not_told_is_told_by_the_sweep_or_the_follower(
    tenant: Tenant, dying: Callable[..., None], at_step: int
) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    for _ in range(at_step):
        runner.advance(run.pk)
    dying(run, runner, "_announce")
    rang()
    if at_step == 0:
        assert tasks.sweep_runs() == 0  # its time has not come
        lose(run)
        assert tasks.sweep_runs() == 1
        assert rang() == [(run.pk, 1)]
        assert tasks.sweep_runs() == 0  # one ring is enough while nobody is free
        work(run)
    else:
        run.refresh_from_db()
        assert run.status == RunStatus.COMPLETED
        assert runner.lease.claim(run.pk) is None
        assert retell(run)
        assert retell(run)
    is_whole(tenant, run)


def test_a_worker_lost_before_its_ring_is_replaced_by_the_sweep(tenant: Tenant, dying: Callable[..., None]) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    rang()
    dying(run, doorbell, "ring")
    assert rang() == []
    lose(run)
    tasks.sweep_runs()
    assert rang() == [(run.pk, 1)]
    work(run)
    is_whole(tenant, run)


def test_a_worker_lost_after_its_last_word_left_nothing_to_do(tenant: Tenant, dying: Callable[..., None]) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    runner.advance(run.pk)
    dying(run, runner, "note_last_run")
    assert tasks.sweep_runs() == 0
    is_whole(tenant, run)


def test_a_late_worker_commits_nothing_and_tells_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was only slow: while it waits for its model another worker takes the run and does the step."""
    run = send(tenant, thinker(tenant), SCRIPT)
    answer = scripted.Scripted.stream
    slow: list[bool] = []

    def overtaken(client: Any, request: Any) -> Iterator[Any]:
        if not slow:
            slow.append(True)
            yield from list(answer(client, request))[:1]
            lose(run)
            runner.advance(run.pk)
        yield from answer(client, request)

    monkeypatch.setattr(scripted.Scripted, "stream", overtaken)
    runner.advance(run.pk)
    is_whole(tenant, work(run))
    assert Run.objects.get(pk=run.pk).fence == 3
    cancelled = [trace["error_type"] for trace in traces(run)]
    assert cancelled.count("cancelled") == 1


def test_a_stale_commit_is_refused_whole(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    claim = lease.claim(run.pk)
    assert claim is not None
    stale = runner.turn.load(claim.run)
    lose(run)
    runner.advance(run.pk)
    held = lease.Lease(run.pk, claim.run.fence)
    writer = RunWriter(run.pk, claim.run.fence)
    with pytest.raises(commit.LeaseLost):
        runner._step(stale, held, RunWriter("run-nobody", 9))
    writer.write(b"late")
    assert writer.fenced
    is_whole(tenant, work(run))


def test_a_stale_answer_is_refused_though_it_called_no_tool(tenant: Tenant) -> None:
    """Its messages would take the places of those that another worker has stored."""
    run = send(tenant, thinker(tenant), "[[say Hi]]")
    claim = lease.claim(run.pk)
    assert claim is not None
    stale = runner.turn.load(claim.run)
    lose(run)
    runner.advance(run.pk)
    with pytest.raises(commit.LeaseLost):
        runner._step(stale, lease.Lease(run.pk, claim.run.fence), RunWriter("run-nobody", 9))
    assert messages(run.conversation) == [("user", "[[say Hi]]"), ("assistant", "Hi")]
    assert Run.objects.get(pk=run.pk).status == RunStatus.COMPLETED


def test_a_stale_failure_changes_nothing(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    claim = lease.claim(run.pk)
    assert claim is not None
    lose(run)
    runner.advance(run.pk)
    runner.failures.fail_run(claim.run, RunWriter(run.pk, claim.run.fence), ValueError("late"))
    is_whole(tenant, work(run))


def test_five_lost_workers_fail_the_run(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, SCRIPT)
    for _ in range(5):
        assert lease.claim(run.pk) is not None
        lose(run)
    runner.advance(run.pk)
    run.refresh_from_db()
    assert run.error is not None
    assert (run.status, run.stop_reason, run.error["type"]) == (RunStatus.FAILED, "error", "workers_lost")
    assert events(run)[-1]["error"]["type"] == "workers_lost"
    assert messages(conversation) == []
    assert turn(tenant, conversation, "[[say On]]").status == RunStatus.COMPLETED


def test_a_step_that_succeeds_forgives_the_lost_ones(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), SCRIPT)
    for _ in range(4):
        assert lease.claim(run.pk) is not None
        lose(run)
    runner.advance(run.pk)
    run.refresh_from_db()
    assert (run.failures, run.step_count, run.status) == (0, 1, RunStatus.RUNNING)
    assert [(s.attempt, s.status) for s in Step.objects.filter(run=run)] == [(4, "failed"), (5, "success")]


def test_the_sweep_rings_for_the_silent_alone(tenant: Tenant) -> None:
    conversations = [thinker(tenant) for _ in range(3)]
    held, waiting, young = (send(tenant, conversation, "[[say Hi]]") for conversation in conversations)
    assert lease.claim(held.pk) is not None
    rang()
    lose(held)
    lose(waiting)
    assert tasks.sweep_runs() == 2
    assert {run_id for run_id, _ in rang()} == {held.pk, waiting.pk}
    young.refresh_from_db()
    assert young.lease_expires_at is not None
    assert young.lease_expires_at > now()


# With workers that see each other's commits


def test_of_many_workers_one_wins_each_step(committed: Tenant) -> None:
    run = elsewhere(lambda: send(committed, thinker(committed), SCRIPT))
    start = threading.Barrier(6)

    def worker() -> None:
        start.wait(10)
        for _ in range(12):
            runner.advance(run.pk)

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(closing, worker) for _ in range(6)]:
            done.result(30)
    elsewhere(lambda: is_whole(committed, run))
    assert elsewhere(lambda: Run.objects.get(pk=run.pk).fence) == 2
    assert elsewhere(lambda: Step.objects.filter(run=run).count()) == 2


def test_leases_are_renewed_while_a_step_takes_its_time(committed: Tenant, settings: Any) -> None:
    settings.RUN_LEASE_S = 1
    run = elsewhere(lambda: send(committed, thinker(committed), SCRIPT))
    claim = elsewhere(lambda: lease.claim(run.pk))
    assert claim is not None
    keeper = lease._Keeper()
    keeper.period_s = 0.02
    held = lease.Lease(run.pk, claim.run.fence)
    keeper.add(held)
    first = claim.run.lease_expires_at
    assert first is not None
    later = Run.objects.filter(pk=run.pk, lease_expires_at__gt=first + timedelta(seconds=0.05))
    _until(lambda: elsewhere(later.exists))
    assert not held.lost.is_set()
    elsewhere(lambda: Run.objects.filter(pk=run.pk).update(status=RunStatus.CANCELLED))
    assert held.lost.wait(5)
    keeper.remove(held)


def test_a_lease_that_another_claim_replaced_is_lost_at_once(tenant: Tenant) -> None:
    keeper = lease._Keeper()
    keeper.period_s = 3600
    first, second = lease.Lease("run-1", 1), lease.Lease("run-1", 2)
    keeper.add(first)
    keeper.add(second)
    assert first.lost.is_set()
    keeper.remove(first)
    assert keeper._leases == {"run-1": second}
    keeper.remove(second)


def test_the_keeper_outlives_a_database_that_fails(monkeypatch: pytest.MonkeyPatch, parts: object) -> None:
    keeper = lease._Keeper()
    keeper.period_s = 0.01
    tried = threading.Semaphore(0)

    def fail(_: Any) -> None:
        tried.release()
        raise RuntimeError("the connection is gone")

    monkeypatch.setattr(keeper, "_renew", fail)
    held = lease.Lease("run-1", 1)
    keeper.add(held)
    assert all(tried.acquire(timeout=5) for _ in range(3))
    assert not held.lost.is_set()
    keeper.remove(held)


def _until(ready: Callable[[], bool]) -> None:
    for _ in range(200):
        if ready():
            return
        threading.Event().wait(0.02)
    raise AssertionError("not in time")
