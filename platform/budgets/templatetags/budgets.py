"""The switch that stops an agent or an API key, for their pages."""

from __future__ import annotations

from typing import Any

from django import template

from budgets import stops
from console.access import ADMINS, OPERATORS, may

register = template.Library()


@register.inclusion_tag("console/budgets/switch.html", takes_context=True)
def stop_switch(context: Any, scope: str, row: Any) -> dict[str, Any]:
    """`row`: what the page is about; its id is the target of the stop."""
    request, organization_id = context["request"], str(row.organization_id)
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "stop": stops.standing(organization_id, scope, str(row.pk)),
        "scope": scope,
        "row": row,
        "what": {"agent": "agent", "api_key": "key"}[scope],
        "may_stop": may(request, OPERATORS, organization_id),
        "may_lift": may(request, ADMINS, organization_id),
    }
