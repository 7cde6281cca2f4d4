"""An agent's tool run by hand: as the agent would run it, in its default conversation, with nothing said there."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts.access import Caller
from agents import access
from agents.model_calls import CallContext
from agents.models import Agent, AgentTool, ToolType
from agents.schemas.tools import ToolExecutionResult
from agents.tools.base import ToolContext, ToolError
from agents.tools.blocks import write_changes
from agents.tools.execute import Offer, Planned, apply, limit_return, plan
from agents.tools.external import EXTERNAL_COLUMNS, OFFERED, ExternalReturn
from agents.tools.source_runs import a_place
from conversations.models import Conversation
from core.errors import AppError, NotFound
from core.time import now
from providers.errors import ProviderError
from providers.types import ToolCall


def run_agent_tool(caller: Caller, agent_id: str, name: str, args: Mapping[str, Any]) -> ToolExecutionResult:
    """What the tool does wrong is a result. Raises NotFound, LimitExceeded (enough tools are being run by hand)."""
    agent = access.get_agent(caller, agent_id)
    found = AgentTool.objects.filter(agent=agent, tool__name=name).order_by("attached_at", "id")
    row = found.values(*(f"tool__{column}" for column in (*OFFERED, *EXTERNAL_COLUMNS))).last()
    if row is None:
        raise NotFound(f"Tool '{name}' is not attached to agent {agent_id}: attach it first.")
    tool = {column.removeprefix("tool__"): value for column, value in row.items()}
    call = ToolCall(id=f"call_{uuid.uuid4().hex}", name=name, arguments=json.dumps(args))
    [planned] = plan([call], Offer(tools={name: tool}), _context(caller, agent))
    if planned.external is not None:
        return _external(planned)
    with transaction.atomic():
        [result] = apply([planned])
    if result["is_error"]:
        return ToolExecutionResult(status="error", func_return=result["content"], stderr=[result["content"]])
    return ToolExecutionResult(status="success", func_return=result["content"], stdout=[], stderr=[])


def _context(caller: Caller, agent: Agent) -> ToolContext:
    conversation = Conversation.objects.only("id").get(agent=agent, is_default=True)
    return ToolContext(
        organization_id=caller.organization_id,
        agent_id=agent.pk,
        conversation_id=conversation.pk,
        timezone=agent.timezone,
        now=now(),
        idempotency_key=str(uuid.uuid4()),
        depth=caller.depth,
        model_calls=CallContext(
            organization_id=caller.organization_id,
            call_type="embedding",
            project_id=agent.project_id or caller.project_id or "",
            agent_id=agent.pk,
            agent_tags=tuple(agent.tags),
            conversation_id=conversation.pk,
            api_key_id=caller.api_key_id,
        ),
    )


def _external(planned: Planned) -> ToolExecutionResult:
    assert planned.external is not None
    try:
        with a_place():
            given = planned.external.run(planned.context, planned.row, planned.args)
        if given.edits:
            with transaction.atomic():
                write_changes(planned.context, planned.call.name, given.edits)
    except (ToolError, AppError, ProviderError) as error:
        return ToolExecutionResult(status="error", func_return=error.message, stderr=[error.message])
    return ToolExecutionResult(
        status="error" if given.is_error else "success",
        func_return=_returned(planned, given),
        stdout=[limit_return(text, planned.limit) for text in given.stdout or ()],
        stderr=[limit_return(text, planned.limit) for text in given.stderr or ()],
    )


def _returned(planned: Planned, given: ExternalReturn) -> Any:
    """The value itself, of a custom tool's, as long as it is not too long to be shown whole."""
    whole = planned.row["tool_type"] == ToolType.CUSTOM and not given.is_error and len(given.content) <= planned.limit
    return given.value if whole else limit_return(given.content, planned.limit)
