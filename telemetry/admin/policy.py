"""What an organization lets be kept of its calls, in the admin: how much of what was said, and for how long."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextareaWidget

from accounts.audit import Deed, note
from console.access import ADMINS
from console.admin_base import OrganizationScopedAdmin, ScopedForm
from console.display import badge
from telemetry import content
from telemetry.masking import KINDS
from telemetry.models.policy import TracePolicy

TONES = {"full": "plain", "masked": "good", "metadata": "warn"}
KEPT = ("content", "masked_kinds", "custom_rules", "use_analyzer", "trace_days", "payload_days")


class PolicyForm(ScopedForm):
    masked_kinds = forms.MultipleChoiceField(
        choices=list(KINDS.items()),
        required=False,
        initial=list(KINDS),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="What is masked",
    )
    rules = forms.CharField(
        required=False,
        strip=True,
        max_length=6_000,
        widget=UnfoldAdminTextareaWidget({"rows": 4, "spellcheck": "false"}),
        label="Own expressions",
        help_text="One a line: a name, =, a regular expression. What it fits becomes [name]: case = CASE-[0-9]{4,8}",
    )

    class Meta:
        model = TracePolicy
        fields = ("organization", "content", "use_analyzer", "trace_days", "payload_days")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "trace_days" not in self.fields:  # a reader's page has none of the model's fields
            return
        if not self.instance._state.adding:
            self.initial["masked_kinds"] = self.instance.masked_kinds
            self.initial["rules"] = as_lines(self.instance.custom_rules)
        longest = {"trace_days": settings.TRACE_RETENTION_DAYS, "payload_days": settings.PAYLOAD_RETENTION_DAYS}
        for name, most in longest.items():
            self.fields[name].help_text = f"Empty: {most}, which is the most. Older ones go each night."

    def _post_clean(self) -> None:
        data = self.cleaned_data
        self.instance.masked_kinds = data.get("masked_kinds", [])
        self.instance.custom_rules = as_rules(data.get("rules", ""))
        super()._post_clean()  # type: ignore[misc]

    def _update_errors(self, errors: Any) -> None:
        """The model knows the rules by another name than the form."""
        found = getattr(errors, "error_dict", None)
        if found and "custom_rules" in found:
            found["rules"] = found.pop("custom_rules")
        super()._update_errors(errors)  # type: ignore[misc]

    def _get_validation_exclusions(self) -> set[str]:
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"masked_kinds", "custom_rules", "organization"}


def as_lines(rules: Any) -> str:
    return "\n".join(f"{rule['name']} = {rule['pattern']}" for rule in rules)


def as_rules(lines: str) -> list[dict[str, str]]:
    parts = [line.partition("=") for line in lines.splitlines() if line.strip()]
    return [{"name": name.strip(), "pattern": pattern.strip()} for name, _, pattern in parts]


def days(value: int | None, most: int) -> str:
    return f"{value} days" if value else f"{most} days, as the installation"


@admin.register(TracePolicy)
class TracePolicyAdmin(OrganizationScopedAdmin):
    form = PolicyForm
    write_roles = ADMINS
    list_display = ("mode", "organization", "kinds", "own_rules", "traces", "payloads")
    change_list_template = "console/list.html"
    empty_title, empty_button = "No organization has a policy of its own", "Set a policy"
    empty_words = (
        "The installation's TRACE_CONTENT and days hold for all. A policy says how much of what was said is kept in one"
        " organization's traces, what is masked in it, and for how many days."
    )
    list_select_related = ("organization",)
    list_filter = ("content",)
    search_fields = ("organization__name__icontains",)
    search_help_text = "By the organization's name"
    fieldsets = (
        (
            None,
            {
                "fields": ("organization", "content"),
                "description": "Acts within five seconds, on calls that end from then on. Keys and headers are kept in "
                "no mode; errors are always masked.",
            },
        ),
        ("Masking", {"fields": ("masked_kinds", "rules", "use_analyzer")}),
        ("Kept for", {"fields": (("trace_days", "payload_days"),)}),
    )

    @admin.display(description="content", ordering="content")
    def mode(self, obj: TracePolicy) -> SafeString:
        return badge(obj.content, TONES[obj.content])

    @admin.display(description="masks")
    def kinds(self, obj: TracePolicy) -> str:
        if obj.content != "masked":
            return "–"
        return "all kinds" if set(obj.masked_kinds) >= set(KINDS) else ", ".join(obj.masked_kinds) or "nothing"

    @admin.display(description="own expressions")
    def own_rules(self, obj: TracePolicy) -> str:
        return ", ".join(rule["name"] for rule in obj.custom_rules) or "–"

    @admin.display(description="traces", ordering="trace_days")
    def traces(self, obj: TracePolicy) -> str:
        return days(obj.trace_days, settings.TRACE_RETENTION_DAYS)

    @admin.display(description="requests and responses", ordering="payload_days")
    def payloads(self, obj: TracePolicy) -> str:
        return days(obj.payload_days, settings.PAYLOAD_RETENTION_DAYS)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = _kept(TracePolicy.objects.filter(pk=obj.pk).first()) if change else None
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            _note(request, obj, before, _kept(obj))
        content.forget(str(obj.organization_id))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        with transaction.atomic():
            _note(request, obj, _kept(obj), None)
            obj.delete()
        content.forget(str(obj.organization_id))


def _kept(obj: Model | None) -> dict[str, Any] | None:
    return None if obj is None else {name: getattr(obj, name) for name in KEPT}


def _note(request: HttpRequest, obj: TracePolicy, before: Any, after: Any) -> None:
    deed = Deed(action="trace_policy.change", target=str(obj.pk), before=before, after=after)
    note(str(obj.organization_id), str(request.user.pk), deed)
