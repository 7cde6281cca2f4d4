"""MCP servers in the admin: their state and tools, asking them anew, deleting them; each deed is kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse, reverse_lazy

from accounts.models import AuditEntry
from agents.mcp.models import McpServer
from agents.mcp.target import config_of, sealed
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


ADD = reverse_lazy("admin:agents_mcpserver_add")


def sent(**fields: str) -> dict[str, str]:
    config = stdio_config()
    return {"name": "demo", "command": config["command"], "args": "\r\n".join(config["args"]), "env": "", **fields}


def test_an_operator_tries_a_server_connects_it_and_changes_it_without_seeing_a_secret(
    browser: Any, world: Seeded, settings: Any
) -> None:
    settings.MCP_DISABLE_STDIO = False
    client = browser("operator")
    new = sent(organization=world.organization.pk, env="TOKEN=tok-secret-1\r\nPLAIN={{ NAME | none }}")
    tried = client.post(f"{ADD}?type=stdio", {**new, "test": "1"}).content.decode()
    assert "add, echo, fail" in tried
    assert not McpServer.objects.exists()
    assert "cannot be started" in client.post(f"{ADD}?type=stdio", {**new, "command": "no-such"}).content.decode()
    page = client.post(f"{ADD}?type=stdio", new, follow=True).content.decode()
    assert "demo is connected" in page
    assert "Add two numbers." in page
    made = McpServer.objects.get()
    form = client.get(page_of(made, "settings")).content.decode()
    assert ("tok-secret-1" in form, "TOKEN=********" in form) == (False, True)
    kept = sent(name="renamed", env="TOKEN=********\r\nPLAIN=x")
    assert "tools: add" in client.post(page_of(made, "settings"), {**kept, "test": "1"}).content.decode()
    assert client.post(page_of(made, "settings"), kept).status_code == 302
    made.refresh_from_db()
    assert (made.name, config_of(made)["env"]) == ("renamed", {"TOKEN": "tok-secret-1", "PLAIN": "x"})
    wrong = client.post(page_of(made, "settings"), sent(env="OTHER=********")).content.decode()
    assert "stands for a secret that is not shown" in wrong
    deeds = AuditEntry.objects.filter(target=made.pk).order_by("created_at")
    assert [deed.action for deed in deeds] == ["mcp_server.create", "mcp_server.update"]


def test_a_stored_token_stays_until_it_is_replaced_or_forgotten(browser: Any, world: Seeded) -> None:
    stored = {"server_url": "https://mcp.example.test/mcp?key=k-1", "auth_token": "tok-secret-2"}
    made = McpServer.objects.create(
        organization=world.organization, name="far", server_type="streamable_http", config=sealed(stored), address="x"
    )
    client, url = browser("owner"), page_of(made, "settings")
    shown = client.get(url).content.decode()
    assert ("tok-secret-2" in shown, "key=********" in shown) == (False, True)
    form = {"name": "far", "server_url": "https://mcp.example.test/mcp?key=********", "custom_headers": "X-A: 1"}
    for more, token in (({}, "tok-secret-2"), ({"auth_token": "tok-3"}, "tok-3"), ({"forget_token": "on"}, None)):
        assert client.post(url, {**form, **more}).status_code == 302
        made.refresh_from_db()
        config = config_of(made)
        assert (config.get("auth_token"), config["server_url"]) == (token, stored["server_url"])
        assert config["custom_headers"] == {"X-A": "1"}
    refused = client.post(url, {**form, "custom_headers": "no colon"}).content.decode()
    assert "Line 1 is no name:value" in refused


@pytest.mark.parametrize("role", ["viewer", "outsider"])
def test_nobody_else_makes_or_changes_one(browser: Any, server: McpServer, world: Seeded, role: str) -> None:
    client = browser(role)
    assert client.post(f"{ADD}?type=stdio", sent(organization=world.organization.pk)).status_code in (302, 403)
    assert client.post(page_of(server, "settings"), sent()).status_code in (302, 403, 404)
    assert client.post(page_of(server, "authorize")).status_code in (302, 403, 404)
    assert [one.name for one in McpServer.objects.all()] == ["tickets"]


@pytest.mark.parametrize("role", ["viewer", "outsider"])
def test_nobody_else_asks(browser: Any, server: McpServer, role: str) -> None:
    assert browser(role).post(page_of(server, "refresh")).status_code in (302, 403, 404)
    assert not AuditEntry.objects.filter(action="mcp_server.refresh").exists()
