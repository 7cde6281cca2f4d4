"""What the home page says about runs: the last that failed."""

from __future__ import annotations

from typing import Any

from console.admin_base import scoped
from console.registry import Panel, Scope, register_panel
from conversations.models import Run, RunStatus

MOST = 6


def failed_runs(scope: Scope) -> dict[str, Any] | None:
    rows = scoped(Run.objects.filter(status=RunStatus.FAILED), scope.organization_ids, "organization_id")
    found = rows.filter(created_at__gte=scope.period.start).select_related("agent").order_by("-created_at")
    return {"runs": list(found.only("status", "stop_reason", "error", "created_at", "agent__name")[:MOST])}


register_panel(Panel(50, "console/conversations/failed_runs.html", failed_runs))
