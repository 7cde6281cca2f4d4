"""Answers to a request for approval, looked at when they are sent: whether they fit, and whether they came before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from accounts.access import Caller
from agents.tools.arguments import read
from agents.tools.base import ToolError
from conversations import approvals, turn
from conversations.models import ACTIVE, Conversation, Message, Run
from conversations.rows import Row, row_of
from core.errors import BadInput

REPEATED_WITHIN = 50  # runs


def checked(conversation: Conversation, rows: Sequence[Row]) -> list[Row]:
    """The rows, if they fit what the conversation waits for. Raises Conflict, BadInput."""
    answers = [row for row in rows if row["role"] == "approval"]
    pending = conversation.pending_approval_id
    if not answers and not pending:
        return list(rows)
    if pending and not answers:
        raise approvals.awaited(pending)
    if not pending:
        raise BadInput(approvals.NOTHING_AWAITED)
    if len(answers) > 1:
        raise BadInput("Send one approval, with an entry for each waiting call.")
    request = row_of(Message.objects.get(pk=pending))
    given = _expanded(answers[0]["approvals"], request)
    awaited = approvals.awaits(request)
    if sorted(item["tool_call_id"] for item in given) != sorted(awaited):
        raise BadInput(f"The approvals must name exactly the waiting tool calls: {', '.join(awaited)}.")
    _check_edits(conversation, request, given)
    return [{**answers[0], "approvals": given}, *(row for row in rows if row["role"] != "approval")]


def account(
    caller: Caller, conversation: Conversation, rows: Sequence[Row], billing: Mapping[str, str]
) -> dict[str, Any]:
    """Columns of the run that is made of `rows`: on whose account it goes.

    An answer to a request goes on with the turn of the run that asked. What it does not say itself is as it was there,
    so that the end user's budget and keys count across the pause.
    """
    asking = _asking(conversation, rows)
    return {
        "project_id": caller.project_id or (asking and asking.project_id) or conversation.agent.project_id,
        "api_key_id": caller.api_key_id or (asking.api_key_id if asking else ""),
        "user_id": caller.user_id,
        "identity_id": next((row["sender_id"] for row in rows if row.get("sender_id")), "")
        or (asking.identity_id if asking else ""),
        "billing": billing or (asking.billing if asking else {}),
    }


def _asking(conversation: Conversation, rows: Sequence[Row]) -> Run | None:
    """The run whose request `rows` answer."""
    pending = conversation.pending_approval_id
    if not pending or all(row["role"] != "approval" for row in rows):
        return None
    columns = ("project_id", "api_key_id", "identity_id", "billing")
    return Run.objects.filter(messages=pending).only(*columns).first()


def repeated(conversation: Conversation, rows: Sequence[Row]) -> Run | None:
    """The run that the same answer has started before: a client that lost the reply sends it again."""
    answers = [row["approvals"] for row in rows if row["role"] == "approval"]
    if len(answers) != 1 or not answers[0]:
        return None
    whole = answers[0][0]["type"] == "all"
    request_id = conversation.pending_approval_id or (whole and answers[0][0]["request_id"])
    request = Message.objects.filter(pk=request_id, conversation=conversation).first() if request_id else None
    if whole and request is None:
        return None
    given = _expanded(answers[0], row_of(request)) if request else answers[0]
    newest = Run.objects.filter(conversation=conversation).order_by("-created_at")
    if conversation.pending_approval_id:  # one that failed before it acted may be followed by another
        newest = newest.filter(status__in=ACTIVE)
    same = {"role": "approval", "approvals": [{"tool_call_id": given[0]["tool_call_id"]}]}
    run = Run.objects.filter(pk__in=newest.values("pk")[:REPEATED_WITHIN], input__contains=[same]).first()
    if run is None or _by_call(given) != _by_call(next(r for r in run.input if r["role"] == "approval")["approvals"]):
        return None
    return run


def _by_call(given: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["tool_call_id"]: item for item in given}


def _expanded(given: list[dict[str, Any]], request: Row) -> list[dict[str, Any]]:
    """The old form, one answer for all, as one answer for each."""
    if not given or given[0]["type"] != "all":
        return given
    whole = given[0]
    if whole["request_id"] not in (None, request["id"]):
        raise BadInput(f"The approval_request_id must be that of the waiting request: {request['id']}.")
    common = {"type": "approval", "approve": whole["approve"], "reason": whole["reason"]}
    return [{**common, "tool_call_id": call_id} for call_id in approvals.awaits(request)]


def _check_edits(conversation: Conversation, request: Row, given: Sequence[dict[str, Any]]) -> None:
    """A human who edits learns of a mistake at once; a model would read of it in the tool's return."""
    edits = {item["tool_call_id"]: edit for item in given if (edit := item.get("edited_arguments")) is not None}
    if not edits:
        return
    tools = turn.tools_of(conversation.agent)
    for call in request["tool_calls"]:
        if call["id"] not in edits:
            continue
        if call["name"] not in tools:
            raise BadInput(f"{call['name']} is a tool of the client: run it there, and send what it returned.")
        try:
            read(call["name"], json.dumps(edits[call["id"]]), tools[call["name"]]["json_schema"], {})
        except ToolError as error:
            raise BadInput(f"The edited arguments do not fit the tool: {error.message}") from None
