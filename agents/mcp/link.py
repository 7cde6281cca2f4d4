"""A connection to an MCP server by the official SDK: open it, list tools, call one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
from django.conf import settings
from mcp.client._probe import negotiate_auto
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types import (
    HEADER_MISMATCH,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    PaginatedRequestParams,
)

from agents.mcp.http import MAX_BYTES, Wire, client
from agents.mcp.models import ServerType
from agents.mcp.stdio import run_command
from agents.mcp.target import Target

MAX_TOOLS = 500
_SENT_AS = "perennial/inputSchema"  # in a tool's _meta: the schema that the SDK would have refused

# It logs what servers send, and addresses.
logging.getLogger("mcp").setLevel(logging.CRITICAL)
logging.getLogger("client").setLevel(logging.CRITICAL)


class Link:
    """An open session. `wire`: what happened beneath it."""

    def __init__(self, session: ClientSession, dispatcher: _Dispatcher, wire: Wire) -> None:
        self._session = session
        self._dispatcher = dispatcher
        self.wire = wire

    @property
    def ended(self) -> bool:
        """Whether the server closed it: nothing can be sent any more."""
        return self._dispatcher.ended

    async def list_tools(self) -> list[dict[str, Any]]:
        """Definitions as they were sent: name, title, description, inputSchema, outputSchema, annotations."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            answer = await self._session.list_tools(params=PaginatedRequestParams(cursor=cursor))
            for tool in answer.tools:
                sent = tool.model_dump(mode="json", by_alias=True, exclude_none=True)
                meta = sent.pop("_meta", {})
                if _SENT_AS in meta:
                    sent["inputSchema"] = meta[_SENT_AS]
                found.append(sent)
            cursor = answer.next_cursor
            if len(found) > MAX_TOOLS:
                raise self.wire.refuse(f"it offers more than {MAX_TOOLS} tools")
            if not cursor:
                return found

    async def call_tool(self, name: str, args: Mapping[str, Any]) -> CallToolResult:
        """The SDK's own method would also check the result against the server's schema, whose patterns a bad server
        can make run for ever."""
        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=dict(args)))
        try:
            return await self._session.send_request(request, CallToolResult)
        except MCPError as error:
            if error.code != HEADER_MISMATCH:
                raise
            await self._session.list_tools()  # it wants arguments as headers, and the list says which
            return await self._session.send_request(request, CallToolResult)


@asynccontextmanager
async def connect(target: Target, auth: httpx2.Auth | None, wire: Wire) -> AsyncIterator[Link]:
    us = Implementation(name="perennial", version="1")
    async with _transport(target, auth, wire) as (read, write):
        dispatcher = _Dispatcher(read, write)
        async with ClientSession(dispatcher=dispatcher, client_info=us) as session:
            await negotiate_auto(session)
            yield Link(session, dispatcher, wire)


def _transport(target: Target, auth: httpx2.Auth | None, wire: Wire) -> AbstractAsyncContextManager[Any]:
    if target.kind == ServerType.STDIO:
        return run_command(target.command, target.args, target.env, wire)
    if target.kind == ServerType.SSE:

        def made(headers: Any = None, timeout: Any = None, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
            return client(wire, dict(headers or {}), auth, settings.MCP_CONNECT_TIMEOUT_S)

        return sse_client(target.url, headers=dict(target.headers), auth=auth, httpx_client_factory=made)
    return _streamable(target, auth, wire)


@asynccontextmanager
async def _streamable(target: Target, auth: httpx2.Auth | None, wire: Wire) -> AsyncIterator[Any]:
    headers = dict(target.headers)
    async with (
        client(wire, headers, auth, settings.MCP_CONNECT_TIMEOUT_S) as http,
        streamable_http_client(target.url, http_client=http, max_sse_event_size=MAX_BYTES) as streams,
    ):
        yield streams


class _Dispatcher(JSONRPCDispatcher):
    """One tool with a schema that is none would have the SDK refuse the whole list; here that tool alone is marked."""

    ended = False

    async def run(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().run(*args, **kwargs)
        finally:
            self.ended = True

    async def send_raw_request(self, method: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        answer = await super().send_raw_request(method, *args, **kwargs)
        if method == "tools/list" and isinstance(answer.get("tools"), list):
            answer["tools"] = [_mended(tool) for tool in answer["tools"] if _named(tool)]
        return answer


def _named(tool: Any) -> bool:
    return isinstance(tool, dict) and isinstance(tool.get("name"), str) and bool(tool["name"].strip())


def _mended(tool: dict[str, Any]) -> dict[str, Any]:
    schema = tool.get("inputSchema")
    if isinstance(schema, dict) and schema.get("type") == "object":
        return tool
    return {**tool, "inputSchema": {"type": "object"}, "_meta": {_SENT_AS: schema}}
