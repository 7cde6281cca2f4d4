"""/v1/mcp-servers: MCP servers, their tools, and authorizing with them."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest, BearerKey
from accounts.models import Scope
from agents import access
from agents.api.answers import answer, answer_list
from agents.api.mcp_connecting import redirect_uri, stream
from agents.mcp import actions
from agents.models import Tool
from agents.schemas.base import AgentId, McpServerId, ToolId
from agents.schemas.mcp import (
    CreateMCPServerRequest,
    MCPServer,
    RefreshResult,
    UpdateMCPServerRequest,
    refresh_out,
    server_out,
)
from agents.schemas.tools import ToolExecuteRequest, ToolExecutionResult, ToolOut, tool_out

router = Router(tags=["mcp_servers"])


@router.post("/", response=MCPServer)
def create_mcp_server(request: ApiRequest, data: CreateMCPServerRequest) -> HttpResponse:
    config = data.config.model_dump(exclude={"mcp_server_type"}, exclude_none=True)
    server = actions.create_server(request.caller, data.server_name, data.config.mcp_server_type, config)
    return answer(server_out(server))


@router.get("/", response=list[MCPServer])
def list_mcp_servers(request: ApiRequest) -> HttpResponse:
    return answer_list(map(server_out, access.mcp_servers_of(request.caller).order_by("created_at", "pk")))


@router.get("/connect/{mcp_server_id}", response=None, auth=BearerKey(Scope.WRITE))
def connect_mcp_server(
    request: ApiRequest, mcp_server_id: Path[McpServerId], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    """Events: connection_attempt; oauth_required, authorization_url and waiting_for_auth where a person has to open a
    page; success or error at the end. It goes on when the stream is left."""
    server = access.get_mcp_server(request.caller, mcp_server_id)
    return stream(actions.connecting(request.caller, server, redirect_uri(request), agent_id))


@router.get("/{mcp_server_id}", response=MCPServer)
def retrieve_mcp_server(request: ApiRequest, mcp_server_id: Path[McpServerId]) -> HttpResponse:
    return answer(server_out(access.get_mcp_server(request.caller, mcp_server_id)))


@router.patch("/{mcp_server_id}", response=MCPServer)
def update_mcp_server(
    request: ApiRequest, mcp_server_id: Path[McpServerId], data: UpdateMCPServerRequest
) -> HttpResponse:
    config = data.config.model_dump(exclude={"mcp_server_type"}, exclude_unset=True)
    sent = actions.Changed(data.server_name, data.config.mcp_server_type, config)
    return answer(server_out(actions.update_server(request.caller, mcp_server_id, sent)))


@router.delete("/{mcp_server_id}", response={204: None})
def delete_mcp_server(request: ApiRequest, mcp_server_id: Path[McpServerId]) -> HttpResponse:
    actions.delete_server(request.caller, mcp_server_id)
    return HttpResponse(status=204)


@router.patch("/{mcp_server_id}/refresh", response=RefreshResult)
def refresh_mcp_server(
    request: ApiRequest, mcp_server_id: Path[McpServerId], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    changes = actions.refresh_server(request.caller, mcp_server_id, agent_id)
    return answer(refresh_out(changes))


@router.get("/{mcp_server_id}/tools", response=list[ToolOut])
def list_mcp_tools(request: ApiRequest, mcp_server_id: Path[McpServerId]) -> HttpResponse:
    server = access.get_mcp_server(request.caller, mcp_server_id)
    return answer_list(map(tool_out, Tool.objects.filter(mcp__server=server).order_by("name")))


@router.get("/{mcp_server_id}/tools/{tool_id}", response=ToolOut)
def retrieve_mcp_tool(request: ApiRequest, mcp_server_id: Path[McpServerId], tool_id: Path[ToolId]) -> HttpResponse:
    return answer(tool_out(access.get_mcp_tool(request.caller, mcp_server_id, tool_id).tool))


@router.post("/{mcp_server_id}/tools/{tool_id}/run", response=ToolExecutionResult)
def run_mcp_tool(
    request: ApiRequest, mcp_server_id: Path[McpServerId], tool_id: Path[ToolId], data: ToolExecuteRequest
) -> HttpResponse:
    """A failure of the tool is a result; a server that cannot be reached is 502, one that takes too long 408."""
    row = access.get_mcp_tool(request.caller, mcp_server_id, tool_id)
    return answer(actions.run_tool(request.caller, row, data.args))
