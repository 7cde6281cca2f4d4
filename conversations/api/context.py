"""/v1/agents/{agent_id}/context: what fills an agent's context window."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer
from agents.schemas.agents import ContextWindowOverview
from agents.schemas.base import AgentId
from conversations import access
from conversations.overview import overview
from conversations.schemas.base import ConversationRef

router = Router(tags=["agents"])


@router.get("/{agent_id}/context", response=ContextWindowOverview, deprecated=True)
def retrieve_context(
    request: ApiRequest, agent_id: Path[AgentId], conversation_id: Query[ConversationRef | None] = None
) -> HttpResponse:
    """Of the default conversation, or of the one named."""
    conversation = access.conversation_ref(request.caller, conversation_id or access.DEFAULT, agent_id)
    return answer(overview(conversation))
