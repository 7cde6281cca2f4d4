"""The routes of `/v1` about conversations, messages, runs and steps."""

from __future__ import annotations

from ninja import Router

from conversations.api import (
    batches,
    context,
    conversations,
    jobs,
    lists,
    messages,
    runs,
    search,
    steps,
    tool_runs,
)

ROUTERS: tuple[tuple[str, Router], ...] = (
    ("/agents", search.agents_router),
    ("/agents", messages.agents_router),
    ("/agents", context.router),
    ("/conversations", conversations.router),
    ("/messages", batches.router),  # before those that take a message's id in the same place
    ("/messages", search.messages_router),
    ("/messages", lists.messages_router),
    ("/runs", runs.router),
    ("/_internal_runs", runs.search_router),
    ("/jobs", jobs.router),
    ("/steps", steps.router),
    ("/tools", tool_runs.router),
    ("/agents", tool_runs.agents_router),
    ("/telemetry", steps.telemetry_router),
)
