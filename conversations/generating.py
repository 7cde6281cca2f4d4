"""One question to an agent's model outside any conversation: no memory, no tools, and nothing of it is stored."""

from __future__ import annotations

import uuid
from typing import Any

from accounts.access import Caller
from agents.model_calls import CallContext, ModelCall
from agents.models import Agent
from conversations import turn
from conversations.events import statistics
from conversations.schemas.sending import GenerateBody, GenerateResponse, UsageStatistics
from core.db import release_connection
from providers.events import Finished
from providers.resolve import resolve
from providers.types import Message, ModelRequest, TextPart


def generate(caller: Caller, agent: Agent, asked: GenerateBody) -> GenerateResponse:
    """Raises BadInput (no such model), what budgets and stops raise, ProviderError."""
    project_id = caller.project_id or agent.project_id or ""
    target = resolve(agent.organization_id, asked.override_model or agent.model, project_id)
    messages = [Message("user", (TextPart(asked.prompt),))]
    if asked.system_prompt:
        messages.insert(0, Message("system", (TextPart(asked.system_prompt),)))
    request = ModelRequest(
        model=target.model,
        messages=tuple(messages),
        response_format=_format(asked.response_schema),
        **turn.request_fields({} if asked.override_model else agent.model_settings),
    )
    context = CallContext(
        organization_id=agent.organization_id,
        call_type="generate",
        project_id=project_id,
        agent_id=agent.pk,
        agent_tags=tuple(agent.tags),
        trace_id=uuid.uuid4().hex,
        api_key_id=caller.api_key_id,
    )
    call = ModelCall(target, request, context)
    release_connection()
    [finished] = [event for event in call.events() if isinstance(event, Finished)]
    usage = finished.usage
    return GenerateResponse(
        content=finished.message.text,
        model=call.target.info.handle,
        usage=UsageStatistics(**statistics(usage), step_count=1, context_tokens=usage.total),
    )


def _format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    return schema and {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
