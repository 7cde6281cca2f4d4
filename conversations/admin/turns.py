"""Stored messages as turns to be drawn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from console.chat import Call, Return, Turn, add_parts, clipped
from console.display import pretty
from conversations.models import Message


def turns_of(messages: Iterable[Message]) -> list[Turn]:
    turns = [_turn(message) for message in messages]
    names = {call.id: call.name for turn in turns for call in turn.calls}
    for turn in turns:
        turn.returns = [
            Return(r.call_id, r.name or names.get(r.call_id, ""), r.content, r.is_error, r.extra) for r in turn.returns
        ]
    return turns


def _turn(message: Message) -> Turn:
    meta: dict[str, Any] = {
        "id": message.pk,
        "at": message.created_at,
        "name": message.name or (message.model if message.role == "assistant" else ""),
        "run_id": message.run_id,
        "step_id": message.step_id,
        "out_of_context": not message.in_context,
        "is_error": message.is_err,
    }
    turn = add_parts(Turn(message.role, meta=meta), message.content)
    turn.calls = [
        Call(str(c.get("id", "")), str(c.get("name", "")), clipped(pretty(c.get("arguments", ""))))
        for c in message.tool_calls
    ]
    turn.returns = [_return(r) for r in message.tool_returns]
    if message.approvals:
        turn.texts.append(pretty(message.approvals))
    elif message.role == "approval":
        turn.texts.append("Waits for a person to approve the call.")
    return turn


def _return(stored: dict[str, Any]) -> Return:
    streams = [("stdout", stored.get("stdout")), ("stderr", stored.get("stderr"))]
    extra = "\n".join(f"{name}: {_lines(value)}" for name, value in streams if value)
    return Return(
        str(stored.get("tool_call_id", "")),
        str(stored.get("name") or ""),
        clipped(pretty(stored.get("content", ""))),
        bool(stored.get("is_error")),
        clipped(extra),
    )


def _lines(value: Any) -> str:
    return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value)
