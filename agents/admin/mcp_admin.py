"""MCP servers in the admin: made and changed, asked for their tools, authorized with; how they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.models import Organization
from agents.admin.mcp_forms import McpServerForm
from agents.api.mcp_connecting import redirect_uri
from agents.mcp import actions
from agents.mcp.models import McpServer, McpTool, ServerState, ServerType
from agents.mcp.sync import Changes
from agents.mcp.target import config_of, shown
from agents.models import Agent
from console.access import OPERATORS, organization_ids
from console.action_form import caller_of
from console.admin_base import scoped
from console.display import badge, when
from console.pages import Tab, TabbedAdmin
from console.registry import register_names
from core.errors import AppError

TONES = {
    ServerState.READY: "good",
    ServerState.UNSEEN: "plain",
    ServerState.UNAUTHORIZED: "warn",
    ServerState.FAILED: "bad",
}
SHOWN_TOOLS = 500
OFFERED_AGENTS = 100
TYPES = {
    ServerType.STREAMABLE_HTTP: "By HTTP",
    ServerType.SSE: "By SSE, the older protocol",
    ServerType.STDIO: "A command on this machine",
}


def state_of(server: McpServer) -> SafeString:
    return badge(server.get_state_display(), TONES[ServerState(server.state)])


@admin.register(McpServer)
class McpServerAdmin(TabbedAdmin):
    """The form of a server depends on its type and is asked before it is saved, so its pages are of their own."""

    list_display = ("name", "server_type", "address", "state_shown", "tool_number", "organization", "checked")
    list_select_related = ("organization",)
    list_filter = ("state", "server_type")
    search_fields = ("name__icontains", "address__icontains")
    search_help_text = "By name, by address, or by id"
    ordering = ("name",)
    actions = None
    change_list_template = "console/list.html"
    empty_title, empty_button = "No MCP server is connected", "Connect a server"
    empty_words = "An MCP server offers tools: connect one, and attach what it offers to agents."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("config", "oauth")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        offered = McpTool.objects.filter(server=OuterRef("pk")).order_by().values("server")
        number = Coalesce(Subquery(offered.annotate(n=Count("pk")).values("n")), 0)
        return rows.annotate(offered=number), duplicates

    def tabs(self) -> Sequence[Tab]:
        return (Tab("settings", "Settings", "console/agents/mcp_form.html", self.settings_tab),)

    @admin.display(description="state", ordering="state")
    def state_shown(self, obj: McpServer) -> SafeString:
        return state_of(obj)

    @admin.display(description="tools", ordering="offered")
    def tool_number(self, obj: Any) -> int:
        return int(obj.offered)

    @admin.display(description="asked", ordering="checked_at")
    def checked(self, obj: McpServer) -> SafeString | str:
        return when(obj.checked_at) if obj.checked_at else "never"

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        server = self.get_object(request, object_id)
        if server is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        tools = McpTool.objects.filter(server=server).select_related("tool").defer("tool__source_code")
        holding = Agent.objects.filter(organization_id=server.organization_id, variables__isnull=False)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": server,
            "object_tabs": self.tab_links(object_id, ""),
            "may_change": self.has_change_permission(request, server),
            "tools": list(tools[:SHOWN_TOOLS]),
            "state_badge": state_of(server),
            "agents": list(holding.distinct().order_by("name").values_list("pk", "name")[:OFFERED_AGENTS]),
        }
        return TemplateResponse(request, "console/agents/mcp_server.html", context)

    def delete_model(self, request: HttpRequest, obj: McpServer) -> None:
        actions.delete_server(caller_of(request, str(obj.organization_id)), obj.pk)

    # Made and changed

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        kind = request.GET.get("type", "")
        kind = kind if kind in TYPES else ServerType.STREAMABLE_HTTP
        form = McpServerForm(kind, request.POST or None, initial=self.get_changeform_initial_data(request))
        reached = organization_ids(request, OPERATORS)
        form.fields["organization"].queryset = scoped(Organization.objects.order_by("name"), reached, "pk")  # type: ignore[attr-defined]
        context: dict[str, Any] = {"form": form, "kind": kind}
        if form.is_valid():
            caller, name = caller_of(request, str(form.cleaned_data["organization"].pk)), form.cleaned_data["name"]
            try:
                if "test" not in request.POST:
                    made = actions.create_server(caller, name, kind, form.config)
                    messages.success(request, f"{made.name} is connected.")
                    return redirect("admin:agents_mcpserver_change", made.pk)
                context["tried"] = actions.try_server(caller, kind, form.config)
            except AppError as error:
                form.refuse(error)
        context |= {"title": "Connect an MCP server", "types": TYPES.items(), "may_change": True, "opts": self.opts}
        context["forbidden"] = kind == ServerType.STDIO and settings.MCP_DISABLE_STDIO
        context |= self.admin_site.each_context(request)
        return TemplateResponse(request, "console/agents/mcp_form.html", context)

    def settings_tab(self, request: HttpRequest, server: McpServer) -> dict[str, Any] | HttpResponse:
        try:
            stored = shown(config_of(server))
        except AppError as error:
            return {"unreadable": error.message}
        form = McpServerForm(server.server_type, request.POST or None, stored=stored, initial={"name": server.name})
        context: dict[str, Any] = {"form": form, "kind": server.server_type}
        if request.method == "POST":
            self.reach(request, str(server.pk), write=True)
        if form.is_valid():
            caller = caller_of(request, str(server.organization_id))
            sent = actions.Changed(form.cleaned_data["name"], server.server_type, form.config)
            try:
                if "test" not in request.POST:
                    actions.update_server(caller, server.pk, sent)
                    messages.success(request, "Saved. Ask it for its tools, to see whether it still answers.")
                    return redirect("admin:agents_mcpserver_change", server.pk)
                context["tried"] = actions.try_change(caller, server.pk, sent)
            except AppError as error:
                form.refuse(error)
        return context

    # Asked and authorized with

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        refresh, authorize = view(require_POST(self.refresh_view)), view(require_POST(self.authorize_view))
        return [
            path("<path:object_id>/refresh/", refresh, name="agents_mcpserver_refresh"),
            path("<path:object_id>/authorize/", authorize, name="agents_mcpserver_authorize"),
            *super().get_urls(),
        ]

    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        server = self.reach(request, object_id, write=True)
        try:
            agent_id = request.POST.get("agent") or None
            found = actions.refresh_server(caller_of(request, str(server.organization_id)), server.pk, agent_id)
        except AppError as error:
            messages.error(request, error.message)
        else:
            said = ", ".join(f"{len(names)} {what}" for what, names in _counted(found) if names)
            messages.success(request, f"{server.name} answers. Its tools: {said or 'as before'}.")
        return redirect("admin:agents_mcpserver_change", object_id)

    def authorize_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Leads to the server's own page, by a link that shows where it goes; what follows happens without us."""
        server = self.reach(request, object_id, write=True)
        caller = caller_of(request, str(server.organization_id))
        try:
            told = actions.authorize(caller, server, redirect_uri(request))
        except AppError as error:
            told = {"event": "error", "message": error.message}
        if told["event"] == "authorization_url":
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": server,
                "title": f"Authorize with {server.name}",
                "url": told["url"],
                "host": urlsplit(told["url"]).hostname,
            }
            return TemplateResponse(request, "console/agents/mcp_authorize.html", context)
        if told["event"] == "success":
            messages.success(request, f"{server.name} answers, and wants no authorization.")
        else:
            messages.error(request, told["message"])
        return redirect("admin:agents_mcpserver_change", object_id)


def _counted(changes: Changes) -> list[tuple[str, list[str]]]:
    return [("added", changes.added), ("changed", changes.updated), ("gone", changes.deleted)]


def _names(ids: Iterable[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in McpServer.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


register_names("mcp_server", _names)
