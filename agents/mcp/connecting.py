"""A person connects a server: what happens is told as events, and goes on whether or not somebody still listens.

It runs in the loop of MCP sessions, which holds no thread while the person reads an authorization page. The browser may
come back to another process: what it brings is left in the database, and looked for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from mcp.client.auth import AuthorizationCodeResult

from agents.mcp import authorizations, failures
from agents.mcp.errors import McpFailure
from agents.mcp.flows import Connecting, Tell
from agents.mcp.http import Wire
from agents.mcp.link import connect
from agents.mcp.models import ServerType
from agents.mcp.oauth import AskingPerson

T = TypeVar("T")
_LOOK_EVERY_S = 0.5


async def connected(flow: Connecting, tell: Tell) -> None:
    """Never raises but for its end: a failure is its last event."""
    tell({"event": "connection_attempt", "server_name": flow.server_name})
    try:
        found = await _tools(flow, tell)
        tools = await _in_thread(authorizations.store_tools, flow.target.server_id, found)
    except McpFailure as failure:
        await _failed(flow, failure, tell)
    else:
        tell({"event": "success", "tools": tools})


async def _failed(flow: Connecting, failure: McpFailure, tell: Tell) -> None:
    await _in_thread(authorizations.note_failure, flow.target.server_id, failure)
    tell({"event": "error", "message": failure.message})


async def _tools(flow: Connecting, tell: Tell) -> list[dict[str, Any]]:
    wire = Wire()
    try:
        async with asyncio.timeout(settings.MCP_CONNECT_TIMEOUT_S) as limit:
            person = _Person(flow, tell, limit)
            async with connect(flow.target, person.auth(), wire) as link:
                limit.reschedule(_in(settings.MCP_LIST_TIMEOUT_S))
                return await link.list_tools()
    except TimeoutError:
        raise failures.late("did not let us connect", settings.MCP_CONNECT_TIMEOUT_S, wire) from None
    except Exception as error:
        raise failures.told(error, wire) from error


class _Person:
    """Whom the SDK sends to the authorization page, and waits for."""

    def __init__(self, flow: Connecting, tell: Tell, limit: asyncio.Timeout) -> None:
        self._flow, self._tell, self._limit = flow, tell, limit
        self._authorization_id = ""

    def auth(self) -> AskingPerson | None:
        """None where the configuration has an authorization of its own, or where there is no HTTP."""
        target = self._flow.target
        carries = any(name.lower() == "authorization" for name in target.headers)
        if target.kind == ServerType.STDIO or carries:
            return None
        return AskingPerson(target, self._flow.redirect_uri, self.show, self.wait)

    async def show(self, url: str) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise McpFailure("The MCP server's authorization page has an address that no browser should open.")
        state = parse_qs(urlsplit(url).query)["state"][0]
        self._authorization_id = await _in_thread(authorizations.expect, self._flow.target.server_id, state)
        self._limit.reschedule(_in(authorizations.WAIT_S))
        self._tell({"event": "oauth_required", "message": "The server wants an authorization."})
        self._tell({"event": "authorization_url", "url": url, "session_id": self._authorization_id})
        self._tell({"event": "waiting_for_auth", "message": "Waiting for the authorization in the browser."})

    async def wait(self) -> AuthorizationCodeResult:
        while (answer := await _in_thread(authorizations.answer_of, self._authorization_id)) is None:  # noqa: ASYNC110 - another process may bring it
            await asyncio.sleep(_LOOK_EVERY_S)
        self._limit.reschedule(_in(settings.MCP_CONNECT_TIMEOUT_S))
        if not answer.get("code"):
            raise McpFailure(f"The authorization was refused: {str(answer.get('error') or 'no code came back')[:200]}.")
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer.get("iss"))


def _in(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def _in_thread(work: Callable[..., T], *given: Any) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(None, lambda: work(*given))
