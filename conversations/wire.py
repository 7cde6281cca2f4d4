"""Stored messages as the wire of `/v1` shows them: one row may give several API messages with the same id."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents.context import pack_summary
from core.ids import bare_uuid

Wire = dict[str, Any]
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """How a caller wants messages shown."""

    include: Collection[str] | None = None
    compaction_messages: bool = False
    use_assistant_message: bool = True
    assistant_tool: str = "send_message"
    assistant_kwarg: str = "message"


DEFAULT_VIEW = View()


def otid_of(message_id: str, index: int) -> str:
    """The uuid of the message with its last 7 bits replaced by the index of the piece."""
    bare = bare_uuid(message_id)
    tail = (int(bare[-2:], 16) & 0x80) | (index & 0x7F)
    return f"{bare[:-2]}{tail:02x}"


def base(message_type: str, row: Row, otid: str | None) -> Wire:
    return {
        "id": row["id"],
        "date": row["date"],
        "name": row.get("name"),
        "message_type": message_type,
        "otid": otid,
        "sender_id": row.get("sender_id"),
        "step_id": row.get("step_id"),
        "is_err": True if row.get("is_err") else None,
        "seq_id": None,
        "run_id": row.get("run_id"),
    }


def messages_of(rows: Iterable[Row], view: View = DEFAULT_VIEW) -> list[Wire]:
    return [message for row in rows for message in message_of(row, view)]


def message_of(row: Row, view: View = DEFAULT_VIEW) -> list[Wire]:
    """The API messages of one stored message, in order, filtered as the view says."""
    found = _BY_ROLE[row["role"]](row, view)
    if view.include is None:
        return found
    return [message for message in found if message["message_type"] in view.include]


def _system(row: Row, _: View) -> list[Wire]:
    return [base("system_message", row, row.get("otid")) | {"content": _text(row)}]


def _user(row: Row, _: View) -> list[Wire]:
    return [base("user_message", row, row.get("otid")) | {"content": _unpacked(_content(row))}]


def _summary(row: Row, view: View) -> list[Wire]:
    if view.compaction_messages:
        shown = {"summary": _text(row), "compaction_stats": row.get("stats")}
        return [base("summary_message", row, row.get("otid")) | shown]
    packed = pack_summary(_text(row), datetime.fromisoformat(row["created_at"]), stats=row.get("stats"))
    return [base("user_message", row, row.get("otid")) | {"content": packed}]


def _assistant(row: Row, view: View) -> list[Wire]:
    found = _spoken(row)
    calls = list(row["tool_calls"])
    if view.use_assistant_message:
        for call in [c for c in calls if c["name"] == view.assistant_tool]:
            found.append(base("assistant_message", row, None) | {"content": argument(call, view.assistant_kwarg)})
            calls.remove(call)
    if calls:
        shown = [_call(call) for call in calls]
        found.append(base("tool_call_message", row, None) | {"tool_call": shown[0], "tool_calls": shown})
    for index, message in enumerate(found):
        message["otid"] = otid_of(row["id"], index)
    return found


def _spoken(row: Row) -> list[Wire]:
    """Reasoning and text, in the order reasoning, hidden reasoning, text."""
    found: list[Wire] = []
    reasoning = [part for part in row["content"] if part["type"] == "reasoning"]
    if reasoning:
        signature = next((part["signature"] for part in reasoning if part.get("signature")), None)
        text = "".join(part["text"] for part in reasoning)
        found.append(
            base("reasoning_message", row, None)
            | {"source": "reasoner_model", "reasoning": text, "signature": signature}
        )
    for part in row["content"]:
        if part["type"] == "redacted_reasoning":
            state = "redacted" if part.get("data") else "omitted"
            hidden = {"state": state, "hidden_reasoning": part.get("data") or None}
            found.append(base("hidden_reasoning_message", row, None) | hidden)
    text = _text(row)
    if text:
        found.append(base("assistant_message", row, None) | {"content": text})
    return found


def _tool(row: Row, _: View) -> list[Wire]:
    returns = [tool_return(item) for item in row["tool_returns"]]
    if not returns:
        return []
    first = returns[0]
    shown = base("tool_return_message", row, otid_of(row["id"], 0))
    shown["name"] = row.get("name") or row["tool_returns"][0].get("name")
    shown |= {key: first[key] for key in ("tool_return", "status", "tool_call_id", "stdout", "stderr")}
    return [shown | {"tool_returns": returns}]


def tool_return(item: Mapping[str, Any]) -> Wire:
    return {
        "type": "tool",
        "tool_return": item["content"],
        "status": "error" if item.get("is_error") else "success",
        "tool_call_id": item["tool_call_id"],
        "stdout": item.get("stdout"),
        "stderr": item.get("stderr"),
    }


def _approval(row: Row, _: View) -> list[Wire]:
    if row.get("approvals") is not None:
        given = row["approvals"]
        first: Wire = next((item for item in given if item.get("type") == "approval"), {})
        answer = {
            "approvals": given,
            "approve": first.get("approve"),
            "approval_request_id": row.get("group_id"),
            "reason": first.get("reason"),
        }
        return [base("approval_response_message", row, row.get("otid")) | answer]
    found = _spoken(row)
    for index, message in enumerate(found):
        message["otid"] = otid_of(row["id"], index)
    stats = row.get("stats") or {}
    awaited = stats.get("awaits")
    shown = [_call(call) for call in row["tool_calls"] if awaited is None or call["id"] in awaited]
    request = base("approval_request_message", row, row["id"]) | {"tool_call": shown[0], "tool_calls": shown}
    if stats.get("expires_at"):
        request["expires_at"] = stats["expires_at"]
    return [*found, request]


_BY_ROLE = {
    "system": _system,
    "user": _user,
    "summary": _summary,
    "assistant": _assistant,
    "tool": _tool,
    "approval": _approval,
}


def argument(call: Mapping[str, Any], name: str) -> str:
    """What a call gave for one parameter; all of it where that cannot be read."""
    try:
        return str(json.loads(call["arguments"])[name])
    except (ValueError, KeyError, TypeError):
        return str(call["arguments"])


def _call(call: Mapping[str, Any]) -> Wire:
    return {"name": call["name"], "arguments": call["arguments"], "tool_call_id": call["id"]}


def _text(row: Row) -> str:
    return "".join(part["text"] for part in row["content"] if part["type"] == "text")


def _content(row: Row) -> str | list[Wire]:
    if all(part["type"] == "text" for part in row["content"]):
        return _text(row)
    return [content_part(part) for part in row["content"]]


def content_part(part: Mapping[str, Any]) -> Wire:
    """A part of a stored message's content, as the wire has it."""
    if part["type"] == "image":
        source = {"type": "base64", "media_type": part["media_type"], "data": part["data"]}
        return {"type": "image", "source": source | {"detail": part.get("detail")}}
    if part["type"] == "reasoning":
        shown = {"type": "reasoning", "is_native": True, "reasoning": part["text"]}
        return shown | {"signature": part.get("signature")}
    if part["type"] == "redacted_reasoning":
        return {"type": "redacted_reasoning", "data": part["data"]}
    return {"type": "text", "text": part["text"], "signature": part.get("signature")}


def _unpacked(content: str | list[Wire]) -> str | list[Wire]:
    """Old agent types pack what the user wrote as JSON; the wire shows it bare."""
    if not isinstance(content, str) or not content.startswith('{"type": "user_message"'):
        return content
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError):
        return content
