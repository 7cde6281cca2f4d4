"""What was said, changed afterwards: the text of a stored message, for the model and for whoever reads it."""

from __future__ import annotations

import json
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Least

from accounts import audit
from accounts.access import Caller
from accounts.audit import Deed
from conversations import access, images, wire
from conversations.inputs import parts_of
from conversations.models import Conversation, Message, Role
from conversations.rows import TALK, row_of, searchable
from conversations.schemas.editing import (
    UpdateAssistantMessage,
    UpdateMessage,
    UpdateReasoningMessage,
    UpdateSystemMessage,
    UpdateUserMessage,
)
from conversations.vector_models import MessageVector
from core.errors import AppError

Part = dict[str, Any]


class WrongKind(AppError):
    code = "wrong_kind"
    status = 405


def edit_message(caller: Caller, agent_id: str, message_id: str, update: UpdateMessage) -> wire.Wire:
    """The message as it shows now. A step that is under way has read the old one. Raises NotFound, WrongKind, BadInput.

    A system prompt that was edited stays so until the agent's memory changes it.
    """
    conversation_id = access.get_message(caller, message_id, agent_id=agent_id).conversation_id
    parts: list[Part] = []
    if isinstance(update, UpdateUserMessage):
        sent = [{"content": parts_of(update.content)}]
        images.check(sent)
        parts = images.loaded(sent)[0]["content"]
    with transaction.atomic():
        Conversation.objects.select_for_update(no_key=True).get(pk=conversation_id)
        message = access.get_message(caller, message_id, agent_id=agent_id)
        before = message.text
        _edit(message, update, parts)
        message.text = searchable(row_of(message))
        message.save(update_fields=["content", "tool_calls", "text", "updated_at"])
        _forget(message)
        after = {"text": message.text}
        deed = Deed(action="message.edit", target=message.pk, before={"text": before}, after=after)
        audit.note(caller.organization_id, caller.actor_id, deed)
    return next(m for m in wire.message_of(row_of(message)) if m["message_type"] == update.message_type)


def _forget(message: Message) -> None:
    """What workers and searches remember of the message."""
    MessageVector.objects.filter(pk=message.pk).delete()
    Conversation.objects.filter(pk=message.conversation_id).update(
        context_version=F("context_version") + 1, vector_seq=Least("vector_seq", max(1, message.seq))
    )


def _edit(message: Message, update: UpdateMessage, parts: list[Part]) -> None:
    said = message.role in (Role.ASSISTANT, Role.APPROVAL)
    match update:
        case UpdateSystemMessage(content=content) if message.role == Role.SYSTEM:
            message.content = [{"type": "text", "text": content}]
        case UpdateUserMessage() if message.role == Role.USER:
            message.content = parts
        case UpdateReasoningMessage(reasoning=text) if said and _has(message, "reasoning"):
            # Without its signature, which holds for the old words alone; vendors pass such thinking over.
            message.content = _replaced(message.content, {"type": "reasoning", "text": text})
        case UpdateAssistantMessage(content=content) if said and _has(message, "text"):
            message.content = _replaced(message.content, {"type": "text", "text": _text(content)})
        case UpdateAssistantMessage(content=content) if said and _talk(message) is not None:
            message.tool_calls = [_saying(call, _text(content)) for call in message.tool_calls]
        case _:
            raise WrongKind(f"{message.pk} holds no {update.message_type}: name the type that it shows as.")


def _has(message: Message, kind: str) -> bool:
    return any(part["type"] == kind for part in message.content)


def _talk(message: Message) -> Part | None:
    """The call by which an agent of an old type says something."""
    return next((call for call in message.tool_calls if call["name"] == TALK), None)


def _saying(call: Part, text: str) -> Part:
    return {**call, "arguments": json.dumps({"message": text}, ensure_ascii=False)} if call["name"] == TALK else call


def _replaced(content: list[Part], new: Part) -> list[Part]:
    """`new` in the place of the first part of its type, and no other of that type."""
    first = next(index for index, part in enumerate(content) if part["type"] == new["type"])
    rest = [part for part in content[first + 1 :] if part["type"] != new["type"]]
    return [*content[:first], new, *rest]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
