"""Going on after a pause: a human approved or denied tool calls, or the client ran its own and says what they gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.tools import execute
from agents.tools.execute import Planned
from conversations import history as histories
from conversations import outside
from conversations.commit import check_fence, insert_rows, new_row, returned, write_run
from conversations.models import Conversation, Run, RunStatus, ToolExecution
from conversations.rows import Row
from conversations.turn import Work, answers_approval, offer_of, tool_context
from core.errors import BadInput, Conflict
from core.time import now
from providers.types import ToolCall

DENIED = "Error: this call was denied. Reason: {}"
CANCELLED = "the run was cancelled by the user"
NOTHING_AWAITED = "No tool call is awaiting approval in this conversation."


@dataclass(frozen=True, slots=True)
class Resumed:
    """What was written. `status`: how the turn ended by it, None where it goes on."""

    rows: list[Row]
    stop_reason: str | None = None
    status: RunStatus | None = None


def resumes(work: Work) -> bool:
    """Whether this run's input answers the request that the conversation waits on, and has not been acted on yet.

    Raises Conflict where the request came, BadInput where it went, after the input had been accepted.
    """
    if work.run.step_count:
        return False
    pending = work.conversation.pending_approval_id
    if not answers_approval(work.run):
        if pending:
            raise awaited(pending)
        return False
    if not pending and not any(entry.row["run_id"] == work.run.pk for entry in work.history.seen[-2:]):
        raise BadInput(NOTHING_AWAITED)
    return bool(pending)


def awaited(pending: str) -> Conflict:
    message = "CONFLICT: the agent waits for approval of a tool call. Approve or deny it before going on."
    return Conflict(message, detail={"code": "PENDING_APPROVAL", "message": message, "pending_request_id": pending})


def awaits(request: Mapping[str, Any]) -> list[str]:
    """The tool calls that a request for approval, a row of a message, asks about."""
    return list((request["stats"] or {}).get("awaits") or [call["id"] for call in request["tool_calls"]])


def resume(work: Work, left: Sequence[ToolExecution], abandoned: Callable[[], bool]) -> Resumed:
    """Run what was approved, refuse what was denied, take what the client returned; all of it at once, or nothing.

    `left`: calls outside the database that a dead worker had declared. Raises LeaseLost.
    """
    sent = next(row for row in work.run.input if row["role"] == "approval")
    request = next(e.row for e in work.history.seen if e.row["id"] == work.conversation.pending_approval_id)
    given = {item["tool_call_id"]: item for item in sent["approvals"]}
    if set(given) != set(awaits(request)):
        raise awaited(request["id"])
    calls = [_edited(ToolCall(**call), given.get(call["id"])) for call in request["tool_calls"]]
    to_run = [call for call in calls if _runs(given.get(call.id))]
    places = [place for place, call in enumerate(calls) if call in to_run]
    planned = execute.plan(to_run, offer_of(work, to_run), tool_context(work, request["step_id"] or ""))
    planned = [replace(item, place=place) for item, place in zip(planned, places, strict=True)]
    made = _declared(work, request, planned, left)
    results = outside.perform(outside.Calls(run=work.run, planned=planned, made=made, abandoned=abandoned))
    with transaction.atomic():
        check_fence(work.run)
        _end_waiting(request)
        done = {item["tool_call_id"]: item for item in execute.apply(planned, results)}
        done |= {call.id: _given(call, given[call.id]) for call in calls if call.id not in done}
        returns = [done[call.id] | _edit(given.get(call.id)) for call in calls]
        rows = [
            new_row(work, **sent | {"step_id": request["step_id"], "group_id": request["id"]}),
            new_row(work, role="tool", tool_returns=returns, name=returns[0]["name"], step_id=request["step_id"]),
        ]
        resumed = Resumed(rows, *_ending(work, planned, returns))
        store(work.conversation, rows)
        if made:
            outside.forget(made)
        write_run(work.run, _changes(resumed))
    histories.forget(work.conversation.pk)
    return resumed


def _declared(
    work: Work, request: Row, planned: Sequence[Planned], left: Sequence[ToolExecution]
) -> dict[int, ToolExecution]:
    """The calls outside the database, by place, written down before any is made."""
    if left:
        return outside.recover(work.run, planned, left)
    if not outside.calls_outside(planned):
        return {}
    with transaction.atomic():
        check_fence(work.run)
        return outside.declare(work.run, request["id"], planned)


def _end_waiting(request: Row) -> None:
    """The run that asked has its answer. Taken before the conversation, as those do who cancel it."""
    waiting = Run.objects.filter(pk=request["run_id"], status=RunStatus.WAITING_APPROVAL)
    waiting.update(status=RunStatus.COMPLETED)


def _ending(
    work: Work, planned: Sequence[Planned], returns: Sequence[dict[str, Any]]
) -> tuple[str | None, RunStatus | None]:
    """A rule may end the turn with these calls, as it may with any; not where more was said to the agent."""
    offered = [tool.name for tool in work.turn.tools]
    if any(item.conflict for item in planned):
        return "invalid_tool_call", RunStatus.FAILED
    called = [*work.turn.called, *returned(work, returns)]
    if not work.fresh and work.turn.rules.ends(offered, called):
        return "tool_rule", RunStatus.COMPLETED
    return None, None


def _changes(resumed: Resumed) -> dict[str, Any]:
    at = now()
    lease = at + timedelta(seconds=settings.RUN_LEASE_S)
    changes: dict[str, Any] = {"worker": "", "current_step_id": "", "lease_expires_at": lease}
    if resumed.status is not None:
        changes |= {"status": resumed.status, "stop_reason": resumed.stop_reason, "completed_at": at}
    return changes


def store(conversation: Conversation, rows: list[Row]) -> None:
    """Append rows and end the wait. Raises Conflict where it has ended already."""
    waiting = Conversation.objects.filter(pk=conversation.pk, pending_approval_id=conversation.pending_approval_id)
    if not waiting.update(next_seq=conversation.next_seq + len(rows), pending_approval_id=""):
        raise Conflict(NOTHING_AWAITED)
    for offset, row in enumerate(rows):
        row["seq"] = conversation.next_seq + offset
    insert_rows(conversation.organization_id, rows)


def denial(call: dict[str, Any], reason: str) -> dict[str, Any]:
    """The return that stands for a call that was not made."""
    return {"tool_call_id": call["id"], "name": call["name"], "content": DENIED.format(reason), "is_error": True}


def _edit(item: dict[str, Any] | None) -> dict[str, Any]:
    """What a human made of the call's arguments, if anything: the return carries it, so that the model knows."""
    edit = (item or {}).get("edited_arguments")
    return {} if edit is None else {"edited_arguments": edit}


def _edited(call: ToolCall, item: dict[str, Any] | None) -> ToolCall:
    edit = _edit(item)
    return replace(call, arguments=json.dumps(edit["edited_arguments"], ensure_ascii=False)) if edit else call


def _runs(item: dict[str, Any] | None) -> bool:
    """A call that nobody was asked about waited for the others, and runs with them."""
    return item is None or bool(item["type"] == "approval" and item["approve"])


def _given(call: ToolCall, item: dict[str, Any]) -> dict[str, Any]:
    if item["type"] == "approval":
        return denial({"id": call.id, "name": call.name}, item.get("reason") or "none given")
    return {
        "tool_call_id": call.id,
        "name": call.name,
        "content": item["tool_return"],
        "is_error": item["status"] == "error",
        "stdout": item.get("stdout"),
        "stderr": item.get("stderr"),
    }
