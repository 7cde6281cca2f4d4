"""MCP servers for tests: real ones by the SDK over all three transports, and one with every bad face.

They run in processes of their own (`running`, `stdio_config`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations
from starlette.applications import Starlette

from tests.support.mcp_faces import ROUTES
from tests.support.mcp_oauth import guarded_server

ROOT = __file__.removesuffix("/tests/support/mcp_servers.py")


def make_server() -> MCPServer:
    """Tools that add, echo, fail, count their calls, take long, die, and tell a header of the request."""
    server = MCPServer("demo")
    calls: list[int] = []

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    def echo(text: str, times: int = 1) -> str:
        """Say it again."""
        return text * times

    @server.tool()
    def fail(reason: str) -> str:
        """Fail as asked."""
        raise ValueError(reason)

    @server.tool()
    def count() -> int:
        """How often it was called."""
        calls.append(1)
        return len(calls)

    @server.tool()
    async def wait(seconds: float) -> str:
        """Wait so long."""
        await asyncio.sleep(seconds)
        return "done"

    @server.tool()
    def die() -> str:
        """End the whole process."""
        os._exit(3)

    @server.tool()
    def header(name: str, context: Context) -> str:
        """A header of the request."""
        request = context.request_context.request
        return str(request.headers.get(name, "none")) if request is not None else "none"

    return server


def changing_server() -> MCPServer:
    """Offers other tools once `change` was called; one has a schema that is none, and one has a base tool's name."""
    server = MCPServer("changing")

    def stays(a: int) -> int:
        """As it was."""
        return a

    def goes() -> str:
        return "still here"

    def comes() -> str:
        return "new"

    def broken(a: int) -> int:
        return a

    def memory_insert(text: str) -> str:
        """Not the base tool."""
        return f"elsewhere: {text}"

    for function in (stays, goes, broken, memory_insert):
        server.add_tool(function)
    _described(server, "broken", {"type": "object", "properties": {"a": {"type": "strin"}}})

    @server.tool()
    def change() -> str:
        server.remove_tool("goes")
        server.add_tool(comes)
        _described(server, "stays", {"type": "object", "properties": {"a": {"type": "number"}}})
        return "changed"

    return server


def _described(server: MCPServer, name: str, schema: dict[str, Any]) -> None:
    tool = server._tool_manager.get_tool(name)
    assert tool is not None
    tool.parameters = schema


def whole_app(url: str) -> Starlette:
    """/mcp and /sse: the good one. /changing: the other. /guarded: by OAuth. Beside them every bad face."""
    http, sse = make_server().streamable_http_app(), make_server().sse_app()
    changing = changing_server().streamable_http_app(streamable_http_path="/changing")

    guarded = guarded_server(url).streamable_http_app(streamable_http_path="/guarded")
    apps = (http, changing, guarded, sse)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for one in apps:
                await stack.enter_async_context(one.router.lifespan_context(app))
            yield

    routes = [route for one in apps for route in one.routes]
    middleware = guarded.user_middleware  # it reads the token, and refuses nobody by itself
    return Starlette(routes=[*routes, *ROUTES], lifespan=lifespan, middleware=middleware)


def serve() -> None:
    """Until its standard input ends; the address is its first line."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    server = uvicorn.Server(uvicorn.Config(whole_app(url), log_level="critical", timeout_graceful_shutdown=1))
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(url, flush=True)
    server.run(sockets=[listening])


@contextmanager
def running() -> Iterator[str]:
    """The whole in a process of its own; its address. Servers in the tests' own would leave streams behind."""
    process = subprocess.Popen(_python("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def _python(function: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {ROOT!r}); import tests.support.mcp_servers as m; m.{function}()",
    ]


def stdio_config() -> dict[str, Any]:
    command, *args = _python("stdio")
    return {"mcp_server_type": "stdio", "command": command, "args": args}


def stdio() -> None:
    make_server().run("stdio")
