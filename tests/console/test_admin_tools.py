"""Tools in the admin: what a custom one may do in the sandbox is an administrator's word, and is kept."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from accounts.models import AuditEntry
from agents.models import Agent, AgentTool, Tool
from tests.support.seed import Seeded

REQUIREMENTS = [{"name": "idna", "version": "3.10"}]


@pytest.fixture
def tool(world: Seeded) -> Tool:
    made = Tool.objects.create(
        organization=world.organization, name="fetch", json_schema={}, pip_requirements=REQUIREMENTS
    )
    AgentTool.objects.create(agent=world.agents[0], tool=made)
    return made


def page_of(tool: Tool) -> str:
    return reverse("admin:agents_tool_change", args=[tool.pk])


def test_an_administrator_grants_a_tool_the_network_and_more_time(browser: Any, world: Seeded, tool: Tool) -> None:
    client, agent = browser("admin"), Agent.objects.get(pk=world.agents[0].pk)
    assert "idna==3.10: not installed yet" in client.get(page_of(tool)).content.decode()
    client.post(page_of(tool), {"network": "on", "timeout_s": "300"}, follow=True)
    tool.refresh_from_db()
    assert (tool.network, tool.timeout_s, tool.name) == (True, 300, "fetch")
    entry = AuditEntry.objects.get(action="tool.grant")
    assert (entry.target, entry.after) == (tool.pk, {"network": True, "client": False, "timeout_s": 300})
    assert Agent.objects.get(pk=agent.pk).prompt_version == agent.prompt_version + 1, "workers load the tool anew"
    client.post(page_of(tool), {"network": "on", "timeout_s": "0"})
    tool.refresh_from_db()
    assert tool.timeout_s == 300


@pytest.mark.parametrize("role", ["operator", "viewer", "outsider"])
def test_nobody_else_does(browser: Any, tool: Tool, role: str) -> None:
    browser(role).post(page_of(tool), {"network": "on"})
    tool.refresh_from_db()
    assert not tool.network
    assert not AuditEntry.objects.filter(action="tool.grant").exists()
