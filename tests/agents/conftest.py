"""An MCP server that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.mcp_servers import running


@pytest.fixture(scope="session")
def mcp_url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def mcp_allowed(settings: Any) -> Iterator[None]:
    """MCP servers may be on loopback, and commands; limits are those of a busy machine. Connections end with the test."""
    from agents.mcp.sessions import close_all

    settings.MCP_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.MCP_DISABLE_STDIO = False
    for name in ("MCP_CONNECT_TIMEOUT_S", "MCP_LIST_TIMEOUT_S", "MCP_EXECUTE_TIMEOUT_S"):
        setattr(settings, name, 30.0)
    yield
    close_all()
