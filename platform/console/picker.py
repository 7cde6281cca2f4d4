"""The organization picker: what lists and figures are narrowed to, kept in the session."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts.models import Organization
from console.access import PICKED, is_superuser, organization_ids, picked, roles_of

MOST = 300


@dataclass(frozen=True, slots=True)
class Choice:
    id: str
    name: str
    role: str
    selected: bool


def choices(request: HttpRequest) -> list[Choice]:
    """The organizations to pick from, at most `MOST`, the picked one among them."""
    if not request.user.is_authenticated:
        return []
    rows = Organization.objects.order_by("name").values_list("id", "name")
    ids = organization_ids(request)
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    found = list(rows[:MOST])
    chosen = picked(request)
    if chosen and all(organization_id != chosen for organization_id, _ in found):
        found += list(Organization.objects.filter(pk=chosen).values_list("id", "name"))
    roles = {} if is_superuser(request) else roles_of(request)
    return [Choice(str(pk), name, roles.get(str(pk), ""), pk == chosen) for pk, name in found]


@require_POST
def pick(request: HttpRequest) -> HttpResponse:
    """Stand on an organization, or ("") on all of them, and go back to where the user was."""
    wanted = request.POST.get("organization", "")
    allowed = organization_ids(request)
    if not wanted:
        request.session.pop(PICKED, None)
    elif (allowed is None or wanted in allowed) and wanted.startswith("org-"):
        request.session[PICKED] = wanted
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        back = reverse("admin:index")
    return redirect(back)
