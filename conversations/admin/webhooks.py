"""Callbacks of runs: the last ones and how they went, and a new secret to sign with, shown once."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from accounts.models import Organization
from console import shown_once
from console.access import ADMINS, may, organization_ids, shown_organization_ids
from console.admin_base import scoped
from console.display import badge
from console.registry import Page, register_page
from console.site import PerennialAdminSite
from conversations import callbacks
from conversations.models import ACTIVE, Run, WebhookSecret
from core.ids import is_id
from core.outbound import shown_url

MOST = 100
MOST_ORGANIZATIONS = 20
TONES = {"sent": "good", "waiting": "busy", "given_up": "bad"}
_ROW = (*callbacks.COLUMNS, "status", "agent__name", "organization__name")


def callback_of(run: Run) -> dict[str, Any]:
    """What is shown of a run's callback, beside its columns."""
    state = callbacks.state_of(run)
    return {
        "run": run,
        "id": callbacks.delivery_id(run),
        "badge": badge(state, TONES[state]),
        "url": shown_url(run.callback_url or ""),
        "next_at": run.callback_due_at if run.callback_attempts and run.status not in ACTIVE else None,
    }


@never_cache
def webhooks_view(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _new_secret(request)
    site: PerennialAdminSite = admin.site  # type: ignore[assignment]
    ids = shown_organization_ids(request)
    runs = scoped(callbacks.with_callback(Run.objects.all()), ids, "organization_id")
    last = runs.select_related("agent", "organization").only(*_ROW).order_by("-created_at")[:MOST]
    secrets = scoped(WebhookSecret.objects.all(), ids, "organization_id").values_list("organization_id", "updated_at")
    own = scoped(Organization.objects.all(), ids, "pk").order_by("name")[: MOST_ORGANIZATIONS + 1]
    organizations, made_at = list(own), dict(secrets)
    context = {
        **site.each_context(request),
        "title": "Webhooks",
        "callbacks": [callback_of(run) for run in last],
        "several": len(organizations) > 1,
        "organizations": [
            (organization, made_at.get(str(organization.pk)), may(request, ADMINS, str(organization.pk)))
            for organization in organizations[:MOST_ORGANIZATIONS]
        ],
        "more": len(organizations) > MOST_ORGANIZATIONS,
        "secret": _just_made(request),
    }
    return TemplateResponse(request, "console/conversations/webhooks.html", context)


def _new_secret(request: HttpRequest) -> HttpResponse:
    organization_id = request.POST.get("organization", "")
    reached = organization_ids(request)
    known = is_id("org", organization_id) and (reached is None or organization_id in reached)
    organization = Organization.objects.filter(pk=organization_id).first() if known else None
    if organization is None:
        messages.error(request, "Choose one of your organizations.")
        return redirect("admin:conversations_webhooks")
    if not may(request, ADMINS, organization_id):
        raise PermissionDenied
    shown_once.keep(request, organization_id, callbacks.renew_secret(organization_id, str(request.user.pk)))
    return redirect(f"{reverse('admin:conversations_webhooks')}?made={organization_id}")


def _just_made(request: HttpRequest) -> str | None:
    made_for = request.GET.get("made", "")
    return shown_once.take(request, made_for) if made_for else None


register_page(Page("conversations/webhooks/", "conversations_webhooks", webhooks_view))
