"""Conversations on the wire: Conversation, and what creates, changes and finds one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.schemas.agents import Handle
from agents.schemas.base import AgentId, Limit, Page, PositiveInt, Wire
from agents.schemas.blocks import LabelText
from agents.schemas.model_settings import ModelSettings
from conversations.beginning import NewConversation
from conversations.models import Conversation
from conversations.schemas.base import MessageId

Title = Annotated[str, Field(max_length=10_000)]


class ConversationOut(Wire):
    """`summary` is its title. `in_context_message_ids`: what the model sees, the system message first."""

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    id: str
    agent_id: str
    summary: str | None = None
    description: str | None = None
    in_context_message_ids: list[str] = Field(default_factory=list)
    isolated_block_ids: list[str] = Field(default_factory=list)
    model: str | None = None
    model_settings: dict[str, Any] | None = None
    context_window_limit: int | None = None
    hidden: bool = False
    archived: bool = False
    archived_at: datetime | None = None
    last_message_at: datetime | None = None


class CreateConversation(Wire):
    summary: Title | None = None
    description: Title | None = None
    model: Handle | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: PositiveInt | None = None
    hidden: bool = False
    isolated_block_labels: Annotated[list[LabelText], Field(max_length=100)] | None = None

    def wanted(self) -> NewConversation:
        sent = self.model_dump(exclude={"isolated_block_labels", "model_settings"})
        return NewConversation(
            **sent,
            model_settings=self.model_settings.sparse() if self.model_settings else None,
            isolated_block_labels=tuple(self.isolated_block_labels or ()),
        )


class UpdateConversation(Wire):
    """Only the fields that are sent are changed; null clears."""

    summary: Title | None = None
    description: Title | None = None
    model: Handle | None = None
    model_settings: ModelSettings | None = None
    context_window_limit: PositiveInt | None = None
    last_message_at: datetime | None = None
    archived: bool | None = None

    def changes(self) -> dict[str, Any]:
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        if self.model_settings is not None:
            sent["model_settings"] = self.model_settings.sparse()
        return sent


class AgentOfConversation(Wire):
    agent_id: AgentId


class ForkQuery(Wire):
    """`message_id`: the last message that the fork has; without it, all that was said so far."""

    agent_id: AgentId | None = None
    message_id: MessageId | None = None
    hidden: bool = False


class ConversationFilters(Wire):
    agent_id: AgentId | None = None
    summary_search: Annotated[str, Field(max_length=200)] | None = None
    archive_status: Literal["unarchived", "archived", "all"] = "unarchived"


class ConversationQuery(ConversationFilters, Page):
    limit: Limit | None = 50
    order_by: Literal["created_at", "last_run_completion", "last_message_at"] = "created_at"  # type: ignore[assignment]


def conversation_out(
    conversation: Conversation, message_ids: Sequence[str], block_ids: Sequence[str]
) -> ConversationOut:
    return ConversationOut.model_construct(
        created_by_id=conversation.created_by_id,
        last_updated_by_id=conversation.last_updated_by_id,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        id=conversation.pk,
        agent_id=conversation.agent_id,
        summary=conversation.summary,
        description=conversation.description,
        in_context_message_ids=list(message_ids),
        isolated_block_ids=list(block_ids),
        model=conversation.model,
        model_settings=conversation.model_settings,
        context_window_limit=conversation.context_window_limit,
        hidden=conversation.hidden,
        archived=conversation.archived_at is not None,
        archived_at=conversation.archived_at,
        last_message_at=conversation.last_message_at,
    )
