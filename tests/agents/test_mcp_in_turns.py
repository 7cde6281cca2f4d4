"""Tools of MCP servers called by a model in its turn: what they give, and how little a bad server can do to the run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents.actions import attach_tool
from agents.mcp import actions, running
from agents.mcp.models import McpServer, McpTool
from agents.mcp.sessions import call_tool
from agents.mcp.target import target_of
from conversations.models import Conversation, Message, Run, RunStatus
from tests.support.api import Tenant
from tests.support.mcp_servers import stdio_config
from tests.support.turns import fresh, thinker, turn

# Real transactions: the thread that renews leases must see the runs.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis", "mcp_allowed")]


def with_tools(tenant: Tenant, url: str, *names: str) -> Conversation:
    path, kind = ("/mcp", "streamable_http") if url else ("", "stdio")
    config = stdio_config() if kind == "stdio" else {"server_url": f"{url}{path}"}
    server = actions.create_server(tenant.caller, "demo", kind, config)
    conversation = thinker(tenant)
    for tool in McpTool.objects.filter(server=server, name__in=names):
        attach_tool(tenant.caller, conversation.agent_id, tool.tool_id)
    return fresh(conversation)


def returned(run: Run) -> dict[str, Any]:
    [item] = Message.objects.get(run=run, role="tool").tool_returns
    return dict(item)


def test_a_tool_of_a_server_runs_in_a_turn(tenant: Tenant, mcp_url: str) -> None:
    conversation = with_tools(tenant, mcp_url, "add", "fail")
    run = turn(tenant, conversation, '[[tool add {"a": 40, "b": 2} then say Done]]')
    assert (returned(run)["content"], returned(run)["is_error"]) == ("42", False)
    assert (run.status, run.step_count) == (RunStatus.COMPLETED, 2)
    failed = turn(tenant, conversation, '[[tool fail {"reason": "so"} then say Done]]')
    assert returned(failed)["is_error"]
    assert failed.status == RunStatus.COMPLETED


def test_a_server_that_hangs_costs_a_call_and_no_run(tenant: Tenant, settings: Any, mcp_url: str) -> None:
    conversation = with_tools(tenant, mcp_url, "wait")
    settings.MCP_EXECUTE_TIMEOUT_S = 0.3
    slow = turn(tenant, conversation, '[[tool wait {"seconds": 60} then say Done]]')
    assert "within 0.3 seconds" in returned(slow)["content"]
    assert slow.status == RunStatus.COMPLETED


def test_a_server_that_dies_in_a_call_costs_that_call(tenant: Tenant) -> None:
    died = turn(tenant, with_tools(tenant, "", "die"), "[[tool die {} then say Done]]")
    assert "command ended" in returned(died)["content"]
    assert died.status == RunStatus.COMPLETED


def test_a_server_sees_the_secrets_of_the_agent_that_calls_it(tenant: Tenant, mcp_url: str) -> None:
    config = {"server_url": f"{mcp_url}/mcp", "custom_headers": {"X-Key": "key {{ KEY }}"}}
    server = actions.create_server(tenant.caller, "demo", "streamable_http", config)
    assert (server.state, server.tools.count()) == ("unseen", 0)
    ours, bare = thinker(tenant, secrets={"KEY": "ours"}), thinker(tenant)
    actions.refresh_server(tenant.caller, server.pk, ours.agent_id)
    for conversation in (ours, bare):
        attach_tool(tenant.caller, conversation.agent_id, McpTool.objects.get(name="header").tool_id)
    asked = '[[tool header {"name": "x-key"} then say Done]]'
    assert returned(turn(tenant, fresh(ours), asked))["content"] == "key ours"
    refused = turn(tenant, fresh(bare), asked)
    assert "variable KEY" in returned(refused)["content"]
    assert refused.status == RunStatus.COMPLETED


def test_a_call_that_nobody_waits_for_is_given_up(tenant: Tenant, mcp_url: str) -> None:
    with_tools(tenant, mcp_url)
    target, began = target_of(McpServer.objects.get(), {}), time.monotonic()
    with pytest.raises(TimeoutError):
        call_tool(target, "wait", {"seconds": 4.0}, lambda: time.monotonic() > began + 0.2)
    assert call_tool(target, "add", {"a": 1, "b": 1}).structured_content == {"result": 2}


def test_only_what_its_server_calls_harmless_is_called_again(tenant: Tenant, mcp_url: str) -> None:
    with_tools(tenant, mcp_url)
    rows = {row.name: {"metadata": row.tool.metadata} for row in McpTool.objects.select_related("tool")}
    assert {name for name, row in rows.items() if running.is_repeatable(row)} == {"add"}
