"""Stored messages as agent files have them, and back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import F

from agents.context import pack_summary, to_local
from agents.models import Agent
from agents.prompts import sentences
from agents.schemas import agent_files as files
from agents.schemas.content import ImagePart, TextPart
from agents.tools.arguments import clean_all
from conversations import images
from conversations.models import Conversation, Message, Role
from conversations.rows import searchable
from core.errors import BadInput, NotFound
from core.time import now

BATCH = 500
UNANSWERED = "This call waited for an answer when its agent was written to a file; it was not made."
# Of a return, and of no other server: the call was not admitted, or a human changed it.
_OWN = ("refused", "edited_arguments")
_PLAIN = ("name", "otid", "sender_id", "group_id", "model")


def write(agent: Agent, conversation_id: str | None) -> tuple[list[dict[str, Any]], list[str]]:
    """(messages, the ids of those in context in their order). Two queries."""
    rows = Conversation.objects.filter(agent=agent)
    rows = rows.filter(pk=conversation_id) if conversation_id else rows.filter(is_default=True)
    conversation = rows.first()
    if conversation is None:
        raise NotFound(f"Conversation with ID {conversation_id} not found")
    written, seen = [], []
    for n, row in enumerate(conversation.messages.order_by("seq").iterator(BATCH)):
        written.append(_written(row, agent.timezone) | {"id": f"message-{n}"})
        if row.in_context:
            seen.append((row.seq > 0, row.role != Role.SUMMARY, row.seq, f"message-{n}"))
    return written, [name for *_, name in sorted(seen)]


def take(agent: Agent, messages: Sequence[files.FileMessage], in_context: Collection[str]) -> None:
    """Store them in the default conversation of an agent that was just made, which has its system message already.

    Raises BadInput for an image that models do not take. No background task will ask a model about them.
    """
    conversation = Conversation.objects.select_for_update(of=("self",)).get(agent=agent, is_default=True)
    shown = set(in_context)
    names: dict[str, str] = {}
    rows: list[Message] = []
    for n, message in enumerate(messages):
        if n == 0 and message.role == Role.SYSTEM:
            continue  # compiled anew for the new agent
        row = Message(
            organization_id=agent.organization_id,
            agent=agent,
            conversation=conversation,
            seq=conversation.next_seq + len(rows),
            in_context=message.id in shown,
            **_read(message, n, names),
        )
        rows.append(row)
    seen = [row for row in rows if row.in_context]
    if seen and seen[-1].tool_calls:
        rows.append(_unanswered(seen[-1], conversation.next_seq + len(rows)))
    Message.objects.bulk_create(rows, batch_size=BATCH)
    after = conversation.next_seq + len(rows)
    last = rows[-1].created_at if rows else None
    Conversation.objects.filter(pk=conversation.pk).update(
        next_seq=after, vector_seq=after, last_message_at=last, context_version=F("context_version") + 1
    )


def _written(row: Message, timezone: str) -> dict[str, Any]:
    at = to_local(row.created_at, timezone)
    content = [_written_part(part) for part in row.content]
    if row.role == Role.SUMMARY:
        content = [{"type": "text", "text": pack_summary(row.text, row.created_at, timezone), "signature": None}]
    returns = [_written_return(item, at) for item in row.tool_returns]
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        "type": "message",
        "role": row.role,
        "content": content,
        "batch_item_id": None,
        "tool_calls": [_written_call(call) for call in row.tool_calls] or None,
        "tool_call_id": row.tool_returns[0]["tool_call_id"] if row.tool_returns else None,
        "tool_returns": returns,
        "created_at": row.created_at.isoformat(),
        "approve": None,
        "approval_request_id": None,
        "denial_reason": None,
        "approvals": row.approvals or [],
        "stats": row.stats,
        "is_err": row.is_err or None,
    }


def _written_part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part["type"]
    if kind == "image":
        source = {"type": "base64", "media_type": part["media_type"], "data": part["data"]}
        return {"type": "image", "source": source | {"detail": part.get("detail")}}
    if kind == "redacted_reasoning":
        return {"type": kind, "data": part["data"]}
    signature = part.get("signature")
    if kind == "text":
        return {"type": "text", "text": part["text"], "signature": signature}
    if part.get("id") or part.get("encrypted"):
        summary = [{"index": 0, "text": part["text"]}]
        told = {"id": part.get("id"), "summary": summary, "encrypted_content": part.get("encrypted")}
        return {"type": "summarized_reasoning", "signature": signature} | told
    return {"type": "reasoning", "is_native": True, "reasoning": part["text"], "signature": signature}


def _written_call(call: Mapping[str, Any]) -> dict[str, Any]:
    found = {"id": call["id"], "function": {"name": call["name"], "arguments": call["arguments"]}, "type": "function"}
    return found | ({"signature": call["signature"]} if call.get("signature") else {})


def _written_return(item: Mapping[str, Any], at: str) -> dict[str, Any]:
    failed = bool(item.get("is_error"))
    packed = {"status": "Failed" if failed else "OK", "message": item.get("content") or "", "time": at}
    return {
        "tool_call_id": item["tool_call_id"],
        "name": item.get("name"),
        "status": "error" if failed else "success",
        "func_response": json.dumps(packed, ensure_ascii=False),
        "stdout": item.get("stdout"),
        "stderr": item.get("stderr"),
        **{name: item[name] for name in _OWN if name in item},
    }


def _read(message: files.FileMessage, n: int, names: dict[str, str]) -> dict[str, Any]:
    """The columns of a stored message. `names`: of the tools called so far, by the id of the call."""
    role = "tool" if message.role == "function" else message.role
    content = list(_read_content(message.content, n))
    calls = [_read_call(call) for call in message.tool_calls or ()]
    names.update({call["id"]: call["name"] for call in calls})
    returns = [_read_return(item, names) for item in message.tool_returns or ()] if role == "tool" else []
    if role == "tool" and not returns and message.tool_call_id:
        text = "".join(part["text"] for part in content if part["type"] == "text")
        failed = _object(text).get("status") == "Failed"
        one = files.Return(tool_call_id=message.tool_call_id, func_response=text, name=message.name)
        one.status = "error" if failed else "success"
        returns = [_read_return(one, names)]
    if role == "tool":
        content = []
    if role == "summary":
        content = [{"type": "text", "text": _unpacked_summary(content)}]
    said = {"content": clean_all(content), "tool_calls": clean_all(calls), "tool_returns": clean_all(returns)}
    columns = {name: getattr(message, name) for name in _PLAIN}
    return columns | {
        **said,
        "role": role,
        "approvals": _read_approvals(message) if role == "approval" and not calls else None,
        "stats": _read_stats(message),
        "is_err": bool(message.is_err),
        "text": searchable(said),
        "created_at": message.created_at or now(),
    }


def _read_content(content: str | list[files.Part] | None, n: int) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    for part in content or ():
        found: dict[str, Any] = {}
        match part:
            case TextPart():
                found = {"type": "text", "text": part.text, "signature": part.signature}
            case files.ReasoningPart():
                found = {"type": "reasoning", "text": part.reasoning, "signature": part.signature}
            case files.RedactedPart():
                found = {"type": "redacted_reasoning", "data": part.data}
            case files.SummarizedPart():
                text = "".join(piece.text for piece in part.summary)
                found = {"type": "reasoning", "text": text, "id": part.id, "encrypted": part.encrypted_content}
                found |= {"signature": part.signature}
            case ImagePart():
                found = _read_image(part.source, n)
        if found:
            yield {name: value for name, value in found.items() if value is not None}


def _read_image(source: Mapping[str, Any], n: int) -> dict[str, Any]:
    data, detail = source.get("data"), source.get("detail")
    if not isinstance(data, str) or not data:
        return {"type": "text", "text": "[an image that the agent's file did not have]"}
    try:
        return images.inline(data, detail if isinstance(detail, str) else None)
    except BadInput as error:
        raise BadInput(f"{n}: {error.message}") from None


def _read_call(call: files.Call) -> dict[str, Any]:
    found = {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
    return found | ({"signature": call.signature} if call.signature else {})


def _read_return(item: files.Return, names: Mapping[str, str]) -> dict[str, Any]:
    said = item.func_response or ""
    if not isinstance(said, str):
        said = "".join(part.text for part in said if isinstance(part, TextPart))
    call_id = item.tool_call_id or ""
    own = {name: getattr(item, name) for name in _OWN if getattr(item, name)}
    return own | {
        "tool_call_id": call_id,
        "name": item.name or names.get(call_id) or "",
        "content": _unpacked_return(said),
        "is_error": item.status == "error",
        "stdout": item.stdout,
        "stderr": item.stderr,
    }


def _read_stats(message: files.FileMessage) -> dict[str, Any] | None:
    """What a request for approval waits for is some of its own calls; None: all of them."""
    if message.role != "approval":
        return message.stats if message.role == "summary" else None
    awaited = (message.stats or {}).get("awaits")
    found = [call.id for call in message.tool_calls or () if isinstance(awaited, list) and call.id in awaited]
    return {"awaits": found} if found else None


def _read_approvals(message: files.FileMessage) -> list[dict[str, Any]]:
    """As the wire has them; a tool's return is spelled otherwise in files of the retired server."""
    found = []
    for given in message.approvals or ():
        item = dict(given)
        if "func_response" in item:
            said = item.pop("func_response")
            item |= {"type": "tool", "tool_return": _unpacked_return(said) if isinstance(said, str) else ""}
        found.append(item | {"type": item.get("type") or ("approval" if "approve" in item else "tool")})
    if not found and message.approve is not None:
        found = [{"type": "approval", "approve": message.approve, "reason": message.denial_reason}]
    return found


def _unpacked_return(text: str) -> str:
    """Of a return as models see it: {"status", "message", "time"}. Null: the function returned nothing."""
    packed = _object(text)
    said = packed.get("message", "")
    if {"status", "message", "time"} != set(packed) or not isinstance(said, str | None):
        return text
    return said or ""


def _unpacked_summary(content: Sequence[Mapping[str, Any]]) -> str:
    text = "".join(part["text"] for part in content if part["type"] == "text")
    said = _object(text).get("message")
    if not isinstance(said, str):
        return text
    lead = sentences("summary")["packed"].partition("{summary}")[0]
    if said.startswith(lead):
        return said[len(lead) :]
    return said.partition("summary of the previous messages:\n")[2].strip() or said


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text.startswith("{") else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _unanswered(asked: Message, seq: int) -> Message:
    """Models refuse a call that has no return, and nobody waits for this one any more."""
    returns = [
        {"tool_call_id": call["id"], "name": call["name"], "content": UNANSWERED, "is_error": True}
        | {"stdout": None, "stderr": None}
        for call in asked.tool_calls
    ]
    return Message(
        organization_id=asked.organization_id,
        agent_id=asked.agent_id,
        conversation=asked.conversation,
        seq=seq,
        role=Role.TOOL,
        tool_returns=returns,
        text=searchable({"content": [], "tool_calls": [], "tool_returns": returns}),
        created_at=asked.created_at,
    )
