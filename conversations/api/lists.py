"""The routes of `/v1` that read and edit messages: of an agent, a conversation, a run, a step, and of all."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer_plain
from agents.schemas.base import AgentId
from conversations import access, wire
from conversations.api.messages import agents_router, conversations_router, runs_router
from conversations.editing import edit_message
from conversations.queries import read_messages, thread
from conversations.rows import row_of
from conversations.schemas.base import ConversationRef, MessageId, StepId
from conversations.schemas.editing import UpdateMessage
from conversations.schemas.messages import (
    AgentMessageQuery,
    AllMessageQuery,
    ConversationMessageQuery,
    MessageOut,
    TurnMessageQuery,
)
from conversations.schemas.runs import RunId

messages_router = Router(tags=["messages"])
steps_router = Router(tags=["steps"])


@agents_router.get("/{agent_id}/messages", response=list[MessageOut])
def list_agent_messages(request: ApiRequest, agent_id: Path[AgentId], query: Query[AgentMessageQuery]) -> HttpResponse:
    """Of the agent's default conversation, or of the one named; compacted messages too. `limit` counts stored
    messages, of which one may give several here. Without `order`: the newest, the oldest of them first."""
    found = access.conversation_id_of(request.caller, query.conversation_id or access.DEFAULT, agent_id)
    rows = thread(found, group_id=query.group_id, with_errors=query.include_err)
    return answer_plain(read_messages(rows, query))


@agents_router.patch("/{agent_id}/messages/{message_id}", response=MessageOut, deprecated=True)
def modify_message(
    request: ApiRequest, agent_id: Path[AgentId], message_id: Path[MessageId], data: UpdateMessage
) -> HttpResponse:
    """Change what a message says. Of a message that shows as several, name the type that is meant."""
    return answer_plain(edit_message(request.caller, agent_id, message_id, data))


@conversations_router.get("/{conversation_id}/messages", response=list[MessageOut])
def list_conversation_messages(
    request: ApiRequest, conversation_id: Path[ConversationRef], query: Query[ConversationMessageQuery]
) -> HttpResponse:
    """Newest first; compacted messages too. `limit` counts stored messages, of which one may give several here."""
    found = access.conversation_id_of(request.caller, conversation_id, query.agent_id)
    rows = thread(found, group_id=query.group_id, with_errors=query.include_err)
    return answer_plain(read_messages(rows, query))


@runs_router.get("/{run_id}/messages", response=list[MessageOut])
def list_run_messages(request: ApiRequest, run_id: Path[RunId], query: Query[TurnMessageQuery]) -> HttpResponse:
    access.check_run(request.caller, run_id)
    return answer_plain(read_messages(access.messages_of(request.caller).filter(run_id=run_id), query))


@steps_router.get("/{step_id}/messages", response=list[MessageOut])
def list_step_messages(request: ApiRequest, step_id: Path[StepId], query: Query[TurnMessageQuery]) -> HttpResponse:
    access.check_step(request.caller, step_id)
    return answer_plain(read_messages(access.messages_of(request.caller).filter(step_id=step_id), query))


@messages_router.get("/", response=list[MessageOut])
def list_messages(request: ApiRequest, query: Query[AllMessageQuery]) -> HttpResponse:
    """Of all conversations of the organization, or of the one named. Without `order`: the newest, oldest first."""
    rows = access.messages_of(request.caller).filter(is_err=False)
    if query.conversation_id:
        rows = rows.filter(conversation_id=access.conversation_id_of(request.caller, query.conversation_id))
    return answer_plain(read_messages(rows, query, key="created_at"))


@messages_router.get("/{message_id}", response=list[MessageOut])
def retrieve_message(request: ApiRequest, message_id: Path[MessageId]) -> HttpResponse:
    """One stored message: all that it shows as."""
    return answer_plain(wire.message_of(row_of(access.get_message(request.caller, message_id))))
