"""/v1/agents/{agent_id}/tools: which tools one agent has."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access, actions, tool_changes
from agents.api.answers import answer_list, answer_plain
from agents.schemas.base import AgentId, ToolId
from agents.schemas.tools import AgentToolPage, ModifyApproval, ToolName, ToolOut, tool_out
from core.pagination import page

router = Router(tags=["agents.tools"])


@router.get("/{agent_id}/tools", response=list[ToolOut])
def list_agent_tools(request: ApiRequest, agent_id: Path[AgentId], query: Query[AgentToolPage]) -> HttpResponse:
    access.check_agent(request.caller, agent_id)
    rows = access.tools_of(request.caller).filter(agenttool__agent_id=agent_id)
    return answer_list(map(tool_out, page(rows, query.cursor())))


@router.patch("/{agent_id}/tools/attach/{tool_id}", response=None)
def attach_tool(request: ApiRequest, agent_id: Path[AgentId], tool_id: Path[ToolId]) -> HttpResponse:
    actions.attach_tool(request.caller, agent_id, tool_id)
    return answer_plain(None)


@router.patch("/{agent_id}/tools/detach/{tool_id}", response=None)
def detach_tool(request: ApiRequest, agent_id: Path[AgentId], tool_id: Path[ToolId]) -> HttpResponse:
    actions.detach_tool(request.caller, agent_id, tool_id)
    return answer_plain(None)


@router.patch("/{agent_id}/tools/approval/{tool_name}", response=None)
def update_tool_approval(
    request: ApiRequest,
    agent_id: Path[AgentId],
    tool_name: Path[ToolName],
    query: Query[ModifyApproval],
    data: ModifyApproval | None = None,
) -> HttpResponse:
    wanted = query.requires_approval if data is None or data.requires_approval is None else data.requires_approval
    tool_changes.set_approval(request.caller, agent_id, tool_name, wanted)
    return answer_plain(None)
