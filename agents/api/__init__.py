"""The routes of `/v1` about agents, their memory and tools. A view holds no rule: parse, access, one call, answer."""

from __future__ import annotations

from ninja import Router

from agents.api import (
    agent_blocks,
    agent_files,
    agent_passages,
    agent_tools,
    agents,
    blocks,
    internal,
    mcp_servers,
    models,
    older_mcp,
    passages,
    providers,
    tags,
    tools,
)

ROUTERS: tuple[tuple[str, Router], ...] = (
    ("/agents", agent_files.router),  # /agents/import before /agents/{agent_id}
    ("/agents", agents.router),
    ("/agents", agent_blocks.router),
    ("/agents", agent_tools.router),
    ("/agents", agent_passages.router),
    ("/blocks", blocks.router),
    ("/mcp-servers", mcp_servers.router),
    ("/tools/mcp", older_mcp.router),  # before /tools/{tool_id}
    ("/_internal_blocks", internal.blocks_router),
    ("/_internal_agents", internal.agents_router),
    ("/tools", tools.router),
    ("/models", models.router),
    ("/providers", providers.router),
    ("/passages", passages.router),
    ("/tags", tags.router),
)
