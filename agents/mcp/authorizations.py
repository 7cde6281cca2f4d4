"""Authorizations that wait for a person, and what connecting a server leaves in the database.

All but `take` is called by threads of the MCP event loop, which are not Django's: each gives its connection back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from agents.mcp import sync
from agents.mcp.errors import McpFailure, McpUnauthorized
from agents.mcp.models import McpAuthorization, McpServer, McpTool, ServerState
from agents.mcp.target import revealed
from agents.schemas.mcp import mcp_tool_out
from core.db import release_connection
from core.secrets import Secret
from core.time import now

P = ParamSpec("P")
R = TypeVar("R")
WAIT_S = 600.0


def _releasing(work: Callable[P, R]) -> Callable[P, R]:
    @wraps(work)
    def released(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        finally:
            release_connection()

    return released


def take(state: str, brought: Mapping[str, str]) -> bool:
    """What a browser brought back. False: nobody waits for it (any more), or it was brought already."""
    waiting = McpAuthorization.objects.filter(state_hash=_hashed(state), answer=None, expires_at__gt=now())
    return bool(waiting.update(answer=Secret(plain=json.dumps({**brought, "state": state}))))


@_releasing
def expect(server_id: str, state: str) -> str:
    """The id of an authorization that takes the place of earlier ones for the server."""
    McpAuthorization.objects.filter(server_id=server_id).delete()
    expires_at = now() + timedelta(seconds=WAIT_S)
    return McpAuthorization.objects.create(server_id=server_id, state_hash=_hashed(state), expires_at=expires_at).pk


@_releasing
def answer_of(authorization_id: str) -> dict[str, Any] | None:
    """None: not yet. Raises McpFailure where another one took its place. It is given out once."""
    row = McpAuthorization.objects.filter(pk=authorization_id).first()
    if row is None:
        raise McpFailure("This authorization was given up: the server was deleted, or is being connected anew.")
    if row.answer is None:
        return None
    found: dict[str, Any] = json.loads(revealed(row.answer))
    row.delete()
    return found


@_releasing
def save_tokens(server_id: str, text: str) -> None:
    McpServer.objects.filter(pk=server_id).update(oauth=Secret(plain=text))


@_releasing
def store_tools(server_id: str, found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tools as the older API shows them. Raises McpFailure where the server was deleted meanwhile."""
    server = McpServer.objects.filter(pk=server_id).first()
    if server is None:
        raise McpFailure("The MCP server was deleted meanwhile.")
    sync.store(server, found)
    return [mcp_tool_out(row).model_dump(mode="json") for row in McpTool.objects.filter(server=server)]


@_releasing
def note_failure(server_id: str, failure: McpFailure) -> None:
    state = ServerState.UNAUTHORIZED if isinstance(failure, McpUnauthorized) else ServerState.FAILED
    McpServer.objects.filter(pk=server_id).update(state=state, last_error=failure.message, checked_at=now())


def _hashed(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
