"""The only door from a caller to agents, blocks, tools, archives and passages: all of its organization, no other."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from accounts.access import Caller, require_admin
from accounts.models import Project
from agents.mcp.models import McpServer, McpTool
from agents.models import Agent, Archive, Block, Tool
from core.errors import NotFound, PermissionDenied
from providers.entries import Entry, base_entries, base_id
from providers.models import Provider

M = TypeVar("M", bound=Model)


def agents_of(caller: Caller) -> QuerySet[Agent]:
    return Agent.objects.filter(organization_id=caller.organization_id)


def blocks_of(caller: Caller) -> QuerySet[Block]:
    return Block.objects.filter(organization_id=caller.organization_id)


def tools_of(caller: Caller) -> QuerySet[Tool]:
    """The organization's own, and the base tools, which are everybody's."""
    return Tool.objects.filter(Q(organization_id=caller.organization_id) | Q(organization_id=None))


def archives_of(caller: Caller) -> QuerySet[Archive]:
    return Archive.objects.filter(organization_id=caller.organization_id)


def mcp_servers_of(caller: Caller) -> QuerySet[McpServer]:
    return McpServer.objects.filter(organization_id=caller.organization_id)


def get_mcp_server(caller: Caller, server_id: str) -> McpServer:
    return _one(mcp_servers_of(caller), server_id, "MCP server")


def get_mcp_server_named(caller: Caller, name: str) -> McpServer:
    server = mcp_servers_of(caller).filter(name=name).first()
    if server is None:
        raise NotFound(f"No MCP server is named '{name}' (GET /v1/mcp-servers/ lists them).")
    return server


def get_mcp_tool(caller: Caller, server_id: str, tool_id: str) -> McpTool:
    """With its server and its Tool."""
    server = get_mcp_server(caller, server_id)
    row = McpTool.objects.filter(server=server, tool_id=tool_id).select_related("tool", "server").first()
    if row is None:
        raise _missing("Tool", tool_id)
    return row


def get_mcp_tool_named(caller: Caller, server_name: str, name: str) -> McpTool:
    """By what the server calls it. With its server and its Tool."""
    server = get_mcp_server_named(caller, server_name)
    row = server.tools.filter(name=name).select_related("tool", "server").first()
    if row is None:
        raise NotFound(f"The MCP server '{server_name}' has no tool '{name}': list its tools, or resync it.")
    return row


def get_agent(caller: Caller, agent_id: str) -> Agent:
    return _one(agents_of(caller), agent_id, "Agent")


def check_agent(caller: Caller, agent_id: str) -> None:
    """Like `get_agent`, where the row itself is not needed."""
    if not agents_of(caller).filter(pk=agent_id).exists():
        raise _missing("Agent", agent_id)


def get_block(caller: Caller, block_id: str) -> Block:
    return _one(blocks_of(caller), block_id, "Block")


def get_agent_block(caller: Caller, agent_id: str, label: str) -> Block:
    block = blocks_of(caller).filter(agentblock__agent_id=agent_id, agentblock__label=label).first()
    if block is None:
        check_agent(caller, agent_id)
        raise NotFound(f"Block '{label}' not found for agent '{agent_id}'")
    return block


def get_tool(caller: Caller, tool_id: str) -> Tool:
    return _one(tools_of(caller), tool_id, "Tool")


def providers_of(caller: Caller) -> QuerySet[Provider]:
    """Its organization's own ones; those of one project alone where the key is of that project."""
    rows = Provider.objects.filter(organization_id=caller.organization_id)
    return rows.filter(project_id=caller.project_id) if caller.project_id else rows


def get_provider(caller: Caller, provider_id: str) -> Provider | Entry:
    """An own one, or one of the installation."""
    base = next((entry for entry in base_entries().values() if base_id(entry.name) == provider_id), None)
    return base or _one(providers_of(caller), provider_id, "Provider")


def own_provider(caller: Caller, provider_id: str) -> Provider:
    """One that the caller may change: an own one, by an admin."""
    require_admin(caller, "Providers")
    found = get_provider(caller, provider_id)
    if isinstance(found, Entry):
        raise PermissionDenied(f"Provider '{found.name}' is the installation's: its operator sets it by environment.")
    return found


def get_archive(caller: Caller, archive_id: str) -> Archive:
    return _one(archives_of(caller), archive_id, "Archive")


def get_blocks(caller: Caller, block_ids: list[str]) -> list[Block]:
    """In the order of the ids. One query."""
    return _several(blocks_of(caller), block_ids, "Block")


def get_tools(caller: Caller, tool_ids: list[str]) -> list[Tool]:
    """In the order of the ids. One query."""
    return _several(tools_of(caller), tool_ids, "Tool")


def check_project(caller: Caller, project_id: str | None) -> None:
    if project_id is None or project_id == caller.project_id:
        return
    if not Project.objects.filter(pk=project_id, organization_id=caller.organization_id).exists():
        raise _missing("Project", project_id)


def _one(rows: QuerySet[M], row_id: str, noun: str) -> M:
    row = next(iter(rows.filter(pk=row_id).order_by()), None)
    if row is None:
        raise _missing(noun, row_id)
    return row


def _several(rows: QuerySet[M], ids: list[str], noun: str) -> list[M]:
    if not ids:
        return []
    found = {str(row.pk): row for row in rows.filter(pk__in=ids)}
    for row_id in ids:
        if row_id not in found:
            raise _missing(noun, row_id)
    return [found[row_id] for row_id in dict.fromkeys(ids)]


def _missing(noun: str, row_id: str) -> NotFound:
    return NotFound(f"{noun} with ID {row_id} not found")
