"""How an operator makes and changes an agent: the same actions as the API."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from agents import actions
from agents.models import Agent
from agents.schemas.agents import CreateAgent, UpdateAgent
from agents.schemas.blocks import CreateBlock
from console.action_form import ActionForm
from core.errors import AppError


def _text(**attrs: Any) -> UnfoldAdminTextareaWidget:
    return UnfoldAdminTextareaWidget(attrs=attrs)


class TagsField(forms.CharField):
    """Tags as a comma list."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [tag.strip() for tag in (super().to_python(value) or "").split(",") if tag.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != self.to_python(data)


class AgentForm(ActionForm):
    tags = TagsField(required=False, help_text="Separated by commas.")

    class Meta:
        model = Agent
        fields = (
            "name",
            "description",
            "model",
            "system",
            "embedding",
            "context_window_limit",
            "timezone",
            "tags",
            "project",
            "hidden",
            "approval_expires_s",
            "model_settings",
            "tool_rules",
            "compaction_settings",
            "response_format",
            "metadata",
        )
        widgets = {"description": _text(rows=3), "system": _text(rows=10)}
        help_texts = {
            "model": "Handle of a model, provider/model: as in GET /v1/models/.",
            "embedding": "Handle of an embedding model; empty: archival memory is searched by words alone.",
            "context_window_limit": "Tokens. Empty: what the model has.",
            "system": "The base instructions; memory blocks are added below them.",
            "hidden": "Left out of lists in the API.",
        }

    def act(self) -> Agent:
        sent = self.changed()
        if "project" in sent:
            project = sent.pop("project")
            sent["project_id"] = project.pk if project else None
        if not sent:
            return Agent.objects.get(pk=self.instance.pk)
        return actions.update_agent(self.caller, str(self.instance.pk), UpdateAgent(**sent))

    def field_of(self, error: AppError) -> str:
        return _field_of(error)


class NewAgentForm(ActionForm):
    """The few things that matter at first, with the two memory blocks that most agents begin with."""

    system = forms.CharField(
        required=False, widget=_text(rows=5), help_text="Base instructions. Empty: the default ones."
    )
    persona = forms.CharField(
        required=False, widget=_text(rows=4), help_text="Memory block “persona”: who the agent is. Empty: no block."
    )
    human = forms.CharField(
        required=False, widget=_text(rows=4), help_text="Memory block “human”: what it knows of the user at first."
    )

    class Meta:
        model = Agent
        fields = ("organization", "name", "model", "description")
        widgets = {"description": _text(rows=3)}
        help_texts = {"model": AgentForm.Meta.help_texts["model"]}

    def act(self) -> Agent:
        data = self.cleaned_data
        blocks = [CreateBlock(label=label, value=data[label]) for label in ("persona", "human") if data[label]]
        new = CreateAgent(
            name=data["name"],
            model=data["model"],
            description=data["description"] or None,
            system=data["system"] or None,
            memory_blocks=blocks,
        )
        return actions.create_agent(self.caller, new).agent

    def field_of(self, error: AppError) -> str:
        return _field_of(error)


def _field_of(error: AppError) -> str:
    """Most refusals say the name of what they refuse."""
    words = error.message.lower()
    return next((name for name in ("embedding", "timezone", "model") if name in words), "")
