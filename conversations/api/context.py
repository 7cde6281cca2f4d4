"""/v1/agents/{agent_id}/context: what fills an agent's context window."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Router

from accounts.http import ApiRequest
from agents.access import check_agent
from agents.api.answers import answer
from agents.schemas.agents import ContextWindowOverview
from agents.schemas.base import AgentId, ConversationId
from conversations.models import Conversation
from conversations.overview import overview
from core.errors import NotFound

router = Router(tags=["agents"])


@router.get("/{agent_id}/context", response=ContextWindowOverview, deprecated=True)
def retrieve_context(
    request: ApiRequest, agent_id: Path[AgentId], conversation_id: ConversationId | None = None
) -> HttpResponse:
    """Of the default conversation, or of the one named."""
    check_agent(request.caller, agent_id)
    rows = Conversation.objects.filter(agent_id=agent_id).select_related("agent")
    found = rows.filter(pk=conversation_id) if conversation_id else rows.filter(is_default=True)
    conversation = found.first()
    if conversation is None:
        raise NotFound(f"Conversation with ID {conversation_id} not found")
    return answer(overview(conversation))
