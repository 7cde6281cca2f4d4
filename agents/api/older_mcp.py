"""/v1/tools/mcp: MCP servers by their names, as clients did before /v1/mcp-servers."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents import access
from agents.api.answers import answer, answer_list, answer_plain
from agents.api.mcp_connecting import page, redirect_uri, stream
from agents.mcp import actions, authorizations
from agents.schemas.base import AgentId
from agents.schemas.mcp import (
    MCPTool,
    OlderConfig,
    RefreshResult,
    ServerConfig,
    UpdateConfig,
    mcp_tool_out,
    older_out,
    refresh_out,
)
from agents.schemas.tools import ToolExecuteRequest, ToolExecutionResult, ToolOut, tool_out

router = Router(tags=["tools.mcp"])
# What has a fixed path stands before what has a name in it.


@router.get("/servers", response=dict[str, OlderConfig])
def list_servers(request: ApiRequest) -> HttpResponse:
    rows = access.mcp_servers_of(request.caller).order_by("created_at", "pk")
    return answer_plain({row.name: older_out(row).model_dump(mode="json") for row in rows})


@router.put("/servers", response=list[OlderConfig])
def add_server(request: ApiRequest, data: ServerConfig) -> HttpResponse:
    actions.put_server(request.caller, data.server_name, data.type, data.fields())
    return _listed(request)


@router.post("/servers/test", response=list[MCPTool])
def test_server(request: ApiRequest, data: ServerConfig) -> HttpResponse:
    """The tools of a server that is not kept."""
    found = actions.try_server(request.caller, data.type, data.fields())
    return answer_list(map(MCPTool.model_validate, found))


@router.post("/servers/connect", response=None)
def connect_server(request: ApiRequest, data: ServerConfig) -> HttpResponse:
    """Like GET /v1/mcp-servers/connect/{id}, for a server that is made by it where none has its name."""
    server = actions.server_to_connect(request.caller, data.server_name, data.type, data.fields())
    return stream(actions.connecting(request.caller, server, redirect_uri(request)))


@router.patch("/servers/{mcp_server_name}", response=OlderConfig)
def update_server(request: ApiRequest, mcp_server_name: Path[str], data: UpdateConfig) -> HttpResponse:
    server = access.get_mcp_server_named(request.caller, mcp_server_name)
    sent = actions.Changed(data.server_name, server.server_type, data.fields())
    return answer(older_out(actions.update_server(request.caller, server.pk, sent)))


@router.delete("/servers/{mcp_server_name}", response=list[OlderConfig])
def delete_server(request: ApiRequest, mcp_server_name: Path[str]) -> HttpResponse:
    actions.delete_server(request.caller, access.get_mcp_server_named(request.caller, mcp_server_name).pk)
    return _listed(request)


@router.get("/servers/{mcp_server_name}/tools", response=list[MCPTool])
def list_server_tools(request: ApiRequest, mcp_server_name: Path[str]) -> HttpResponse:
    server = access.get_mcp_server_named(request.caller, mcp_server_name)
    return answer_list(map(mcp_tool_out, server.tools.all()))


@router.post("/servers/{mcp_server_name}/resync", response=RefreshResult)
def resync_server(
    request: ApiRequest, mcp_server_name: Path[str], agent_id: Query[AgentId | None] = None
) -> HttpResponse:
    server = access.get_mcp_server_named(request.caller, mcp_server_name)
    changes = actions.refresh_server(request.caller, server.pk, agent_id)
    return answer(refresh_out(changes))


@router.post("/servers/{mcp_server_name}/{mcp_tool_name}", response=ToolOut)
def add_tool(request: ApiRequest, mcp_server_name: Path[str], mcp_tool_name: Path[str]) -> HttpResponse:
    """The Tool that stands for it: it was made when the server was added."""
    row = access.get_mcp_tool_named(request.caller, mcp_server_name, mcp_tool_name)
    return answer(tool_out(actions.usable(row).tool))


@router.post("/servers/{mcp_server_name}/tools/{tool_name}/execute", response=ToolExecutionResult)
def execute_tool(
    request: ApiRequest, mcp_server_name: Path[str], tool_name: Path[str], data: ToolExecuteRequest
) -> HttpResponse:
    row = access.get_mcp_tool_named(request.caller, mcp_server_name, tool_name)
    return answer(actions.run_tool(request.caller, row, data.args))


@router.get("/oauth/callback", auth=None, include_in_schema=False)
def finish_authorization(
    request: HttpRequest, state: str = "", code: str = "", error: str = "", iss: str = ""
) -> HttpResponse:
    """Where a browser comes back to. Who knows the state, which was told to one caller, needs no key."""
    brought = {"code": code, "error": error} | ({"iss": iss} if iss else {})
    return page(authorizations.take(state, brought), refused=bool(error))


def _listed(request: ApiRequest) -> HttpResponse:
    return answer_list(map(older_out, access.mcp_servers_of(request.caller).order_by("created_at", "pk")))
