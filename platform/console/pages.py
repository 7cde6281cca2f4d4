"""Pages of one object beside its form: a strip of tabs, each tab a page that loads only what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from console.admin_base import OrganizationScopedAdmin


@dataclass(frozen=True, slots=True)
class Tab:
    """`load` gives the context of `template`; it may return a response of its own (after a POST)."""

    slug: str
    label: str
    template: str
    load: Callable[[HttpRequest, Any], dict[str, Any] | HttpResponse]


class TabbedAdmin(OrganizationScopedAdmin):
    """The form is the first tab; `tabs()` are the others."""

    form_tab_label = "Overview"
    change_form_outer_before_template = "console/tabs.html"

    def tabs(self) -> Sequence[Tab]:
        return ()

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        own = [
            path(f"<path:object_id>/{tab.slug}/", view(self._view(tab)), name=self._name(tab.slug))
            for tab in self.tabs()
        ]
        return [*own, *super().get_urls()]

    def tab_links(self, object_id: str, current: str) -> list[dict[str, Any]]:
        first = {"label": self.form_tab_label, "url": reverse(f"admin:{self._name('change')}", args=[object_id])}
        links = [{**first, "current": current == ""}]
        for tab in self.tabs():
            url = reverse(f"admin:{self._name(tab.slug)}", args=[object_id])
            links.append({"label": tab.label, "url": url, "current": tab.slug == current})
        return links

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        extra = {"object_tabs": self.tab_links(object_id, ""), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def _view(self, tab: Tab) -> Callable[..., HttpResponse]:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            obj = self.reach(request, object_id)
            found = tab.load(request, obj)
            if isinstance(found, HttpResponse):
                return found
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": obj,
                "title": tab.label,
                "object_tabs": self.tab_links(object_id, tab.slug),
                "may_change": self.has_change_permission(request, obj),
                **found,
            }
            return TemplateResponse(request, tab.template, context)

        return view

    def _name(self, slug: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{slug}"
