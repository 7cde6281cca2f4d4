"""Stored messages as plain rows, the form in which workers remember them and events carry them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from agents.context import from_part
from agents.tools.arguments import clean_all
from conversations.models import Conversation, Message
from conversations.wire import argument
from core.ids import new_id
from core.time import to_seconds
from providers.types import Message as ModelMessage

Row = dict[str, Any]
SEARCH = "conversation_search"
TALK = "send_message"

COLUMNS = (
    "id",
    "conversation_id",
    "agent_id",
    "run_id",
    "step_id",
    "seq",
    "role",
    "content",
    "tool_calls",
    "tool_returns",
    "approvals",
    "stats",
    "name",
    "otid",
    "sender_id",
    "model",
    "group_id",
    "is_err",
    "created_at",
)


def fresh_row(conversation: Conversation, at: datetime, **columns: Any) -> Row:
    """A row that is to be stored; what is not named is empty."""
    row: Row = {
        "id": new_id("message"),
        "conversation_id": conversation.pk,
        "agent_id": conversation.agent_id,
        "run_id": None,
        "step_id": None,
        "seq": 0,
        "content": [],
        "tool_calls": [],
        "tool_returns": [],
        "approvals": None,
        "stats": None,
        "name": None,
        "otid": None,
        "sender_id": None,
        "model": None,
        "group_id": None,
        "is_err": False,
        "created_at": at,
    }
    return dated(row | columns)


def row_of(message: Message) -> Row:
    row = {name: getattr(message, name) for name in COLUMNS}
    return dated(row)


def dated(row: Row) -> Row:
    """`created_at` becomes ISO text, and `date` its whole seconds, as the wire has them."""
    at = row["created_at"]
    row["date"] = to_seconds(at)
    row["created_at"] = at.isoformat()
    return row


def answer_to_json(message: ModelMessage) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(content, tool_calls) columns of what a model said."""
    content = [from_part(part) for part in message.content]
    calls = [{name: value for name, value in asdict(call).items() if value is not None} for call in message.tool_calls]
    return clean_all(content), clean_all(calls)


def searchable(row: Row) -> str:
    """What searches read of a message: also what an agent of an old type says by a tool. What a search found is not
    found again."""
    texts = [part["text"] for part in row["content"] if part["type"] == "text"]
    texts += [argument(call, "message") for call in row["tool_calls"] if call["name"] == TALK]
    texts += [str(item["content"]) for item in row["tool_returns"] if item["name"] != SEARCH]
    return "\n".join(texts)
