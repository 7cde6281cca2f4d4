"""The home page's first words: what to do while there is no agent yet."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from agents.models import Agent
from console.admin_base import scoped
from console.registry import Panel, Scope, register_panel


def begin(scope: Scope) -> dict[str, Any] | None:
    """Nothing when there is an agent: then the figures speak."""
    if scoped(Agent.objects.all(), scope.organization_ids, "organization_id").exists():
        return None
    base_url = scope.request.build_absolute_uri("/").rstrip("/")
    return {"base_url": base_url, "model": settings.DEFAULT_MODEL or "openai/gpt-5-mini"}


register_panel(Panel(0, "console/agents/begin.html", begin))
