"""How asking an MCP server can fail, as its callers and models are told. No message holds an address or a secret."""

from __future__ import annotations

from core.errors import AppError


class McpFailure(AppError):
    """The server was not reached, broke off, or does not speak MCP."""

    code = "mcp_connection_error"
    status = 502
    headers = {"x-should-retry": "false"}  # the tool may have run: a client must not call it again by itself


class McpTimeout(McpFailure):
    code = "mcp_timeout"
    status = 408


class McpUnauthorized(McpFailure):
    """It wants a token, or another one."""

    code = "mcp_unauthorized"
