"""The one transaction in which a step becomes real: its messages, tool effects, usage and the run's new state.

Either all of it is written or nothing. The run's row must still carry the worker's fencing number; where it does not,
the run was cancelled or taken over, `LeaseLost` is raised and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from agents import loop
from agents.loop import Answer, Verdict
from agents.model_calls import Outcome
from agents.models import Agent
from agents.tool_rules import Called
from agents.tools import execute
from agents.tools.execute import Planned
from conversations import deadlines
from conversations.doorbell import ring_callbacks
from conversations.models import Conversation, Message, Run, RunStatus, Step, StepStatus
from conversations.rows import Row, answer_to_json, fresh_row, searchable
from conversations.turn import Work, made_calls
from core.time import now, to_ms
from providers.usage import Usage

COMPLETING = frozenset({"end_turn", "max_steps", "tool_rule"})


class LeaseLost(Exception):
    """The run is not ours any more."""


@dataclass(slots=True)
class Committed:
    """What was written. `rows`: the new messages, the input included. `status` None: another step follows.

    `overtaken`: somebody changed the conversation meanwhile, so that what the worker remembers of it is void.
    """

    rows: list[Row] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    status: RunStatus | None = None
    usage: Usage = field(default_factory=Usage)
    overtaken: bool = False


def status_of(stop_reason: str) -> RunStatus:
    if stop_reason == "requires_approval":
        return RunStatus.WAITING_APPROVAL
    return RunStatus.COMPLETED if stop_reason in COMPLETING else RunStatus.FAILED


def commit_step(work: Work, answer: Answer, outcome: Outcome, planned: Sequence[Planned]) -> Committed:
    """Raises LeaseLost; then nothing was written."""
    done = Committed(usage=Usage(**work.run.usage) + outcome.all_usage)
    with fenced(work.run):
        if planned:
            check_fence(work.run)
        tools_at = now()
        returns = execute.apply(planned)
        done.rows = said_rows(work, answer)
        if returns:
            done.rows.append(tool_row(work, returns, len(done.rows)))
        done.verdict = verdict(work, answer, planned, returns)
        if done.verdict.nudge:
            done.rows.append(_nudge(work, done.verdict.nudge, len(done.rows)))
        done.status = status_of(done.verdict.stop_reason) if done.verdict.stop_reason else None
        _write(work, outcome, done, to_ms(tools_at, now()) if returns else None)
    return done


@contextmanager
def fenced(run: Run) -> Iterator[None]:
    """A transaction of the run's worker. Raises LeaseLost where another worker has its place in the conversation."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError:  # who took the run over was faster
        if ours(run).exists():
            raise
        raise LeaseLost(run.pk) from None


def verdict(work: Work, answer: Answer, planned: Sequence[Planned], returns: Sequence[dict[str, Any]]) -> Verdict:
    if loop.paused(work.turn, answer.calls):
        return Verdict(stop_reason="requires_approval")
    if any(item.conflict for item in planned):
        return Verdict(stop_reason="invalid_tool_call")
    return loop.verdict(work.turn, answer, returned(work, returns))


def returned(work: Work, returns: Sequence[dict[str, Any]]) -> list[Called]:
    """The tool returns of a step as the calls that followed those that the turn has made so far."""
    called = work.turn.called
    return made_calls(returns, called[-1].step + 1 if called else 0)


def ours(run: Run) -> QuerySet[Run]:
    """The run's row, as long as it is this worker's."""
    return Run.objects.filter(pk=run.pk, fence=run.fence, status=RunStatus.RUNNING)


def check_fence(run: Run) -> None:
    """Lock the run's row and make sure that it is still ours. Raises LeaseLost."""
    if not ours(run).select_for_update().values_list("fence", flat=True):
        raise LeaseLost(run.pk)


def said_rows(work: Work, answer: Answer) -> list[Row]:
    """The step's input and the model's answer, numbered behind what the conversation holds."""
    waits = loop.paused(work.turn, answer.calls)
    content, tool_calls = answer_to_json(answer.message)
    kept = {call.id for call in answer.calls}
    tool_calls = [call for call in tool_calls if call["id"] in kept]
    rows = [row | {"step_id": work.run.current_step_id} for row in work.fresh]
    if content or tool_calls:
        said = new_row(work, role="approval" if waits else "assistant", content=content, tool_calls=tool_calls)
        if waits:
            said["stats"] = _awaits(work, answer, said["created_at"])
        rows.append(said | {"id": work.turn.message_id, "model": work.target.info.handle})
    for offset, row in enumerate(rows):
        row["seq"] = work.conversation.next_seq + offset
    return rows


def _awaits(work: Work, answer: Answer, asked_at: str) -> dict[str, Any]:
    awaited = [call for call in answer.calls if loop.needs_approval(work.turn, call.name)]
    expires_at = deadlines.expires_at(work, (call.name for call in awaited), asked_at)
    found: dict[str, Any] = {"awaits": [call.id for call in awaited]}
    return found | {"expires_at": expires_at} if expires_at else found


def tool_row(work: Work, returns: list[dict[str, Any]], offset: int = 0) -> Row:
    row = new_row(work, role="tool", tool_returns=returns, name=returns[0]["name"])
    return row | {"seq": work.conversation.next_seq + offset}


def new_row(work: Work, **columns: Any) -> Row:
    """A message of the step."""
    step = {"run_id": work.run.pk, "step_id": work.run.current_step_id}
    return fresh_row(work.conversation, now(), **step | columns)


def _nudge(work: Work, text: str, offset: int) -> Row:
    row = new_row(work, role="user", content=[{"type": "text", "text": text}])
    return row | {"seq": work.conversation.next_seq + offset}


def insert_rows(organization_id: str, rows: Sequence[Row]) -> None:
    """Store messages: one query."""
    Message.objects.bulk_create(
        Message(
            organization_id=organization_id,
            text=searchable(row),
            created_at=datetime.fromisoformat(row["created_at"]),
            **{name: value for name, value in row.items() if name not in ("date", "created_at")},
        )
        for row in rows
    )


def _write(work: Work, outcome: Outcome, done: Committed, tools_ms: int | None) -> None:
    at = now()
    Step.objects.bulk_create([step_row(work, outcome, at=at, **ending(done, tools_ms))])
    insert_rows(work.run.organization_id, done.rows)
    write_conversation(work, done, spoken(work, outcome))
    write_run(work.run, {**spent(work.run, outcome, done.usage), **stepped(work.run, done, at)})


def ending(done: Committed, tools_ms: int | None) -> dict[str, Any]:
    """What the step's row says of its end."""
    used = sorted({item["name"] for row in done.rows for item in row["tool_returns"]})
    return {"tools_ms": tools_ms, "stop_reason": done.verdict.stop_reason, "tools_used": used}


def spent(run: Run, outcome: Outcome, usage: Usage) -> dict[str, Any]:
    """Columns of the run that a model call changes; `usage`: the run's, with it."""
    changes: dict[str, Any] = {"usage": asdict(usage)}
    if outcome.all_cost_usd is not None:
        changes["cost_usd"] = (run.cost_usd or 0) + outcome.all_cost_usd
    if run.ttft_ms is None and outcome.first_event_at is not None:
        changes["ttft_ms"] = to_ms(run.created_at, outcome.first_event_at)
    return changes


def stepped(run: Run, done: Committed, at: datetime) -> dict[str, Any]:
    """Columns of the run that the end of a step changes; nobody holds it then."""
    changes: dict[str, Any] = {
        "step_count": run.step_count + 1,
        "failures": 0,
        "worker": "",
        "current_step_id": "",
        "lease_expires_at": at + timedelta(seconds=settings.RUN_LEASE_S),
    }
    if done.status is not None:
        changes |= {"status": done.status, "stop_reason": done.verdict.stop_reason, "completed_at": at}
    if done.status == RunStatus.WAITING_APPROVAL:
        changes["approval_expires_at"] = deadlines.of_request(done.rows)
    return changes


def write_run(run: Run, changes: dict[str, Any]) -> None:
    """Raises LeaseLost, which undoes the transaction it is called in."""
    if not ours(run).update(**changes):
        raise LeaseLost(run.pk)
    if run.callback_url and changes.get("status"):
        transaction.on_commit(ring_callbacks)


def note_last_run(run: Run, stop_reason: str) -> None:
    """What an agent shows of its last run; written when everybody has been answered."""
    at = now()
    Agent.objects.filter(pk=run.agent_id).update(
        last_run_completion=at, last_run_duration_ms=to_ms(run.created_at, at), last_stop_reason=stop_reason
    )


def spoken(work: Work, outcome: Outcome) -> dict[str, Any]:
    """Columns of the conversation that a model call changes; the system prompt that it saw is stored."""
    changes: dict[str, Any] = {"context_tokens": outcome.usage.total}
    if work.system_changed is not None:
        changes["compiled_version"] = work.agent.prompt_version
    if work.system_changed:
        changes["context_version"] = work.conversation.context_version + 1
        write_system(work.history.seen[0].row)
    return changes


def write_conversation(work: Work, done: Committed, changes: dict[str, Any]) -> None:
    conversation = work.conversation
    changes |= {"next_seq": conversation.next_seq + len(done.rows), "last_message_at": now()}
    if done.verdict.stop_reason == "requires_approval":
        changes["pending_approval_id"] = work.turn.message_id
    if done.status is not None:
        changes["last_run_completion"] = now()
    row = Conversation.objects.filter(pk=conversation.pk)
    known = row.filter(context_version=conversation.context_version, sends_wait=conversation.sends_wait)
    done.overtaken = not known.update(**changes)
    if done.overtaken:
        conversation.sends_wait = True  # perhaps: somebody has to look
        row.update(**changes | {"context_version": F("context_version") + 1})
    for name, value in changes.items():
        setattr(conversation, name, value)


def write_system(row: Row) -> None:
    Message.objects.filter(pk=row["id"]).update(content=row["content"], text=row["content"][0]["text"])


def step_row(work: Work, outcome: Outcome, **more: Any) -> Step:
    """The step as it is stored; `at` is its end."""
    run, target, at = work.run, work.target, more.pop("at")
    return Step(
        id=run.current_step_id,
        organization_id=run.organization_id,
        run_id=run.pk,
        agent_id=run.agent_id,
        index=run.step_count,
        attempt=run.failures + 1,
        model=target.model,
        model_handle=target.info.handle,
        provider_name=target.info.provider_name,
        provider_type=target.credential.provider_type,
        provider_category=target.category,
        provider_id=target.provider_id or "",
        context_window_limit=work.window,
        usage=asdict(outcome.usage),
        cost_usd=outcome.cost_usd,
        price_source=outcome.price_source,
        price_tier=outcome.price.tier if outcome.price else "",
        price_confidence=outcome.price.confidence if outcome.price else "",
        trace_call_id=outcome.call_id,
        started_at=work.started_at,
        model_ms=outcome.model_ms,
        ttft_ms=outcome.ttft_ms,
        total_ms=to_ms(work.started_at, at),
        **{"status": StepStatus.SUCCESS, **more},
    )


def remember_rows(work: Work, rows: Sequence[Row]) -> None:
    """Keep the worker's memory of the conversation in step with what was written."""
    history = work.history
    for row in rows:
        history.append(row)
    history.next_seq = work.conversation.next_seq
    history.version = work.conversation.context_version
