"""The home page: period and organization, and the panels that the rooms above registered."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from console import registry
from console.access import shown_organization_ids
from console.periods import PRESETS, chosen, range_fields


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context of admin/index.html; the period is kept in the session."""
    period = chosen(request)
    scope = registry.Scope(request, period, shown_organization_ids(request))
    shown = [(panel.template, panel.load(scope)) for panel in registry.panels()]
    return {
        **context,
        "title": "Overview",
        "period": period,
        "presets": PRESETS,
        **range_fields(period),
        "panels": [{"template": template, "data": data} for template, data in shown if data is not None],
        "base_url": request.build_absolute_uri("/").rstrip("/"),
    }
