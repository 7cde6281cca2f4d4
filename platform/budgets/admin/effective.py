"""What holds for whom: every budget, limit and stop of an agent, a key or an end user, the tightest first."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from budgets.admin import shown
from budgets.effective import Effective, effective
from budgets.facts import named
from console.access import is_superuser, organization_ids, picked
from console.registry import Page, register_page
from console.site import PerennialAdminSite


class AskForm(forms.Form):
    agent = forms.CharField(max_length=60, required=False, label="Agent (id)")
    api_key = forms.CharField(max_length=60, required=False, label="API key (id)")
    end_user = forms.CharField(max_length=200, required=False, label="End user")
    project = forms.CharField(max_length=60, required=False, label="Project (id)")
    model = forms.CharField(max_length=255, required=False, label="Model (handle)")
    provider_key = forms.CharField(max_length=100, required=False, label="Provider key")


def effective_view(request: HttpRequest) -> HttpResponse:
    from django.contrib import admin

    site: PerennialAdminSite = admin.site  # type: ignore[assignment]
    form = AskForm(request.GET)
    organization_id = _organization(request)
    found: dict[str, Any] = {}
    if organization_id and form.is_valid():
        given = form.cleaned_data
        found = _shown(effective(named(organization_id, given)))
    context = {
        **site.each_context(request),
        "title": "What holds for whom",
        "form": form,
        "organization_id": organization_id,
        **found,
    }
    return TemplateResponse(request, "console/budgets/effective.html", context)


def _organization(request: HttpRequest) -> str | None:
    """The picked one, or the only one that there is to pick; `?organization=` where a page leads here."""
    wanted = request.GET.get("organization", "")
    ids = organization_ids(request)
    if wanted.startswith("org-") and (is_superuser(request) or wanted in (ids or ())):
        return wanted
    return picked(request) or (ids[0] if ids and len(ids) == 1 else None)


def _shown(found: Effective) -> dict[str, Any]:
    called = shown.names(state.budget.target for state in found.budgets)
    return {
        "found": found,
        "budgets": [
            {
                "budget": state.budget,
                "about": shown.about(state.budget, called),
                "gauge": shown.gauge(state),
                "badge": shown.state_badge(state),
                "left": shown.figure(state.budget, state.left),
                "per": shown.per(state.budget),
                "resets": state.resets_at,
                "tightest": state is found.tightest,
            }
            for state in found.budgets
        ],
        "limits": [
            {"limit": one.limit, "used": one.used, "remaining": one.remaining, "tightest": one is found.tightest_limit}
            for one in found.limits
        ],
    }


register_page(Page("budgets/effective/", "budgets_effective", effective_view))
