"""MCP servers in the admin: how they are, which tools they offer, asking them anew. They are added through the API."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from agents.mcp import actions
from agents.mcp.models import McpServer, McpTool, ServerState
from agents.mcp.sync import Changes
from console.action_form import caller_of
from console.admin_base import OrganizationScopedAdmin
from console.display import badge, when
from console.registry import register_names
from core.errors import AppError

TONES = {
    ServerState.READY: "good",
    ServerState.UNSEEN: "plain",
    ServerState.UNAUTHORIZED: "warn",
    ServerState.FAILED: "bad",
}
SHOWN_TOOLS = 500


def state_of(server: McpServer) -> SafeString:
    return badge(server.get_state_display(), TONES[ServerState(server.state)])


@admin.register(McpServer)
class McpServerAdmin(OrganizationScopedAdmin):
    list_display = ("name", "server_type", "address", "state_shown", "tool_number", "organization", "checked")
    list_select_related = ("organization",)
    list_filter = ("state", "server_type")
    search_fields = ("name__icontains", "address__icontains")
    search_help_text = "By name, by address, or by id"
    ordering = ("name",)
    actions = None
    change_list_template = "console/list.html"
    empty_title, empty_button = "No MCP server is connected", ""
    empty_words = "POST /v1/mcp-servers/ connects one; its tools can then be attached to agents."
    change_form_outer_before_template = "console/agents/mcp_server.html"
    fields = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("config", "oauth")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        offered = McpTool.objects.filter(server=OuterRef("pk")).order_by().values("server")
        number = Coalesce(Subquery(offered.annotate(n=Count("pk")).values("n")), 0)
        return rows.annotate(offered=number), duplicates

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

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
        extra: dict[str, Any] = {"show_save": False, "show_save_and_continue": False}
        if server is not None:
            tools = McpTool.objects.filter(server=server).select_related("tool").defer("tool__source_code")
            extra |= {"tools": list(tools[:SHOWN_TOOLS]), "state_badge": state_of(server)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def delete_model(self, request: HttpRequest, obj: McpServer) -> None:
        actions.delete_server(caller_of(request, str(obj.organization_id)), obj.pk)

    def get_urls(self) -> list[URLPattern]:
        refresh = self.admin_site.admin_view(require_POST(self.refresh_view))
        own = path("<path:object_id>/refresh/", refresh, name="agents_mcpserver_refresh")
        return [own, *super().get_urls()]

    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        server = self.reach(request, object_id, write=True)
        try:
            found = actions.refresh_server(caller_of(request, str(server.organization_id)), server.pk)
        except AppError as error:
            messages.error(request, error.message)
        else:
            said = ", ".join(f"{len(names)} {what}" for what, names in _counted(found) if names)
            messages.success(request, f"{server.name} answers. Its tools: {said or 'as before'}.")
        return redirect("admin:agents_mcpserver_change", object_id)


def _counted(changes: Changes) -> list[tuple[str, list[str]]]:
    return [("added", changes.added), ("changed", changes.updated), ("gone", changes.deleted)]


def _names(ids: Iterable[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in McpServer.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


register_names("mcp_server", _names)
