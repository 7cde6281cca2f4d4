"""Steps whose tools act outside the database, in two commits with the calls between them.

The first commit holds the model's answer and what is about to be called, so that whoever goes on after a dead worker
neither asks the model again nor makes a call twice. Each result is recorded as it comes; the second commit makes
messages of them. Every write carries the worker's fencing number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime

from agents.loop import Answer
from agents.model_calls import Outcome
from agents.tools import execute
from agents.tools.execute import Planned, Result
from conversations.commit import (
    Committed,
    LeaseLost,
    check_fence,
    ending,
    fenced,
    insert_rows,
    said_rows,
    spent,
    spoken,
    status_of,
    step_row,
    stepped,
    tool_row,
    verdict,
    write_conversation,
    write_run,
)
from conversations.models import Run, RunStatus, Step, StepStatus, ToolExecution
from conversations.rows import Row, row_of
from conversations.turn import Work, offer_of, tool_context
from core.db import release_connection
from core.time import now, to_ms
from providers.types import Message, ToolCall
from providers.usage import Usage

AT_ONCE = 8
LOOK_S = 0.25
UNKNOWN = (
    "The outcome of this call is unknown: the server stopped while it was being made. It may have had its effect, so "
    "it was not made again. Find out before you repeat it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The external calls of one message. `made`: their records, by place; `abandoned`: whether the run is not ours."""

    run: Run
    planned: Sequence[Planned]
    made: Mapping[int, ToolExecution]
    abandoned: Callable[[], bool]


@dataclass(slots=True, kw_only=True)
class Opened:
    """A step between its two commits. `rows`: what the first one stored; `overtaken` as in `Committed`."""

    answer: Answer
    outcome: Outcome
    planned: list[Planned]
    made: dict[int, ToolExecution]
    rows: list[Row] = field(default_factory=list)
    overtaken: bool = False


def calls_outside(planned: Sequence[Planned]) -> bool:
    return any(item.external is not None for item in planned)


def left_behind(run: Run) -> list[ToolExecution]:
    """The calls that a dead worker had declared and not committed."""
    found = ToolExecution.objects.filter(run=run).select_related("message__step")
    return list(found.order_by("position"))


def open_step(work: Work, answer: Answer, outcome: Outcome, planned: list[Planned]) -> Opened:
    """The first commit. Raises LeaseLost; then nothing was written."""
    run = work.run
    done = Committed(rows=said_rows(work, answer), usage=Usage(**run.usage) + outcome.all_usage)
    changes = spent(run, outcome, done.usage)
    with fenced(run):
        write_run(run, changes)
        Step.objects.bulk_create([step_row(work, outcome, at=now(), status=StepStatus.PENDING)])
        insert_rows(run.organization_id, done.rows)
        write_conversation(work, done, spoken(work, outcome))
        made = declare(run, work.turn.message_id, planned)
    for name, value in changes.items():
        setattr(run, name, value)
    return Opened(answer=answer, outcome=outcome, planned=planned, made=made, rows=done.rows, overtaken=done.overtaken)


def reopen(work: Work, left: Sequence[ToolExecution]) -> Opened:
    """A step that a dead worker had opened, to be gone on with under its own id."""
    message, run = left[0].message, work.run
    step = message.step
    assert step is not None
    run.current_step_id, work.fresh, work.started_at = step.pk, [], step.started_at
    calls = tuple(ToolCall(**call) for call in message.tool_calls)
    usage = Usage(**step.usage)
    planned = execute.plan(calls, offer_of(work, calls), tool_context(work, step.pk))
    return Opened(
        answer=Answer(message=Message("assistant", (), calls), calls=calls, finish_reason="tool_calls", usage=usage),
        outcome=Outcome(usage=usage, cost_usd=step.cost_usd),
        planned=planned,
        made=recover(run, planned, left),
        rows=[row_of(row) for row in step.messages.order_by("seq")],
        overtaken=True,
    )


def declare(run: Run, message_id: str, planned: Sequence[Planned]) -> dict[int, ToolExecution]:
    """Write down what is about to be called, within a transaction; the first ones count as begun."""
    groups, at = _groups([item for item in planned if item.external is not None]), now()
    rows = [
        ToolExecution(run=run, message_id=message_id, position=item.place, started_at=None if later else at)
        for later, group in enumerate(groups)
        for item in group
    ]
    return {row.position: row for row in ToolExecution.objects.bulk_create(rows)}


def recover(run: Run, planned: Sequence[Planned], left: Sequence[ToolExecution]) -> dict[int, ToolExecution]:
    """Decide about calls whose worker died in the middle: they are made again only where that does no harm."""
    plans = {item.place: item for item in planned}
    for row in left:
        item = plans.get(row.position)
        if row.result is None and row.started_at and item is not None:
            again = item.external is not None and item.external.repeatable(item.row)
            if not again:
                _write(run, row, result=execute.tool_return(item.call, UNKNOWN, is_error=True))
    return {row.position: row for row in left}


def perform(calls: Calls) -> dict[int, Result]:
    """Make the calls that have no result yet, each recorded as it ends; all results by place. Raises LeaseLost."""
    made = calls.made
    waiting = [
        _addressed(item, made[item.place], calls.abandoned)
        for item in calls.planned
        if item.external is not None and item.place in made and made[item.place].result is None
    ]
    for group in _groups(waiting):
        for item in group:
            if made[item.place].started_at is None:
                _write(calls.run, made[item.place], started_at=now())
        release_connection()
        for item, result in _run(group, calls.abandoned):
            if not calls.abandoned():
                _write(calls.run, made[item.place], result=result)
        if calls.abandoned():
            raise LeaseLost(calls.run.pk)
    return {place: row.result for place, row in made.items() if row.result is not None}


def close_step(work: Work, opened: Opened, results: Mapping[int, Result]) -> Committed:
    """The second commit: the calls' returns, what the step's other tools do, and its end. Raises LeaseLost."""
    run, planned, tools_at = work.run, opened.planned, _begun(opened)
    done = Committed(usage=Usage(**run.usage))
    with fenced(run):
        check_fence(run)
        returns = execute.apply(planned, results)
        done.rows = [tool_row(work, returns)]
        done.verdict = verdict(work, opened.answer, planned, returns)
        done.status = status_of(done.verdict.stop_reason) if done.verdict.stop_reason else None
        at = now()
        ended = ending(done, to_ms(tools_at, at)) | {
            "status": StepStatus.SUCCESS,
            "total_ms": to_ms(work.started_at, at),
        }
        Step.objects.filter(pk=run.current_step_id).update(**ended)
        insert_rows(run.organization_id, done.rows)
        write_conversation(work, done, {})
        forget(opened.made)
        write_run(run, stepped(run, done, at))
    done.overtaken = done.overtaken or opened.overtaken
    return done


def forget(made: Mapping[int, ToolExecution]) -> None:
    """Their results are in a message now."""
    ToolExecution.objects.filter(pk__in=[row.pk for row in made.values()]).delete()


def _begun(opened: Opened) -> datetime:
    return min(row.started_at for row in opened.made.values() if row.started_at is not None)


def _addressed(item: Planned, row: ToolExecution, abandoned: Callable[[], bool]) -> Planned:
    context = replace(item.context, idempotency_key=row.idempotency_key, abandoned=abandoned)
    return replace(item, context=context)


def _groups(calls: Sequence[Planned]) -> list[list[Planned]]:
    """In order; neighbours whose tools allow it run at once."""
    groups: list[list[Planned]] = []
    for item in calls:
        last = groups[-1] if groups else []
        if last and len(last) < AT_ONCE and all(one.row.get("enable_parallel_execution") for one in (last[-1], item)):
            last.append(item)
        else:
            groups.append([item])
    return groups


def _run(group: Sequence[Planned], abandoned: Callable[[], bool]) -> Iterator[tuple[Planned, Result]]:
    """Each with its result, as it comes. One that is alone runs on this thread."""
    if len(group) == 1:
        yield group[0], execute.call_external(group[0])
        return
    pool = ThreadPoolExecutor(len(group), thread_name_prefix="tool")
    running = {pool.submit(execute.call_external, item): item for item in group}
    try:
        while running and not abandoned():
            ended, _ = wait(running, LOOK_S, FIRST_COMPLETED)
            for future in ended:
                yield running.pop(future), future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _write(run: Run, row: ToolExecution, **changes: object) -> None:
    """Raises LeaseLost where the run is not ours any more."""
    ours = ToolExecution.objects.filter(pk=row.pk, run__fence=run.fence, run__status=RunStatus.RUNNING)
    if not ours.update(**changes):
        raise LeaseLost(run.pk)
    for name, value in changes.items():
        setattr(row, name, value)
