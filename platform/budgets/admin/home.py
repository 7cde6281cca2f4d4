"""What the home page says about money: budgets near their end or over it, and stops that stand."""

from __future__ import annotations

from typing import Any

from budgets.admin import shown
from budgets.models import Budget, Stop
from budgets.states import EXCEEDED, WARNING, states_of
from console.admin_base import scoped
from console.display import when
from console.registry import Panel, Scope, register_panel

MOST = 8
MOST_READ = 500


def near_the_end(scope: Scope) -> dict[str, Any] | None:
    """None where all is well: the home page has other things to show."""
    rows = scoped(Budget.objects.filter(enabled=True), scope.organization_ids, "organization_id")
    states = [state for state in states_of(list(rows[:MOST_READ])) if state.word in (WARNING, EXCEEDED)]
    states.sort(key=lambda state: -state.share)
    standing = scoped(Stop.objects.filter(lifted_at=None), scope.organization_ids, "organization_id")
    stops = list(standing[:MOST])
    called = shown.names(stop.target for stop in stops)
    if not states and not stops:
        return None
    found = [
        {
            "budget": state.budget,
            "gauge": shown.gauge(state),
            "badge": shown.state_badge(state),
            "resets": when(state.resets_at) if state.resets_at else "rolls on",
            "forecast": shown.forecast(state),
        }
        for state in states[:MOST]
    ]
    return {
        "budgets": found,
        "more": max(0, len(states) - MOST),
        "stops": [(stop, shown.about(stop, called)) for stop in stops],
    }


register_panel(Panel(5, "console/budgets/home.html", near_the_end))
