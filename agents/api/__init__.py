"""The routes of `/v1` about agents, their memory and tools. A view holds no rule: parse, access, one call, answer."""

from __future__ import annotations

from ninja import Router

from agents.api import agent_blocks, agent_tools, agents, blocks, models, tags, tools

ROUTERS: tuple[tuple[str, Router], ...] = (
    ("/agents", agents.router),
    ("/agents", agent_blocks.router),
    ("/agents", agent_tools.router),
    ("/blocks", blocks.router),
    ("/tools", tools.router),
    ("/models", models.router),
    ("/tags", tags.router),
)
