"""Tools in the admin: operators write custom ones, administrators say what these may do in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.forms import ModelForm, modelform_factory
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents import tool_changes
from agents.admin.tool_forms import FIELDS, LANGUAGES, GrantForm, ToolForm
from agents.models import Agent, AgentTool, Tool, ToolType
from agents.sandbox.configured import chosen_by, sandbox
from agents.tools.grants import Grant, grant
from agents.tools.packages import packages_of
from console.access import ADMINS, OPERATORS, is_superuser, may
from console.action_form import ActionAdmin, caller_of
from console.display import badge, pretty, when
from console.pages import Tab, TabbedAdmin

GRANTED = ("network", "client", "timeout_s")
SHOWN_AGENTS = 200


@admin.register(Tool)
class ToolAdmin(ActionAdmin, TabbedAdmin):
    """The form of a tool has the administrators' grants alone; its source has a page beside it."""

    form = GrantForm
    shared = True
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
    add_fieldsets = (
        (None, {"fields": ("organization", "source_type", "source_code")}),
        ("More", {"fields": FIELDS[2:]}),
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

    def tabs(self) -> Sequence[Tab]:
        return (
            Tab("source", "Edit the source", "console/agents/tool_source.html", self.source_tab),
            Tab("agents", "Agents", "console/agents/tool_agents.html", self.agents_tab),
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = ToolForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A base tool runs in no sandbox."""
        if obj is None:
            return ()
        return self.readonly_fields if obj.organization_id else (*self.readonly_fields, *GRANTED)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of what the form has: the grants."""
        if obj is not None and obj.organization_id is None:
            return is_superuser(request)
        return may(request, ADMINS, None if obj is None else str(obj.organization_id))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return isinstance(obj, Tool) and self.may_edit(request, obj)

    def may_edit(self, request: HttpRequest, tool: Tool) -> bool:
        custom = tool.tool_type == ToolType.CUSTOM and tool.organization_id is not None
        return custom and may(request, OPERATORS, str(tool.organization_id))

    def save_model(self, request: HttpRequest, obj: Tool, form: Any, change: bool) -> None:
        if change:
            grant(obj, Grant(**{name: getattr(obj, name) for name in GRANTED}), str(request.user.pk))

    def delete_model(self, request: HttpRequest, obj: Tool) -> None:
        tool_changes.delete_tool(caller_of(request, str(obj.organization_id)), str(obj.pk))

    # Tabs

    def source_tab(self, request: HttpRequest, tool: Tool) -> dict[str, Any] | HttpResponse:
        known = (tool.source_type or "python") in dict(LANGUAGES)
        if not known or not self.may_edit(request, tool):
            if request.method == "POST":
                raise PermissionDenied
            return {"form": None, "tool": tool}
        form = self.source_form(request, tool)
        if request.method == "POST" and form.is_valid():
            messages.success(request, "Saved. Agents use it from their next step on.")
            return redirect("admin:agents_tool_source", tool.pk)
        return {"form": form, "tool": tool, "schema": self.schema(Tool.objects.get(pk=tool.pk))}

    def source_form(self, request: HttpRequest, tool: Tool) -> ModelForm[Tool]:
        widgets = partial(self.formfield_for_dbfield, request=request)
        made = modelform_factory(Tool, form=ToolForm, fields=FIELDS, formfield_callback=widgets)
        bound = type("BoundToolForm", (made,), {"request": request})
        form: ModelForm[Tool] = bound(request.POST if request.method == "POST" else None, instance=tool)
        return form

    def agents_tab(self, request: HttpRequest, tool: Tool) -> dict[str, Any]:
        rows = AgentTool.objects.filter(tool=tool).select_related("agent").order_by("agent__name")
        if tool.organization_id is None:  # a base tool: those that the reader may see
            shown = self.admin_site.get_model_admin(Agent).get_queryset(request)
            rows = rows.filter(agent__in=shown.order_by())
        columns = ("requires_approval", "attached_at", "agent__name", "agent__last_run_completion")
        return {"attached": list(rows.only(*columns, "agent__last_stop_reason")[:SHOWN_AGENTS]), "tool": tool}

    # List

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
        wanted = packages_of(obj.source_type, obj.pip_requirements, obj.npm_requirements)
        return (
            f"{', '.join(wanted.names)}: {sandbox(chosen_by(obj.metadata)).packages(wanted)}"
            if wanted.names
            else "none"
        )

    @admin.display(ordering="created_at")
    def created(self, obj: Tool) -> SafeString | str:
        return when(obj.created_at)
