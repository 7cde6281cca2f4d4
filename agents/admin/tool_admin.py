"""Tools in the admin: they are looked at, and administrators say what a custom one may do in the sandbox."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.models import Tool
from agents.sandbox.configured import sandbox
from agents.tools.grants import grant
from agents.tools.packages import wanted_by
from console.access import ADMINS
from console.admin_base import OrganizationScopedAdmin
from console.display import badge, pretty, when

GRANTED = ("network", "timeout_s")


@admin.register(Tool)
class ToolAdmin(OrganizationScopedAdmin):
    shared = True
    write_roles = ADMINS
    actions = None
    list_display = ("name", "kind", "what", "owner", "created")
    list_select_related = ("organization",)
    list_filter = ("tool_type",)
    search_fields = ("name__istartswith",)
    search_help_text = "By the beginning of the name, or by id"
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "kind", "owner", "description", "tags", "return_char_limit")}),
        ("Schema", {"fields": ("schema",)}),
        ("Source", {"fields": ("source",)}),
        ("In the sandbox", {"fields": ("packages", *GRANTED)}),
    )
    readonly_fields = (
        "name",
        "kind",
        "owner",
        "description",
        "tags",
        "return_char_limit",
        "schema",
        "source",
        "packages",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What a tool is comes by the API; a base tool runs in no sandbox."""
        return self.readonly_fields if obj is not None and obj.organization_id else (*self.readonly_fields, *GRANTED)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        grant(obj, network=obj.network, timeout_s=obj.timeout_s, actor_id=str(request.user.pk))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows.defer("source_code", "json_schema", "args_json_schema"), duplicates

    @admin.display(description="kind", ordering="tool_type")
    def kind(self, obj: Tool) -> SafeString:
        return badge(obj.tool_type, "plain" if obj.organization_id else "good")

    @admin.display(description="what it does")
    def what(self, obj: Tool) -> str:
        text = (obj.description or "").strip().split("\n")[0]
        return f"{text[:90]}…" if len(text) > 90 else text or "–"

    @admin.display(description="belongs to")
    def owner(self, obj: Tool) -> str:
        return str(obj.organization) if obj.organization else "everybody"

    @admin.display(description="schema")
    def schema(self, obj: Tool) -> SafeString:
        return format_html('<pre class="pn-pre">{}</pre>', pretty(obj.json_schema))

    @admin.display(description="source")
    def source(self, obj: Tool) -> SafeString | str:
        return format_html('<pre class="pn-pre">{}</pre>', obj.source_code) if obj.source_code else "built in"

    @admin.display(description="packages")
    def packages(self, obj: Tool) -> str:
        wanted = wanted_by(obj.pip_requirements)
        return f"{', '.join(wanted)}: {sandbox().packages(wanted)}" if wanted else "none"

    @admin.display(ordering="created_at")
    def created(self, obj: Tool) -> SafeString | str:
        return when(obj.created_at)
