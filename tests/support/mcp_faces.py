"""An MCP server with every bad face: one path for each thing that a bad server does."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route


async def hangs(request: Request) -> Response:
    await asyncio.sleep(60)
    return Response()


async def garbage(request: Request) -> Response:
    return Response("<html>nothing</html>", media_type="text/html")


async def lies(request: Request) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": 1, "result": {"tools": "many"}})


async def huge(request: Request) -> Response:
    async def pieces() -> Any:
        yield b'{"jsonrpc": "2.0", "id": 1, "result": "'
        while not await request.is_disconnected():
            yield b"x" * 65_536

    return StreamingResponse(pieces(), media_type="application/json")


async def endless(request: Request) -> Response:
    async def events() -> Any:
        while not await request.is_disconnected():
            yield b"data: " + b"x" * 65_536 + b"\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


async def closed(request: Request) -> Response:
    return JSONResponse({"error": "unauthorized"}, status_code=401, headers={"WWW-Authenticate": "Bearer"})


_sessions: set[str] = set()


async def forgets(request: Request) -> Response:
    """An older server, which knows each session for one call."""
    sent = await request.json() if request.method == "POST" else {}
    session = request.headers.get("mcp-session-id", "")
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": sent.get("id")}
    match sent.get("method"):
        case "initialize":
            session = f"session-{len(_sessions)}-{os.urandom(4).hex()}"
            _sessions.add(session)
            info = {"name": "older", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            return JSONResponse({**answer, "result": result}, headers={"mcp-session-id": session})
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("once", "picky")]
            return JSONResponse({**answer, "result": {"tools": [*tools, {"name": "odd", "inputSchema": {}}]}})
        case "tools/call" if session in _sessions and sent["params"]["name"] == "picky":
            return JSONResponse({**answer, "error": {"code": -32602, "message": "not these arguments"}})
        case "tools/call" if session in _sessions:
            _sessions.remove(session)
            return JSONResponse({**answer, "result": {"content": [{"type": "text", "text": session}]}})
        case "notifications/initialized" | "notifications/cancelled":
            return Response(status_code=202)
    return Response(status_code=405 if request.method != "POST" else 404)


async def elsewhere(request: Request) -> Response:
    return Response(status_code=307, headers={"Location": "http://127.0.0.1:9/mcp"})


FACES = (hangs, forgets, garbage, lies, huge, endless, closed, elsewhere)
ROUTES = [Route(f"/{face.__name__}", face, methods=["GET", "POST", "DELETE"]) for face in FACES]
