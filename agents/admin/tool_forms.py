"""How an operator makes and changes a custom tool: its source, which its schema is read from, and what is beside it."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from agents import tool_changes
from agents.admin.agent_forms import TagsField
from agents.models import Tool
from agents.schemas.tools import ToolCreate, ToolUpdate
from console.action_form import ActionForm
from console.admin_base import ScopedForm
from core.errors import AppError

LANGUAGES = (("python", "Python"), ("typescript", "TypeScript"))
FIELDS = ("source_type", "source_code", *tool_changes.PLAIN)


class RequirementsField(forms.CharField):
    """Packages, one a line, with their versions behind `sign`."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "pn-mono", "spellcheck": "false"})

    def __init__(self, sign: str, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self.sign = sign

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        return "\n".join(f"{r['name']}{self.sign}{r['version']}" if r.get("version") else r["name"] for r in value)

    def to_python(self, value: Any) -> list[dict[str, str | None]]:  # type: ignore[override]
        lines = (line.strip() for line in (super().to_python(value) or "").splitlines())
        return [self._read(line) for line in lines if line]

    def _read(self, line: str) -> dict[str, str | None]:
        """The first character belongs to the name: @scope/package."""
        name, sign, version = line[1:].partition(self.sign)
        return {"name": (line[0] + name).strip(), "version": version.strip() if sign else None}

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class GrantForm(ScopedForm):
    class Meta:
        labels = {"timeout_s": "Longest call"}


class ToolForm(ActionForm):
    source_type = forms.ChoiceField(choices=LANGUAGES, label="Language", widget=UnfoldAdminSelectWidget)
    source_code = forms.CharField(
        strip=False,
        label="Source",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 24, "class": "pn-mono", "spellcheck": "false"}),
        help_text="The last function (Python), or the exported one (TypeScript), is the tool. Types and docstring tell "
        "the model what it does: describe every argument.",
    )
    tags = TagsField(required=False, help_text="Separated by commas.")
    pip_requirements = RequirementsField(
        "==", label="Packages of Python", help_text="One a line: name or name==version."
    )
    npm_requirements = RequirementsField("@", label="Packages of npm", help_text="One a line: name or name@version.")

    class Meta:
        model = Tool
        fields = ("organization", *FIELDS)
        labels = {
            "return_char_limit": "Longest return",
            "default_requires_approval": "Needs approval",
            "enable_parallel_execution": "May run beside other calls",
        }
        help_texts = {
            "return_char_limit": "Characters; what is longer is cut.",
            "default_requires_approval": "A person must approve each call, unless the agent says otherwise.",
        }

    def clean_source_code(self) -> str:
        return str(self.cleaned_data["source_code"]).replace("\r\n", "\n")

    def changed(self) -> dict[str, Any]:
        """A browser writes line ends of its own; they are no change."""
        sent = super().changed()
        if sent.get("source_code") == self.initial.get("source_code"):
            sent.pop("source_code", None)
        return sent

    def act(self) -> Tool:
        if self.instance._state.adding:
            new = ToolCreate(**{name: self.cleaned_data[name] for name in FIELDS})
            return tool_changes.upsert_tool(self.caller, new, over=False)
        sent = {name: value for name, value in self.changed().items() if name in FIELDS}
        if not sent:
            return Tool.objects.get(pk=self.instance.pk)
        return tool_changes.update_tool(self.caller, str(self.instance.pk), ToolUpdate(**sent))

    def field_of(self, error: AppError) -> str:
        """What a refusal does not say of another field is said of the source."""
        name = error.message.partition(":")[0]
        return name if name in FIELDS else "source_code"
