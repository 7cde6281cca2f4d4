"""Tools run by hand: from their source, or as an agent has them."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Router

from accounts.http import ApiRequest
from agents.api.answers import answer
from agents.schemas.base import AgentId
from agents.schemas.tools import ToolExecuteRequest, ToolExecutionResult, ToolName, ToolRunFromSource
from agents.tools.source_runs import run_source
from conversations import tool_runs
from conversations.schemas.messages import ToolReturnMessage, tool_run_out

router = Router(tags=["tools"])
agents_router = Router(tags=["agents.tools"])


@router.post("/run", response=ToolReturnMessage)
def run_tool_from_source(request: ApiRequest, data: ToolRunFromSource) -> HttpResponse:
    return answer(tool_run_out(run_source(data)))


@agents_router.post("/{agent_id}/tools/{tool_name}/run", response=ToolExecutionResult)
def run_agent_tool(
    request: ApiRequest, agent_id: Path[AgentId], tool_name: Path[ToolName], data: ToolExecuteRequest
) -> HttpResponse:
    return answer(tool_runs.run_agent_tool(request.caller, agent_id, tool_name, data.args))
