"""The routes of `/v1` about conversations, messages, runs and steps."""

from __future__ import annotations

from ninja import Router

from conversations.api import context, messages

ROUTERS: tuple[tuple[str, Router], ...] = (
    ("/agents", messages.agents_router),
    ("/agents", context.router),
    ("/conversations", messages.conversations_router),
    ("/runs", messages.runs_router),
)
