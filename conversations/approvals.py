"""Going on after a pause: a human approved or denied tool calls, or the client ran its own and says what they gave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from agents.tools import execute
from conversations import history as histories
from conversations.commit import check_fence, insert_rows, new_row, write_run
from conversations.models import Conversation
from conversations.rows import Row
from conversations.turn import Work, offer_of, tool_context
from core.time import now
from providers.types import ToolCall

DENIED = "Error: this call was denied. Reason: {}"
CANCELLED = "the run was cancelled by the user"


def resumes(work: Work) -> bool:
    """Whether this run's input answers the request that the conversation waits on, and has not been acted on yet."""
    return bool(work.conversation.pending_approval_id) and any(row["role"] == "approval" for row in work.run.input)


def resume(work: Work) -> list[Row]:
    """Run what was approved, refuse what was denied, take what the client returned; all of it at once, or nothing."""
    sent = next(row for row in work.run.input if row["role"] == "approval")
    request = next(e.row for e in work.history.seen if e.row["id"] == work.conversation.pending_approval_id)
    given = {item["tool_call_id"]: item for item in sent["approvals"]}
    calls = [ToolCall(**call) for call in request["tool_calls"]]
    to_run = [call for call in calls if _runs(given.get(call.id))]
    planned = execute.plan(to_run, offer_of(work, to_run), tool_context(work, request["step_id"] or ""))
    with transaction.atomic():
        check_fence(work.run)
        returned = {item["tool_call_id"]: item for item in execute.apply(planned)}
        returned |= {call.id: _given(call, given[call.id]) for call in calls if call.id not in returned}
        rows = [
            new_row(work, **sent | {"step_id": request["step_id"], "group_id": request["id"]}),
            new_row(work, role="tool", tool_returns=[returned[call.id] for call in calls], step_id=request["step_id"]),
        ]
        store(work.conversation, rows)
        write_run(work.run, {"worker": "", "current_step_id": "", "lease_expires_at": _soon()})
    histories.forget(work.conversation.pk)
    return rows


def store(conversation: Conversation, rows: list[Row]) -> None:
    """Append rows and end the wait."""
    for offset, row in enumerate(rows):
        row["seq"] = conversation.next_seq + offset
    insert_rows(conversation.organization_id, rows)
    changes = {"next_seq": conversation.next_seq + len(rows), "pending_approval_id": ""}
    Conversation.objects.filter(pk=conversation.pk).update(**changes)


def denial(call: dict[str, Any], reason: str) -> dict[str, Any]:
    """The return that stands for a call that was not made."""
    return {"tool_call_id": call["id"], "name": call["name"], "content": DENIED.format(reason), "is_error": True}


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


def _soon() -> Any:
    return now() + timedelta(seconds=settings.RUN_LEASE_S)
