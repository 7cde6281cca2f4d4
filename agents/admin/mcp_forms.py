"""The form that an MCP server is made and changed with: the fields of its type, secrets masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.core.validators import MaxLengthValidator
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import Organization
from agents.mcp.models import ServerType
from agents.mcp.target import MASK
from agents.schemas.mcp import MAX_TEXT
from console.widgets import SecretInput
from core.errors import AppError, Conflict

MOST_LINES = 100
MASKED = f"Values are encrypted, and shown as {MASK}: those that stay so are kept."
VARIABLES = "{{ NAME }} stands for a secret of the agent that calls."


class LinesField(forms.CharField):
    """One item a line."""

    widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "pn-mono", "spellcheck": "false"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, validators=[MaxLengthValidator(MOST_LINES)], **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [line for line in (super().to_python(value) or "").splitlines() if line.strip()]


class PairsField(LinesField):
    """Names with their values behind `sign`, one a line."""

    def __init__(self, sign: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sign = sign

    def prepare_value(self, value: Any) -> Any:
        join = self.sign if self.sign == "=" else f"{self.sign} "
        return "\n".join(f"{name}{join}{one}" for name, one in value.items()) if isinstance(value, Mapping) else value

    def to_python(self, value: Any) -> dict[str, str]:  # type: ignore[override]
        found = {}
        for number, line in enumerate(super().to_python(value), 1):
            name, sign, one = line.partition(self.sign)
            if not sign or not name.strip():
                raise forms.ValidationError(f"Line {number} is no name{self.sign}value.")
            found[name.strip()] = one.strip()
        return found


def _text(**kwargs: Any) -> forms.CharField:
    return forms.CharField(widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}), max_length=MAX_TEXT, **kwargs)


def _command_fields() -> dict[str, forms.Field]:
    return {
        "command": _text(help_text="A program on this machine, such as npx or uvx."),
        "args": LinesField(label="Arguments", help_text="One a line."),
        "env": PairsField(
            "=", label="Environment", help_text=f"NAME=value, one a line; it sees nothing else. {MASKED} {VARIABLES}"
        ),
    }


def _http_fields() -> dict[str, forms.Field]:
    return {
        "server_url": _text(label="Address", help_text=f"Such as https://example.com/mcp. {VARIABLES}"),
        "auth_token": forms.CharField(
            required=False,
            label="Token",
            max_length=MAX_TEXT,
            widget=SecretInput,
            help_text="Encrypted, and never shown again. Empty: the stored one, where there is one; a server that lets "
            "people log in (OAuth) needs none.",
        ),
        "forget_token": forms.BooleanField(
            required=False, label="Forget the stored token", widget=UnfoldBooleanSwitchWidget
        ),
        "auth_header": _text(
            required=False, label="Header of the token", help_text="Empty: Authorization, as a bearer token."
        ),
        "custom_headers": PairsField(":", label="Other headers", help_text=f"Name: value, one a line. {MASKED}"),
    }


FIELDS: Mapping[str, Callable[[], dict[str, forms.Field]]] = {
    ServerType.STREAMABLE_HTTP: _http_fields,
    ServerType.SSE: _http_fields,
    ServerType.STDIO: _command_fields,
}


class McpServerForm(forms.Form):
    """`stored`: of one that is changed, its configuration as it may be shown."""

    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)

    def __init__(self, kind: str, *args: Any, stored: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(FIELDS[kind]())
        if stored is not None:
            del self.fields["organization"]
            self.initial = {**self.initial, **{name: one for name, one in stored.items() if name != "auth_token"}}
        if not (stored or {}).get("auth_token"):
            self.fields.pop("forget_token", None)

    @property
    def config(self) -> dict[str, Any]:
        """As an action takes it; without the token where the stored one stays."""
        found = {name: self.cleaned_data[name] for name in self.fields if name not in ("organization", "name")}
        if found.pop("forget_token", False):
            return found | {"auth_token": ""}
        if not found.get("auth_token"):
            found.pop("auth_token", None)
        return found

    def refuse(self, error: AppError) -> None:
        """Beside the field that the refusal names."""
        named = "name" if isinstance(error, Conflict) else error.message.partition(":")[0]
        self.add_error(named if named in self.fields else None, error.message)
