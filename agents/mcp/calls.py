"""Asking a stored server: for its tools, which become rows, or to call one. No connection to the database waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings

from agents.mcp import results, sessions, sync
from agents.mcp.errors import McpFailure, McpUnauthorized
from agents.mcp.failures import Refused
from agents.mcp.models import Health, McpServer, McpTool, ServerState, ServerType
from agents.mcp.target import MissingVariable, Target, target_of
from core.db import release_connection
from core.errors import BadInput, PermissionDenied

T = TypeVar("T")
Variables = Mapping[str, str]
_STATES = {McpUnauthorized: ServerState.UNAUTHORIZED, MissingVariable: ServerState.UNSEEN}


@dataclass(frozen=True, slots=True)
class Returned:
    """What a tool gave. `failed`: it says itself that it failed."""

    text: str
    failed: bool


def refresh(server: McpServer, variables: Variables) -> sync.Changes:
    """Raises McpFailure, MissingVariable; the server's row says so, too."""
    try:
        found = _ask(server, variables, sessions.list_tools)
    except (McpFailure, MissingVariable) as failure:
        sync.note(server, _STATES.get(type(failure), ServerState.FAILED), failure.message)
        raise
    return sync.store(server, found)


def call(row: McpTool, args: Mapping[str, Any], variables: Variables, abandoned: Callable[[], bool] = bool) -> Returned:
    """`row` with its server. Raises McpFailure, MissingVariable, BadInput (its schema is invalid)."""
    check_schema(row)
    try:
        answer = _ask(row.server, variables, lambda target: sessions.call_tool(target, row.name, args, abandoned))
    except McpUnauthorized as failure:
        sync.note(row.server, ServerState.UNAUTHORIZED, failure.message)
        raise
    except Refused as failure:
        return Returned(failure.message, True)
    content = [block.model_dump(mode="json", by_alias=True) for block in answer.content]
    return Returned(results.text_of(content, answer.structured_content), answer.is_error)


def check_schema(row: McpTool) -> None:
    """Raises BadInput."""
    if row.health == Health.INVALID:
        why = "; ".join(row.reasons)
        raise BadInput(f"The MCP server gave the tool {row.name} a schema that cannot be used: {why}. Mend it there.")


def check_allowed(server_type: str) -> None:
    """Raises PermissionDenied for a command, where the operator allows none."""
    if server_type == ServerType.STDIO and settings.MCP_DISABLE_STDIO:
        raise PermissionDenied(
            "MCP servers of type stdio run a command on this machine, which its operator has not allowed: reach the "
            "server by streamable_http, or have MCP_DISABLE_STDIO=false set."
        )


def _ask(server: McpServer, variables: Variables, asking: Callable[[Target], T]) -> T:
    check_allowed(server.server_type)
    target = target_of(server, variables)
    release_connection()
    try:
        return asking(target)
    except TimeoutError:
        raise McpFailure("The MCP server was given up: it, or the machine, is too slow.") from None
    except McpUnauthorized:
        # Another process may have renewed the tokens meanwhile, and nothing was done with the old ones.
        server.refresh_from_db(fields=["oauth"])
        renewed = target_of(server, variables)
        if renewed == target:
            raise
        release_connection()
        return asking(renewed)
