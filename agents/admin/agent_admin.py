"""An agent's pages: overview and settings, memory, tools, conversations, runs, spend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from agents import actions, memory
from agents.admin.agent_forms import AgentForm, NewAgentForm
from agents.admin.spend import spend_of_agent
from agents.cloning import clone_agent
from agents.importing import SUFFIX
from agents.models import Agent, AgentBlock, RevisionActor, Tool
from agents.schemas.agent_files import CloneAgent
from agents.tools.variables import load_variables
from console.action_form import ActionAdmin, caller_of
from console.display import badge, span, when
from console.pages import Tab, TabbedAdmin
from console.registry import register_names
from core.errors import AppError

RECENT = 50
BIG = ("system", "metadata", "model_settings", "compaction_settings", "response_format", "tool_rules", "description")


@admin.register(Agent)
class AgentAdmin(ActionAdmin, TabbedAdmin):
    form = AgentForm
    list_display = ("name", "model", "organization", "last_turn", "took", "tag_list", "created")
    list_select_related = ("organization",)
    list_filter = ("agent_type", "hidden")
    search_fields = ("name__icontains", "model__istartswith")
    search_help_text = "By name, by model handle, or by id"
    ordering = ("-created_at",)
    autocomplete_fields = ("project",)
    change_form_outer_before_template = "console/agents/overview.html"
    add_fieldsets = (
        (None, {"fields": ("organization", "name", "model", "description", "system")}),
        ("Memory", {"fields": ("persona", "human")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "model", "description", "system", "tags")}),
        (
            "More settings",
            {
                "classes": ("collapse",),
                "fields": (
                    ("embedding", "context_window_limit"),
                    ("timezone", "hidden"),
                    ("project", "approval_expires_s"),
                    "model_settings",
                    "tool_rules",
                    "compaction_settings",
                    "response_format",
                    "metadata",
                ),
            },
        ),
    )

    def tabs(self) -> Sequence[Tab]:
        return (
            Tab("memory", "Memory blocks", "console/agents/memory.html", self.memory_tab),
            Tab("tools", "Tools", "console/agents/tools.html", self.tools_tab),
            Tab("conversations", "Conversations", "console/agents/conversations.html", self.conversations_tab),
            Tab("runs", "Recent runs", "console/agents/runs.html", self.runs_tab),
            Tab("spend", "Spend", "console/agents/spend.html", spend_of_agent),
            Tab("clone", "Copy", "console/agents/clone.html", self.clone_tab),
        )

    # List

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows.defer(*BIG), duplicates

    @admin.display(description="last turn", ordering="last_run_completion")
    def last_turn(self, obj: Agent) -> SafeString | str:
        if obj.last_run_completion is None:
            return "none yet"
        return when(obj.last_run_completion) + " " + badge(obj.last_stop_reason or "end_turn")

    @admin.display(description="took")
    def took(self, obj: Agent) -> str:
        return span(obj.last_run_duration_ms)

    @admin.display(description="tags")
    def tag_list(self, obj: Agent) -> str:
        return ", ".join(obj.tags) or "–"

    @admin.display(description="created", ordering="created_at")
    def created(self, obj: Agent) -> SafeString | str:
        return when(obj.created_at)

    # Form

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewAgentForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ()

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        agent = self.get_object(request, object_id)
        extra: dict[str, Any] = {}
        if agent is not None and self.has_view_permission(request, agent):
            extra = {"latest_runs": list(_runs_of(agent)[:5]), "blocks": _blocks_of(agent)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def delete_model(self, request: HttpRequest, obj: Agent) -> None:
        actions.delete_agent(caller_of(request, str(obj.organization_id)), str(obj.pk))

    # Tabs

    def memory_tab(self, request: HttpRequest, agent: Agent) -> dict[str, Any] | HttpResponse:
        problem: dict[str, Any] = {}
        if request.method == "POST":
            self.reach(request, str(agent.pk), write=True)
            block_id, value = request.POST.get("block", ""), request.POST.get("value", "")
            error = _change_value(request, agent, block_id, value)
            if not error:
                messages.success(request, "Saved as a new version. The agent reads it in its next turn.")
                return redirect("admin:agents_agent_memory", agent.pk)
            problem = {"block": block_id, "value": value, "error": error}
        return {"blocks": _blocks_of(agent), "problem": problem}

    def tools_tab(self, request: HttpRequest, agent: Agent) -> dict[str, Any] | HttpResponse:
        if request.method == "POST":
            self.reach(request, str(agent.pk), write=True)
            caller = caller_of(request, str(agent.organization_id))
            act = actions.detach_tool if "detach" in request.POST else actions.attach_tool
            try:
                act(caller, str(agent.pk), request.POST.get("detach") or request.POST.get("attach", ""))
            except AppError as error:
                messages.error(request, error.message)
            return redirect("admin:agents_agent_tools", agent.pk)
        attached = list(agent.agenttool_set.select_related("tool").defer("tool__source_code").order_by("tool__name"))
        have = {row.tool_id for row in attached}
        variables = list(load_variables([agent.pk]))
        offered = Tool.objects.filter(organization_id=agent.organization_id) | Tool.objects.filter(organization=None)
        names = offered.order_by("name").values_list("pk", "name", "tool_type")
        offer = [row for row in names[:500] if row[0] not in have]
        return {"attached": attached, "offered": offer, "variables": variables}

    def clone_tab(self, request: HttpRequest, agent: Agent) -> dict[str, Any] | HttpResponse:
        name = request.POST.get("name", "").strip()
        if request.method == "POST":
            self.reach(request, str(agent.pk), write=True)
            wanted = CloneAgent(
                name=name[:100] or None,
                with_messages="messages" in request.POST,
                copy_blocks="share" not in request.POST,
                copy_secrets="secrets" in request.POST,
            )
            try:
                made = clone_agent(caller_of(request, str(agent.organization_id)), str(agent.pk), wanted)
            except AppError as error:
                messages.error(request, error.message)
            else:
                messages.success(request, f"{made.name} is a copy of {agent.name}.")
                return redirect("admin:agents_agent_change", made.pk)
        return {"name": name or f"{agent.name}{SUFFIX}"[:100], "with_messages": True}

    def conversations_tab(self, request: HttpRequest, agent: Agent) -> dict[str, Any]:
        rows = agent.conversations.order_by("-last_message_at", "-created_at")
        return {"conversations": list(rows.defer("model_settings")[:RECENT]), "most": RECENT}

    def runs_tab(self, request: HttpRequest, agent: Agent) -> dict[str, Any]:
        return {"runs": list(_runs_of(agent)[:RECENT]), "most": RECENT}


def _runs_of(agent: Agent) -> QuerySet[Any]:
    return agent.runs.order_by("-created_at").defer("input", "options", "billing")


def _blocks_of(agent: Agent) -> list[AgentBlock]:
    return list(AgentBlock.objects.filter(agent=agent).select_related("block").order_by("label"))


def _change_value(request: HttpRequest, agent: Agent, block_id: str, value: str) -> str:
    """The refusal, or "" when the block was changed."""
    version = request.POST.get("version", "")
    attached = AgentBlock.objects.filter(agent=agent).values_list("block_id", flat=True)
    if block_id not in set(attached):
        return "This block is not attached to the agent any more."
    actor = operator(request)
    try:
        memory.change_block(
            block_id,
            str(agent.organization_id),
            {"value": value.replace("\r\n", "\n")},
            actor,
            expected_version=int(version) if version.isdigit() else None,
        )
    except AppError as error:
        return error.message
    return ""


def operator(request: HttpRequest) -> memory.Actor:
    return memory.Actor(RevisionActor.OPERATOR, str(request.user.pk), "admin")


def _names(ids: Iterable[str]) -> dict[str, str]:
    return {str(pk): name for pk, name in Agent.objects.filter(pk__in=list(ids)).values_list("pk", "name")}


register_names("agent", _names)
