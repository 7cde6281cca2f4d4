"""/v1/conversations: create, find, change, cancel and delete conversations."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query

from accounts.http import ApiRequest
from agents.access import get_agent
from agents.api.answers import answer, answer_list, answer_plain
from agents.schemas.base import AgentId
from conversations import access, actions, beginning, changes
from conversations.api.messages import conversations_router as router
from conversations.queries import conversations_out, find_conversations
from conversations.schemas.base import ConversationRef
from conversations.schemas.conversations import (
    AgentOfConversation,
    ConversationOut,
    ConversationQuery,
    CreateConversation,
    ForkQuery,
    UpdateConversation,
)
from core.pagination import page


@router.post("/", response=ConversationOut)
def create_conversation(
    request: ApiRequest, query: Query[AgentOfConversation], data: CreateConversation | None = None
) -> HttpResponse:
    agent = get_agent(request.caller, query.agent_id)
    new = (data or CreateConversation()).wanted()
    return answer(conversations_out([beginning.create_conversation(request.caller, agent, new)])[0])


@router.get("/", response=list[ConversationOut])
def list_conversations(request: ApiRequest, query: Query[ConversationQuery]) -> HttpResponse:
    """Without hidden ones and the agents' default ones; without archived ones unless `archive_status` says so."""
    rows = find_conversations(request.caller, query, request.project_id)
    return answer_list(conversations_out(page(rows, query.cursor(), key=query.order_by)))


@router.get("/{conversation_id}", response=ConversationOut)
def retrieve_conversation(
    request: ApiRequest, conversation_id: Path[ConversationRef], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    return answer(conversations_out([access.conversation_ref(request.caller, conversation_id, agent_id)])[0])


@router.patch("/{conversation_id}", response=ConversationOut)
def update_conversation(
    request: ApiRequest,
    conversation_id: Path[ConversationRef],
    data: UpdateConversation,
    agent_id: Query[AgentId | None] = None,
) -> HttpResponse:
    conversation = access.conversation_ref(request.caller, conversation_id, agent_id)
    return answer(conversations_out([changes.update_conversation(request.caller, conversation, data.changes())])[0])


@router.delete("/{conversation_id}", response=None)
def delete_conversation(
    request: ApiRequest, conversation_id: Path[ConversationRef], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    """With its messages and runs; what runs in it is cancelled."""
    changes.delete_conversation(access.conversation_ref(request.caller, conversation_id, agent_id))
    return answer_plain(None)


@router.post("/{conversation_id}/fork", response=ConversationOut)
def fork_conversation(
    request: ApiRequest, conversation_id: Path[ConversationRef], query: Query[ForkQuery]
) -> HttpResponse:
    """A new conversation that goes on from the same messages, or from `message_id`."""
    source = access.conversation_ref(request.caller, conversation_id, query.agent_id)
    fork = beginning.fork_conversation(request.caller, source, message_id=query.message_id, hidden=query.hidden)
    return answer(conversations_out([fork])[0])


@router.post("/{conversation_id}/cancel", response=dict[str, str])
def cancel_conversation(
    request: ApiRequest, conversation_id: Path[ConversationRef], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    """Cancel what runs or waits: run id to "cancelled" or "failed"."""
    conversation = access.conversation_ref(request.caller, conversation_id, agent_id)
    return answer_plain(actions.cancel_conversation(conversation))
