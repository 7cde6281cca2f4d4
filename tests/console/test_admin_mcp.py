"""MCP servers in the admin: their state and tools, asking them anew, deleting them; each deed is kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from agents.mcp.models import McpServer
from agents.mcp.target import sealed
from agents.models import Tool
from tests.support.mcp_servers import stdio_config
from tests.support.seed import Seeded


@pytest.fixture
def server(world: Seeded) -> McpServer:
    return McpServer.objects.create(
        organization=world.organization,
        name="tickets",
        server_type="stdio",
        config=sealed({**stdio_config(), "env": {"TOKEN": "tok-secret-1"}}),
        address="python",
    )


def page_of(server: McpServer, name: str = "change") -> str:
    return reverse(f"admin:agents_mcpserver_{name}", args=[server.pk])


def test_an_operator_asks_a_server_for_its_tools_and_deletes_it(
    browser: Any, world: Seeded, server: McpServer, settings: Any
) -> None:
    settings.MCP_DISABLE_STDIO = False
    client = browser("operator")
    page = client.post(page_of(server, "refresh"), follow=True).content.decode()
    assert "tickets answers" in page
    assert "Add two numbers." in page
    assert "tok-secret-1" not in page
    assert AuditEntry.objects.get(action="mcp_server.refresh").target == server.pk
    client.post(page_of(server, "delete"), {"post": "yes"})
    assert not Tool.objects.filter(tool_type="external_mcp").exists()
    assert AuditEntry.objects.filter(action="mcp_server.delete").exists()


def test_a_refusal_is_shown(browser: Any, server: McpServer) -> None:
    page = browser("operator").post(page_of(server, "refresh"), follow=True).content.decode()
    assert "MCP_DISABLE_STDIO" in page


@pytest.mark.parametrize("role", ["viewer", "outsider"])
def test_nobody_else_asks(browser: Any, server: McpServer, role: str) -> None:
    assert browser(role).post(page_of(server, "refresh")).status_code in (302, 403, 404)
    assert not AuditEntry.objects.filter(action="mcp_server.refresh").exists()
