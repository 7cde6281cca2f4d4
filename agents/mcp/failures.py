"""From what went wrong beneath to what a caller is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.mcp.errors import McpFailure, McpTimeout, McpUnauthorized

_SHOWN = 300
_FORGOTTEN = "Session terminated"  # what the SDK makes of a 404: the server did not look at the request
# Codes that the SDK also makes up where there is no answer, or none that it understands.
_OF_THE_CONNECTION = frozenset({-32000, -32001, -32600, -32601, -32603, -32700})
UNAUTHORIZED = (
    "The MCP server wants an authorization: give it a token, or open GET /v1/mcp-servers/connect/{id} and follow it to "
    "the authorization page."
)


class Forgotten(McpFailure):
    """The server does not know the connection any more."""


class Refused(McpFailure):
    """The server answered, and in order: with an error of its own."""


def late(what: str, within_s: float, wire: Any) -> McpFailure:
    if wire is not None and wire.unauthorized:
        return McpUnauthorized(UNAUTHORIZED)
    return McpTimeout(f"The MCP server {what} within {within_s:g} seconds.")


def broken(wire: Any) -> McpFailure:
    if wire is not None and wire.unauthorized:
        return McpUnauthorized(UNAUTHORIZED)
    return McpFailure(f"The MCP server broke off: {_problem(wire) or 'the connection was closed'}.")


def told(error: BaseException, wire: Any) -> McpFailure:
    """The wire knows best what happened; then the innermost error that says something."""
    for leaf in _leaves(error):
        if isinstance(leaf, McpFailure):
            return leaf
    if wire is not None and wire.unauthorized:
        return McpUnauthorized(UNAUTHORIZED)
    if problem := _problem(wire):
        return McpFailure(f"The MCP server cannot be used: {problem}.")
    for leaf in _leaves(error):
        name = type(leaf).__name__
        if name == "MCPError":
            return _answered(_short(leaf), leaf.code)  # type: ignore[attr-defined]
        if name == "ValidationError":
            return McpFailure("The MCP server answered with something that is not MCP.")
        if isinstance(leaf, FileNotFoundError | PermissionError):
            return McpFailure("The MCP server's command cannot be started: it does not exist here, or is no program.")
        if name == "HTTPStatusError":
            return McpFailure(f"The MCP server answered with HTTP {leaf.response.status_code}.")  # type: ignore[attr-defined]
    return McpFailure(f"The MCP server could not be reached ({_names(error)}).")


def _answered(text: str, code: int) -> McpFailure:
    said = f"The MCP server answered with an error: {text}"
    if text == _FORGOTTEN:
        return Forgotten(said)
    return McpFailure(said) if code in _OF_THE_CONNECTION else Refused(said)


def _problem(wire: Any) -> str:
    return str(wire.problem).rstrip(".")[:_SHOWN] if wire is not None else ""


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _names(error: BaseException) -> str:
    return ", ".join(dict.fromkeys(type(leaf).__name__ for leaf in _leaves(error)))


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
