"""Tool calls that nobody will finish, because their run ends before: each gets a return all the same, so that the
conversation stays one that a model can go on with, and knows what was done."""

from __future__ import annotations

from typing import Any

from conversations import approvals
from conversations.models import Conversation, Message, Run, RunStatus, Step, StepStatus, ToolExecution
from conversations.rows import Row, row_of
from core.ids import new_id
from core.time import now, to_ms, to_seconds

GIVEN_UP = "This call was given up, because {}. It had been begun: it may have had its effect, or not."


def answer_calls_outside(run: Run, why: str, status: StepStatus) -> Row | None:
    """The returns of calls that the run has declared and not committed, stored as one message; None where there are
    none. Within the transaction that ends the run. `status`: of their step, which ends too."""
    left = ToolExecution.objects.filter(run=run).select_related("message").first()
    if left is None:
        return None
    request = left.message
    for step in Step.objects.filter(pk=request.step_id, status=StepStatus.PENDING):
        at = now()
        ended = {"status": status, "stop_reason": run.stop_reason, "total_ms": to_ms(step.started_at, at)}
        Step.objects.filter(pk=step.pk).update(**ended)
    Run.objects.filter(pk=request.run_id, status=RunStatus.WAITING_APPROVAL).update(status=RunStatus.COMPLETED)
    conversation = Conversation.objects.select_for_update().get(pk=request.conversation_id)
    return answer_calls(conversation, request, run, why)


def answer_calls(conversation: Conversation, request: Message, run: Run, why: str) -> Row:
    """A return for each call of `request`: what was recorded of it, or that it was not made. A wait for it ends.

    `conversation` is locked.
    """
    made = {row.position: row for row in ToolExecution.objects.filter(message=request)}
    at = now()
    row: Row = row_of(request) | {
        "id": new_id("message"),
        "run_id": run.pk,
        "role": "tool",
        "content": [],
        "tool_calls": [],
        "stats": None,
        "tool_returns": [_return(call, made.get(place), why) for place, call in enumerate(request.tool_calls)],
        "created_at": at.isoformat(),
        "date": to_seconds(at),
    }
    approvals.store(conversation, [row])
    if made:
        ToolExecution.objects.filter(message=request).delete()
    return row


def _return(call: dict[str, Any], made: ToolExecution | None, why: str) -> dict[str, Any]:
    if made is not None and made.result is not None:
        return {name: value for name, value in made.result.items() if name != "edits"}
    told = approvals.denial(call, why)
    if made is not None and made.started_at is not None:
        told["content"] = GIVEN_UP.format(why)
    return told
