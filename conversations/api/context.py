"""/v1/agents/{agent_id}/context and /generate: what fills an agent's context window, and its model without it."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents.access import get_agent
from agents.api.answers import answer
from agents.schemas.agents import ContextWindowOverview
from agents.schemas.base import AgentId
from conversations import access, generating
from conversations.overview import overview
from conversations.schemas.base import ConversationRef
from conversations.schemas.sending import GenerateBody, GenerateResponse

router = Router(tags=["agents"])


@router.post("/{agent_id}/generate", response=GenerateResponse)
def generate(request: ApiRequest, agent_id: Path[AgentId], data: GenerateBody) -> HttpResponse:
    """One question to the agent's model, without its memory, its tools and its conversations."""
    return answer(generating.generate(request.caller, get_agent(request.caller, agent_id), data))


@router.get("/{agent_id}/context", response=ContextWindowOverview, deprecated=True)
def retrieve_context(
    request: ApiRequest, agent_id: Path[AgentId], conversation_id: Query[ConversationRef | None] = None
) -> HttpResponse:
    """Of the default conversation, or of the one named."""
    conversation = access.conversation_ref(request.caller, conversation_id or access.DEFAULT, agent_id)
    return answer(overview(conversation))
