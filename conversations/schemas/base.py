"""Ids and cursors of this room's wire shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agents.schemas.base import Limit, Page
from core.ids import UUID4, id_pattern
from core.pagination import Cursor

StepId = Annotated[str, Field(pattern=id_pattern("step"))]
MessageId = Annotated[str, Field(pattern=id_pattern("message"))]
# Which conversation: its own id, `default` with an `agent_id`, or the agent's id (deprecated), which means its default.
ConversationRef = Annotated[str, Field(pattern=rf"^(conv-{UUID4}|agent-{UUID4}|default)$")]

MessageType = Literal[
    "system_message",
    "user_message",
    "assistant_message",
    "reasoning_message",
    "hidden_reasoning_message",
    "tool_call_message",
    "tool_return_message",
    "approval_request_message",
    "approval_response_message",
    "summary_message",
    "event_message",
]


class LongPage(Page):
    limit: Limit | None = 100

    def cursor(self) -> Cursor:
        return Cursor(before=self.before, after=self.after, limit=self.limit or 100, order=self.order)
