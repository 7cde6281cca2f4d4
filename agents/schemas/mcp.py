"""MCP servers and their tools on the wire. What could be a secret is masked on its way out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agents.mcp.models import McpServer, McpTool, ServerType
from agents.mcp.sync import Changes
from agents.mcp.target import Unreadable, config_of, shown
from agents.schemas.base import Wire

MAX_TEXT = 8_000
Name = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(max_length=2_000)]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Texts = Annotated[list[Text], Field(max_length=200)]
TextMap = Annotated[dict[Annotated[str, Field(max_length=200)], Text], Field(max_length=100)]


class _Http(Wire):
    auth_header: Annotated[str, Field(max_length=200)] | None = None
    auth_token: Text | None = None
    custom_headers: TextMap | None = None


class CreateStdioMCPServer(Wire):
    mcp_server_type: Literal["stdio"] = "stdio"
    command: Text
    args: Texts
    env: TextMap | None = None


class CreateSSEMCPServer(_Http):
    mcp_server_type: Literal["sse"] = "sse"
    server_url: Url


class CreateStreamableHTTPMCPServer(_Http):
    mcp_server_type: Literal["streamable_http"] = "streamable_http"
    server_url: Url


class CreateMCPServerRequest(Wire):
    server_name: Name
    config: Annotated[
        CreateStdioMCPServer | CreateSSEMCPServer | CreateStreamableHTTPMCPServer,
        Field(discriminator="mcp_server_type"),
    ]


class UpdateStdioMCPServer(Wire):
    mcp_server_type: Literal["stdio"] = "stdio"
    command: Text | None = None
    args: Texts | None = None
    env: TextMap | None = None


class UpdateSSEMCPServer(_Http):
    mcp_server_type: Literal["sse"] = "sse"
    server_url: Url | None = None


class UpdateStreamableHTTPMCPServer(_Http):
    mcp_server_type: Literal["streamable_http"] = "streamable_http"
    server_url: Url | None = None


class UpdateMCPServerRequest(Wire):
    server_name: Name | None = None
    config: Annotated[
        UpdateStdioMCPServer | UpdateSSEMCPServer | UpdateStreamableHTTPMCPServer,
        Field(discriminator="mcp_server_type"),
    ]


class _Answered(Wire):
    id: str
    server_name: str


class StdioMCPServer(_Answered):
    mcp_server_type: Literal["stdio"] = "stdio"
    command: str
    args: list[str]
    env: dict[str, str] | None = None


class HttpMCPServer(_Answered):
    """SSEMCPServer and StreamableHTTPMCPServer of the contract."""

    mcp_server_type: Literal["sse", "streamable_http"]
    server_url: str
    auth_header: str | None = None
    auth_token: str | None = None
    custom_headers: dict[str, str] | None = None


MCPServer = StdioMCPServer | HttpMCPServer


class ServerConfig(_Http):
    """SSEServerConfig, StdioServerConfig and StreamableHTTPServerConfig of the contract."""

    server_name: Name
    type: Literal["stdio", "sse", "streamable_http"]
    server_url: Url | None = None
    command: Text | None = None
    args: Texts | None = None
    env: TextMap | None = None

    def fields(self) -> dict[str, Any]:
        return self.model_dump(exclude={"server_name", "type"}, exclude_none=True)


class UpdateConfig(_Http):
    server_name: Name | None = None
    server_url: Url | None = None
    command: Text | None = None
    args: Texts | None = None
    env: TextMap | None = None

    def fields(self) -> dict[str, Any]:
        return self.model_dump(exclude={"server_name"}, exclude_unset=True)


class OlderConfig(ServerConfig):
    """As it is answered: secrets masked."""


class RefreshResult(Wire):
    deleted: list[str]
    updated: list[str]
    added: list[str]


def refresh_out(changes: Changes) -> RefreshResult:
    return RefreshResult(deleted=changes.deleted, updated=changes.updated, added=changes.added)


def _shown(server: McpServer) -> dict[str, Any]:
    """Of one that no key opens, what stands beside the secret: one such row must not hide the others of a list."""
    try:
        return shown(config_of(server))
    except Unreadable:
        return {"server_url": server.address, "command": server.address}


def server_out(server: McpServer) -> MCPServer:
    fields = {**_shown(server), "id": server.pk, "server_name": server.name}
    if server.server_type == ServerType.STDIO:
        return StdioMCPServer.model_validate({"args": [], **fields})
    return HttpMCPServer.model_validate({**fields, "mcp_server_type": server.server_type})


def older_out(server: McpServer) -> OlderConfig:
    fields = {**_shown(server), "server_name": server.name, "type": server.server_type}
    return OlderConfig.model_validate(fields)


class MCPToolHealth(Wire):
    status: str
    reasons: list[str]


class MCPTool(Wire):
    name: str
    title: str | None = None
    description: str | None = None
    inputSchema: Any = None
    outputSchema: dict[str, Any] | None = None
    annotations: dict[str, Any] | None = None
    health: MCPToolHealth | None = None


def mcp_tool_out(row: McpTool) -> MCPTool:
    health = MCPToolHealth(status=row.health, reasons=row.reasons)
    return MCPTool(name=row.name, health=health, **row.definition)
