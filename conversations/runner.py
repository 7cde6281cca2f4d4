"""Advances a run by one step, whoever rings: claim, think, act, commit, publish, ring for the next.

The state is the database's. A worker that dies here at any point leaves a lease that runs out; the next one does the
step again from what was committed, and nothing that was committed is done twice. A step whose tools act outside the
database commits twice, before them and after (`conversations.outside`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, cast

from agents import loop
from agents.events import MessageAdded, RunEnded, RunStarted, StepEnded, StepLost, StepStarted
from agents.loop import Answer
from agents.model_calls import Abandoned, ModelCall, Outcome
from agents.tools import execute
from agents.tools.execute import Planned
from conversations import (
    approvals,
    compacting,
    doorbell,
    failures,
    lease,
    loops,
    outside,
    parking,
    queue,
    steering,
    turn,
)
from conversations import history as histories
from conversations.approvals import Resumed
from conversations.batch_models import BATCH_RUN
from conversations.commit import Committed, LeaseLost, commit_step, note_last_run, remember_rows
from conversations.events import delta, publish, publish_later, statistics
from conversations.failures import StepFailed
from conversations.lease import Claim, Lease
from conversations.models import Step, StepStatus
from conversations.outside import Opened
from conversations.parking import BatchedCall, Parked
from conversations.rows import Row
from conversations.turn import Work, offer_of, tool_context
from core.db import release_connection
from core.errors import AppError, BadInput
from providers.errors import ContextWindowExceeded, ProviderError
from providers.usage import Usage
from streams.publish import RunWriter

log = logging.getLogger(__name__)

MAX_LOST_STEPS = 5
MAX_COMPACTIONS = 3


def advance(run_id: str, step: int | None = None) -> None:
    """Do the next step of the run, if nobody else does; with `step`, only if it is that one."""
    claim = lease.claim(run_id, step)
    if claim is None:
        return
    run = claim.run
    writer = RunWriter(run.pk, run.fence, eager=run.options.get("stream_tokens", False))
    following = None
    try:
        with lease.keeping(run) as held:
            following = _advance(claim, held, writer)
    except Parked:
        log.debug("%s waits for its vendor's batch", run.pk)
    except (Abandoned, LeaseLost):
        log.info("%s was cancelled or taken over", run.pk)
    except (StepFailed, ProviderError, AppError) as error:
        failures.fail_run(run, writer, error)
    except Exception as error:
        # A fault of ours must not leave a conversation locked: the run fails, visibly, and the fault is logged whole.
        log.exception("%s failed", run.pk)
        failures.fail_run(run, writer, error)
    finally:
        release_connection()
        writer.close()
    if following is not None:
        doorbell.ring(run_id, following)
    elif run.run_type == BATCH_RUN:
        doorbell.ring_batches()


def _advance(claim: Claim, held: Lease, writer: RunWriter) -> int | None:
    """The index of the step that follows, None where the run has ended."""
    run = claim.run
    left = outside.left_behind(run) if claim.lost_step_id else []
    if claim.lost_step_id:
        _after_a_loss(claim, writer, opened=bool(left))
    elif run.fence == 1:
        publish_later(writer, RunStarted(run_id=run.pk, agent_id=run.agent_id, conversation_id=run.conversation_id))
    is_answered = parking.waited_for(run)
    work = turn.load(run)
    if approvals.resumes(work):
        return _resume(work, writer, approvals.resume(work, left, _abandoned(held, writer)))
    if not (left or is_answered) and steering.takes_in(work) and (rows := steering.fold(work)):
        publish(writer, *(MessageAdded(message=row) for row in rows))
        work = turn.load(run)
    if left:
        opened = outside.reopen(work, left)
        committed, outcome = _close(work, opened, held, writer), opened.outcome
    else:
        work = work if is_answered else compacting.compact_if_full(work, writer, held)
        committed, outcome = _step(work, held, writer)
    _announce(work, committed, outcome, writer)
    if committed.status is None:
        return run.step_count + 1
    note_last_run(run, committed.verdict.stop_reason or "")
    if work.conversation.sends_wait:
        queue.begin_next(run.conversation_id)
    return None


def _abandoned(held: Lease, writer: RunWriter) -> Callable[[], bool]:
    return lambda: held.lost.is_set() or writer.fenced


def _resume(work: Work, writer: RunWriter, resumed: Resumed) -> int | None:
    run = work.run
    told: list[Any] = [MessageAdded(message=row) for row in resumed.rows]
    if resumed.status is None:
        publish(writer, *told)
        return run.step_count
    ended = RunEnded(
        status=cast("Any", resumed.status.value),
        stop_reason=resumed.stop_reason or "",
        usage=statistics(Usage(**run.usage)),
        step_count=run.step_count,
        context_tokens=work.conversation.context_tokens,
    )
    publish(writer, *told, ended)
    note_last_run(run, ended.stop_reason)
    queue.begin_next(run.conversation_id)
    return None


def _step(work: Work, held: Lease, writer: RunWriter) -> tuple[Committed, Outcome]:
    for attempt in range(MAX_COMPACTIONS + 1):
        try:
            answer, call = _think(work, held, writer)
            break
        except StepFailed as failure:
            if attempt == MAX_COMPACTIONS or not isinstance(failure.error, ContextWindowExceeded):
                raise
            try:
                work = compacting.compact(work, writer, held, trigger="context_window_exceeded")
            except (BadInput, ProviderError):  # nothing left to cut, or nobody to sum it up
                raise failure from None
    try:
        loops.check(work, answer)
    except loops.ToolLoop as error:
        raise StepFailed(error, work, call.outcome) from None
    planned = _plan(work, answer)
    if outside.calls_outside(planned):
        opened = outside.open_step(work, answer, call.outcome, planned)
        return _close(work, opened, held, writer), call.outcome
    committed = commit_step(work, answer, call.outcome, planned)
    _remember(work, committed.rows, committed)
    return committed, call.outcome


def _close(work: Work, opened: Opened, held: Lease, writer: RunWriter) -> Committed:
    """The calls of a step that is stored without their returns: told of, made, and committed with what they gave."""
    publish(writer, *(MessageAdded(message=row) for row in opened.rows))
    calls = outside.Calls(run=work.run, planned=opened.planned, made=opened.made, abandoned=_abandoned(held, writer))
    committed = outside.close_step(work, opened, outside.perform(calls))
    _remember(work, [*opened.rows, *committed.rows], committed)
    return committed


def _remember(work: Work, rows: Sequence[Row], committed: Committed) -> None:
    if not committed.overtaken:
        remember_rows(work, rows)
        histories.remember(work.conversation.pk, work.history)


def _think(work: Work, held: Lease, writer: RunWriter) -> tuple[Answer, ModelCall | BatchedCall]:
    """The model call, its pieces published as they come."""
    run = work.run
    request = loop.request_of(work.turn, work.target.model)
    call = parking.model_call(work, request, _abandoned(held, writer))
    publish_later(writer, StepStarted(step_id=run.current_step_id, index=run.step_count, attempt=run.failures + 1))
    thinking = loop.think(work.turn, request.parallel_tool_calls, call.events())
    try:
        while True:
            writer.delta(delta(next(thinking)))
    except StopIteration as end:
        work.target = call.target  # another key or model may have stood in
        return end.value, call
    except ProviderError as error:
        work.target = call.target
        raise StepFailed(error, work, call.outcome) from error


def _plan(work: Work, answer: Answer) -> list[Planned]:
    """The step's tool calls made ready outside the transaction: arguments read, texts embedded."""
    if not answer.calls or loop.paused(work.turn, answer.calls):
        return []
    return execute.plan(answer.calls, offer_of(work, answer.calls), tool_context(work, work.run.current_step_id))


def _announce(work: Work, done: Committed, outcome: Outcome, writer: RunWriter) -> None:
    """Publish what was committed, in one go."""
    cost = None if outcome.cost_usd is None else str(outcome.cost_usd)
    told: list[Any] = [MessageAdded(message=row) for row in done.rows]
    ended: dict[str, Any] = {"usage": asdict(outcome.usage), "cost_usd": cost}
    ended |= {"logprobs": outcome.logprobs, "token_ids": outcome.token_ids}
    told.append(StepEnded(step_id=work.run.current_step_id, status="success", **ended))
    if done.status is not None:
        told.append(
            RunEnded(
                status=cast("Any", done.status.value),
                stop_reason=done.verdict.stop_reason or "",
                usage=statistics(done.usage),
                step_count=work.run.step_count + 1,
                context_tokens=outcome.usage.total,
            )
        )
    publish(writer, *told)


def _after_a_loss(claim: Claim, writer: RunWriter, *, opened: bool) -> None:
    """The former worker died in this step: give up on a run that kills its workers.

    `opened`: the step is stored, but for its calls outside, and is gone on with. Else it is done again, and a trace is
    kept of the one that was lost.
    """
    if not opened:
        publish(writer, StepLost(step_id=claim.lost_step_id))
        _record_lost(claim)
    if claim.run.failures >= MAX_LOST_STEPS:
        raise WorkersLost(f"{MAX_LOST_STEPS} workers died at this step, one after another; it is not tried again.")


def _record_lost(claim: Claim) -> None:
    run = claim.run
    Step.objects.bulk_create(
        [
            Step(
                id=claim.lost_step_id,
                organization_id=run.organization_id,
                run_id=run.pk,
                agent_id=run.agent_id,
                index=run.step_count,
                attempt=run.failures,
                status=StepStatus.FAILED,
                error_type="worker_lost",
                error_data={"message": "The worker died in this step; it was done again."},
                started_at=run.started_at or run.created_at,
            )
        ],
        ignore_conflicts=True,
    )


class WorkersLost(AppError):
    code = "workers_lost"
