"""The admin site: the operators' cockpit."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite

from console import picker, registry


class PerennialAdminSite(UnfoldAdminSite):
    site_header = "Perennial"
    site_title = "Perennial"
    index_title = "Overview"

    def extra_urls(self) -> list[URLPattern]:
        return [
            path("organization/pick/", self.admin_view(picker.pick), name="pick_organization"),
            *(path(page.route, self.admin_view(page.view), name=page.name) for page in registry.pages()),
        ]

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        context = super().each_context(request)
        if context["has_permission"]:
            found = picker.choices(request)
            context["organization_choices"] = found
            context["organization_picked"] = next((choice for choice in found if choice.selected), None)
        return context
