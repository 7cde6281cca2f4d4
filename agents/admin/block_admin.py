"""Memory blocks: changed through `agents.memory`, every version kept, compared and restorable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce, Left, Length
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.models import User
from agents import memory
from agents.admin.agent_forms import TagsField
from agents.models import Agent, AgentBlock, Block, BlockRevision, RevisionActor
from console.action_form import ActionAdmin, ActionForm
from console.diff import Line, diff
from console.display import count, when
from console.pages import Tab, TabbedAdmin
from core.errors import AppError, Conflict

PAGE = 20
CHANGEABLE = ("label", "description", "value", "limit", "read_only", "tags", "hidden", "project", "metadata")


class BlockForm(ActionForm):
    tags = TagsField(required=False, help_text="Separated by commas.")
    value = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "class": "pn-mono"})
    )
    seen_version = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Block
        fields = ("organization", *CHANGEABLE)
        widgets = {"description": UnfoldAdminTextareaWidget(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen_version"] = self.instance.version

    def clean_value(self) -> str:
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def act(self) -> Block:
        data = {name: self.cleaned_data[name] for name in CHANGEABLE if name in self.cleaned_data}
        project = data.pop("project", None)
        data["project_id"] = project.pk if project else None
        actor = memory.Actor(RevisionActor.OPERATOR, self.caller.user_id, "admin")
        if self.instance._state.adding:
            data["tags"] = tuple(data["tags"])
            return memory.create_block(self.caller.organization_id, memory.NewBlock(**data), actor)
        wanted = {name: data[name] for name in self._sent() if name in data}
        if not wanted:
            return Block.objects.get(pk=self.instance.pk)
        version = self.cleaned_data.get("seen_version")
        return memory.change_block(str(self.instance.pk), self.caller.organization_id, wanted, actor, version)

    def _sent(self) -> list[str]:
        return ["project_id" if name == "project" else name for name in self.changed_data]

    def field_of(self, error: AppError) -> str:
        if isinstance(error, Conflict):
            return "label" if "label" in error.message else ""
        return "value" if "limit" in error.message.lower() or "characters" in error.message else ""


@dataclass(frozen=True, slots=True)
class Change:
    """A version beside the one before it."""

    revision: BlockRevision
    by: str
    lines: list[Line]
    notes: list[str]
    current: bool


@admin.register(Block)
class BlockAdmin(ActionAdmin, TabbedAdmin):
    form = BlockForm
    form_tab_label = "Block"
    list_display = ("label", "preview", "size", "agent_count", "organization", "version", "read_only", "changed")
    list_select_related = ("organization",)
    list_filter = ("read_only", "is_template")
    search_fields = ("label__istartswith", "description__icontains")
    search_help_text = "By label, by description, or by id (also an agent's)"
    ordering = ("-updated_at",)
    autocomplete_fields = ("project",)
    id_lookups = {"agent": "agents__pk"}
    change_form_outer_before_template = "console/agents/block_top.html"
    fieldsets = (
        (None, {"fields": ("label", "value", ("limit", "read_only"), "description")}),
        ("More", {"classes": ("collapse",), "fields": ("tags", "project", "hidden", "metadata", "seen_version")}),
    )
    add_fieldsets = ((None, {"fields": ("organization", "label", "value", ("limit", "read_only"), "description")}),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ()

    def tabs(self) -> Sequence[Tab]:
        return (
            Tab("revisions", "Versions", "console/agents/revisions.html", self.revisions_tab),
            Tab("agents", "Agents", "console/agents/block_agents.html", self.agents_tab),
        )

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        attached = AgentBlock.objects.filter(block=OuterRef("pk")).order_by().values("block")
        return rows.defer("value", "metadata").annotate(
            head=Left("value", 120),
            length=Length("value"),
            agent_number=Coalesce(Subquery(attached.annotate(n=Count("pk")).values("n")), 0),
        ), duplicates

    @admin.display(description="value")
    def preview(self, obj: Any) -> str:
        text = " ".join(obj.head.split())
        return f"{text[:70]}…" if len(text) > 70 else text or "(empty)"

    @admin.display(description="characters", ordering="length")
    def size(self, obj: Any) -> str:
        return f"{count(obj.length)} of {count(obj.limit)}"

    @admin.display(description="agents", ordering="agent_number")
    def agent_count(self, obj: Any) -> int:
        return int(obj.agent_number)

    @admin.display(ordering="updated_at")
    def changed(self, obj: Block) -> SafeString | str:
        return when(obj.updated_at)

    def delete_model(self, request: HttpRequest, obj: Block) -> None:
        memory.delete_block(str(obj.pk), str(obj.organization_id))

    # Tabs

    def revisions_tab(self, request: HttpRequest, block: Block) -> dict[str, Any] | HttpResponse:
        if request.method == "POST":
            self.reach(request, str(block.pk), write=True)
            return self._restore(request, block)
        rows = block.revisions.order_by("-version")
        before = request.GET.get("before", "")
        if before.isdigit():
            rows = rows.filter(version__lt=int(before))
        found = list(rows[: PAGE + 1])
        shown = found[:PAGE]
        older = str(shown[-1].version) if len(found) > PAGE else ""
        return {"changes": _changes(found, len(shown), block.version), "older": older, "paged": before.isdigit()}

    def _restore(self, request: HttpRequest, block: Block) -> HttpResponse:
        version = request.POST.get("version", "")
        actor = memory.Actor(RevisionActor.OPERATOR, str(request.user.pk), f"restored version {version}")
        try:
            number = int(version) if version.isdigit() else 0
            memory.restore_revision(str(block.pk), str(block.organization_id), number, actor)
        except AppError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, f"Version {version} is the current one again, as a new version.")
        return redirect("admin:agents_block_revisions", block.pk)

    def agents_tab(self, request: HttpRequest, block: Block) -> dict[str, Any]:
        rows = AgentBlock.objects.filter(block=block).select_related("agent").order_by("agent__name")
        return {"attached": list(rows.only("label", "attached_at", "agent__name", "agent__model")[:200])}


def _changes(found: list[BlockRevision], shown: int, current: int) -> list[Change]:
    names = _names(found)
    changes = []
    for number, revision in enumerate(found[:shown]):
        before = found[number + 1] if number + 1 < len(found) else None
        lines = diff(before.value if before else "", revision.value)
        by = names.get(revision.actor_id, revision.actor_id) or revision.get_actor_display()
        changes.append(Change(revision, by, lines, _notes(before, revision), revision.version == current))
    return changes


def _names(revisions: list[BlockRevision]) -> dict[str, str]:
    """Two queries, however many versions."""
    ids = {revision.actor_id for revision in revisions}
    agents = Agent.objects.filter(pk__in=[i for i in ids if i.startswith("agent-")]).values_list("pk", "name")
    users = User.objects.filter(pk__in=[i for i in ids if i.startswith("user-")])
    return {**{str(pk): name for pk, name in agents}, **{str(user.pk): str(user) for user in users}}


def _notes(before: BlockRevision | None, after: BlockRevision) -> list[str]:
    """What changed besides the value."""
    if before is None:
        return []
    pairs = (("label", before.label, after.label), ("limit", before.limit, after.limit))
    notes = [f"{name}: {old} → {new}" for name, old, new in pairs if old != new]
    return notes + (["description changed"] if before.description != after.description else [])
