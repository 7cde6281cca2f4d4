"""The home page's figures: spend, calls, tokens, errors, latency; over time by model; by whose key; the dearest."""

from __future__ import annotations

from typing import Any

from console.access import ADMINS, may
from console.registry import Panel, Scope, fallbacks, register_panel
from telemetry.admin.asked import reach
from telemetry.admin.figures import read
from telemetry.client import TelemetryUnavailable


def figures(scope: Scope) -> dict[str, Any]:
    found = reach(scope.request, {})
    if found is None:
        return {"none": True}
    try:
        may_price = may(scope.request, ADMINS)
        return {"figures": read(found, scope.period), "period": scope.period, "may_price": may_price}
    except TelemetryUnavailable as error:
        return {"trouble": error.message, "fallbacks": fallbacks(scope.request, scope.period)}


register_panel(Panel(10, "console/telemetry/figures.html", figures))
