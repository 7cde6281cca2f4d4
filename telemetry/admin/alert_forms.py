"""The form of an alert rule: what is watched, of which calls, and when it is too much."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from console.admin_base import ScopedForm
from core.amounts import as_text
from telemetry.admin.dimensions import BY_KEY, FLAGS, NONE
from telemetry.alerts.conditions import UPWARDS
from telemetry.alerts.metrics import METRICS
from telemetry.models.alerts import AlertKind, AlertRule, Spread

FILTERS = (
    "model",
    "provider",
    "agent",
    "project",
    "api_key",
    "provider_key",
    "end_user",
    "tag",
    "call_type",
    "is_byok",
    "organization",
)
PREFIX = "only_"
GROUPS = tuple(name for name in FILTERS if name != "is_byok")
LONGEST_ANOMALY = timedelta(days=1)
FIELDS = (
    "organization",
    "name",
    "kind",
    "window_minutes",
    "operator",
    "warning",
    "alert",
    "spread",
    "minimum_value",
    "minimum_calls",
    "no_data",
    "reminder_minutes",
    "tell_recovery",
    "enabled",
    "paused_until",
    "channels",
)


def _metric_choices() -> list[tuple[str, str]]:
    return [(m.name, f"{m.label} ({m.unit})" if m.unit else m.label) for m in METRICS.values()]


def _group_choices() -> list[tuple[str, str]]:
    return [("", "All calls together"), *((name, f"Each {BY_KEY[name].label.lower()}") for name in GROUPS)]


def _filter(name: str) -> forms.Field:
    shown = BY_KEY[name]
    if name == "is_byok":
        choices = [("", "Any"), *FLAGS.items()]
        return forms.ChoiceField(choices=choices, required=False, label=shown.label, widget=UnfoldAdminSelectWidget)
    label = f"{shown.label} id" if shown.kind else shown.label
    return forms.CharField(required=False, max_length=300, label=label, widget=UnfoldAdminTextInputWidget)


class RuleForm(ScopedForm):
    metric = forms.ChoiceField(choices=_metric_choices, widget=UnfoldAdminSelectWidget)
    group_by = forms.ChoiceField(
        choices=_group_choices,
        required=False,
        widget=UnfoldAdminSelectWidget,
        help_text="Each group has a state of its own, and is told of by name.",
    )
    only_model = _filter("model")
    only_provider = _filter("provider")
    only_agent = _filter("agent")
    only_project = _filter("project")
    only_api_key = _filter("api_key")
    only_provider_key = _filter("provider_key")
    only_end_user = _filter("end_user")
    only_tag = _filter("tag")
    only_call_type = _filter("call_type")
    only_is_byok = _filter("is_byok")
    only_organization = _filter("organization")

    class Meta:
        model = AlertRule
        fields = FIELDS
        labels = {
            "window_minutes": "Within the last",
            "operator": "Say so when it is",
            "warning": "Warning at",
            "alert": "Alert at",
            "spread": "Anomaly: the two count",
            "minimum_value": "Anomaly: never below",
            "minimum_calls": "Judge from so many calls on",
            "no_data": "With no calls in the window",
            "reminder_minutes": "Remind while it lasts",
            "tell_recovery": "Tell when it is fine again",
        }
        help_texts = {
            "kind": "An anomaly compares with the same weekday and hour of the past 4 weeks; 3 of them are needed.",
            "warning": "In the metric's unit; for an anomaly: how many times the median, or how many deviations.",
            "alert": "As the warning, and further out. One of the two is enough.",
            "minimum_value": "In the metric's unit. So that a quiet night, twice as loud as another, wakes nobody.",
            "minimum_calls": "An error rate of one call in two is no news.",
            "no_data": "A rule that has never seen a call stays unknown, whatever stands here. "
            "For a rule against too little (below …), no calls count as 0.",
            "paused_until": "Not judged until then (UTC). Empty: not paused.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "channels" in self.fields:
            self.fields["channels"].help_text = "Nobody is told where none is ticked; the state is kept all the same."
        if self.instance.pk and not self.instance._state.adding:
            self.initial["metric"], self.initial["group_by"] = self.instance.metric, self.instance.group_by
            for name in ("warning", "alert", "minimum_value"):
                value = getattr(self.instance, name)
                self.initial[name] = None if value is None else as_text(value)
            for name, value in self.instance.filters.items():
                self.initial[f"{PREFIX}{name}"] = value or NONE

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        organization = data.get("organization") or self.instance.organization
        self._check_channels(organization)
        if organization is not None and (data.get("group_by") == "organization" or data.get("only_organization")):
            self.add_error("group_by", "A rule of one organization sees its calls alone: take the organization out.")
        self._check_limits(data)
        if data.get("kind") == AlertKind.ANOMALY:
            self._check_anomaly(data)
        return data

    def _check_channels(self, organization: Any) -> None:
        for channel in self.cleaned_data.get("channels") or ():
            if channel.organization_id != (organization.pk if organization else None):
                self.add_error("channels", f"“{channel.name}” belongs elsewhere: choose channels of the rule's own.")

    def _check_limits(self, data: dict[str, Any]) -> None:
        warning, alert = data.get("warning"), data.get("alert")
        if warning is None and alert is None and not self.errors:
            self.add_error("alert", "Enter a value for the warning or for the alert: as it is, nothing is ever said.")
        if warning is None or alert is None:
            return
        upwards = data.get("operator") in UPWARDS or data.get("kind") == AlertKind.ANOMALY
        if (alert < warning) if upwards else (alert > warning):
            self.add_error("alert", "The alert comes before the warning: exchange the two.")

    def _check_anomaly(self, data: dict[str, Any]) -> None:
        if timedelta(minutes=data.get("window_minutes") or 0) > LONGEST_ANOMALY:
            self.add_error("window_minutes", "An anomaly compares hours: choose 1 day at most.")
        if data.get("minimum_value") is None and "minimum_value" not in self.errors:
            self.add_error("minimum_value", "Enter the value below which nothing is an anomaly.")
        least = Decimal(1) if data.get("spread") == Spread.TIMES else Decimal("0.1")
        for name in ("warning", "alert"):
            if data.get(name) is not None and data[name] < least:
                self.add_error(name, f"Enter {least} or more: how far from the usual is unusual.")

    def _post_clean(self) -> None:
        """What the model keeps in one column is entered in several fields."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        given = {name: self.cleaned_data.get(f"{PREFIX}{name}", "").strip() for name in FILTERS}
        self.instance.filters = {name: "" if value == NONE else value for name, value in given.items() if value}
        self.instance.metric, self.instance.group_by = self.cleaned_data["metric"], self.cleaned_data["group_by"]

    @property
    def changed_columns(self) -> set[str]:
        return {"filters" if name.startswith(PREFIX) else name for name in self.changed_data}
