"""The home page's figures: spend, calls, tokens, errors, latency; by day and model; by whose key."""

from __future__ import annotations

from typing import Any

from console.access import figure_organizations
from console.registry import Panel, Scope, names_of, register_panel
from telemetry.admin.figures import read
from telemetry.client import TelemetryUnavailable


def figures(scope: Scope) -> dict[str, Any]:
    organizations = figure_organizations(scope.request)
    if not organizations:
        return {"none": True}
    try:
        found = read(organizations, scope.period)
    except TelemetryUnavailable as error:
        return {"trouble": error.message}
    return {
        "figures": found,
        "several": len(organizations) > 1,
        "agent_names": names_of("agent", (row.agent_id for row in found.agents)),
        "organization_names": names_of("org", (row.organization_id for row in found.organizations)),
        "period": scope.period,
    }


register_panel(Panel(10, "console/telemetry/figures.html", figures))
