"""An MCP server that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mcp_servers import running


@pytest.fixture(scope="session")
def mcp_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def mcp_allowed(settings: pytest.MonkeyPatch) -> Iterator[None]:
    """MCP servers may be on loopback, and commands; what takes long is cut off soon. Connections end with the test."""
    from agents.mcp.sessions import close_all

    settings.MCP_ALLOWED_HOSTS = ["127.0.0.1"]  # type: ignore[attr-defined]
    settings.MCP_DISABLE_STDIO = False  # type: ignore[attr-defined]
    for name in ("MCP_CONNECT_TIMEOUT_S", "MCP_LIST_TIMEOUT_S", "MCP_EXECUTE_TIMEOUT_S"):
        setattr(settings, name, 5.0)
    yield
    close_all()
