"""What finds messages by words and meaning, and how they are shown then."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from agents.schemas.base import AgentId, ConversationId, ProjectId, Wire
from agents.threads import MessageSearch
from conversations import wire
from conversations.overview import stored_message
from conversations.rows import row_of
from conversations.schemas.base import ConversationRef
from conversations.schemas.messages import ImagePart, TextPart
from conversations.search import Hit
from conversations.wire import View
from core.time import aware

Mode = Literal["vector", "fts", "hybrid"]
Role = Literal["assistant", "user", "tool", "function", "system", "approval", "summary"]
SPOKEN = ("assistant", "user", "system")
_SPOKEN = View(include=frozenset(f"{role}_message" for role in SPOKEN))


class _Search(Wire):
    """`end_date` is included. Without a query the newest come first."""

    query: Annotated[str, Field(max_length=10_000)] | None = None
    search_mode: Mode = "hybrid"
    agent_id: AgentId | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    start_date: datetime | None = None
    end_date: datetime | None = None

    def wanted(self, organization_id: str, conversation_id: str | None, roles: tuple[str, ...]) -> MessageSearch:
        return MessageSearch(
            organization_id=organization_id,
            agent_id=self.agent_id,
            conversation_id=conversation_id,
            query=self.query or "",
            mode=self.search_mode,
            roles=roles,
            limit=self.limit,
            start=aware(self.start_date),
            end=aware(self.end_date),
        )


class SearchAllMessages(_Search):
    """Of all agents; `conversation_id` may be `default`, with an `agent_id`."""

    query: Annotated[str, Field(max_length=10_000)]
    conversation_id: ConversationRef | None = None


class MessageSearchBody(_Search):
    conversation_id: ConversationId | None = None
    project_id: ProjectId | None = None
    template_id: str | None = None
    roles: list[Role] | None = None

    @field_validator("template_id")
    @classmethod
    def _not_yet(cls, value: str | None) -> str | None:
        if value:
            raise ValueError("agents of this server are of no template: leave it out")
        return value


class StoredMessage(Wire):
    """A message as it is stored: Message of the contract."""

    id: str
    agent_id: str | None = None
    conversation_id: str | None = None
    role: str
    content: list[dict[str, Any]] | None = None
    name: str | None = None
    model: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    tool_returns: list[dict[str, Any]] | None = None
    step_id: str | None = None
    run_id: str | None = None
    otid: str | None = None
    group_id: str | None = None
    sender_id: str | None = None
    batch_item_id: str | None = None
    is_err: bool | None = None
    approval_request_id: str | None = None
    approve: bool | None = None
    denial_reason: str | None = None
    approvals: list[dict[str, Any]] | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class MessageSearchResult(Wire):
    """The ranks are the message's places in what was found by words and by meaning, from 1 on."""

    embedded_text: str
    message: StoredMessage
    fts_rank: int | None = None
    vector_rank: int | None = None
    rrf_score: float


class FoundMessage(Wire):
    message_type: Literal["system_message", "user_message", "assistant_message"]
    content: str | list[TextPart | ImagePart]
    message_id: str
    agent_id: str | None = None
    conversation_id: str | None = None
    created_at: datetime


def search_result(hit: Hit) -> dict[str, Any]:
    row = {**row_of(hit.message), "created_at": hit.message.created_at, "updated_at": hit.message.updated_at}
    return {
        "embedded_text": hit.message.text,
        "message": stored_message(row),
        "fts_rank": hit.words_place,
        "vector_rank": hit.vector_place,
        "rrf_score": hit.score,
    }


def found_message(hit: Hit) -> dict[str, Any]:
    """What was said in it: beside it, an answer may hold thoughts and calls."""
    row = row_of(hit.message)
    said = wire.message_of(row, _SPOKEN)[0]
    return {
        "message_type": said["message_type"],
        "content": said["content"],
        "message_id": row["id"],
        "agent_id": row["agent_id"],
        "conversation_id": row["conversation_id"],
        "created_at": row["created_at"],
    }
