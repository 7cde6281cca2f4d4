"""Alert rules in the admin: state, preview, history; and what is raised, on the home page."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import ManyToManyField, Model
from django.http import HttpRequest
from django.shortcuts import redirect
from django.utils.safestring import SafeString

from accounts.models import Organization
from console.access import is_superuser
from console.charts import lines
from console.display import badge, when
from console.pages import Tab, TabbedAdmin
from console.registry import Panel, Scope, register_panel
from core.time import now
from telemetry.admin.alert_forms import FILTERS, PREFIX, RuleForm
from telemetry.admin.dimensions import BY_KEY, words
from telemetry.alerts import rules
from telemetry.alerts.metrics import METRICS
from telemetry.alerts.preview import Preview, preview
from telemetry.alerts.states import RAISED
from telemetry.client import TelemetryUnavailable
from telemetry.models.alerts import AlertChannel, AlertRule, State

TONES = {
    State.ALERT: "bad",
    State.WARNING: "warn",
    State.NO_DATA: "warn",
    State.OK: "good",
    State.UNKNOWN: "plain",
    State.PAUSED: "plain",
}
MOST_GROUPS, MOST_EVENTS, MOST_RAISED = 50, 100, 10


def state_badge(state: str) -> SafeString:
    return badge(state, TONES[State(state)])


class OwnedAdmin(TabbedAdmin):
    """Rows of an organization, and rows of the whole installation, which superusers alone see."""

    list_select_related = ("organization",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        if isinstance(obj, Model) and self.organization_of(obj) is None:
            return is_superuser(request)
        return super().has_view_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and db_field.remote_field.model is Organization:
            field.required = not is_superuser(request)
        return field


@admin.register(AlertRule)
class AlertRuleAdmin(OwnedAdmin):
    form = RuleForm
    form_tab_label = "Rule"
    list_display = ("name", "state_shown", "condition", "value", "organization", "changed", "next_evaluation")
    list_filter = ("state", "kind")
    search_fields = ("name__icontains",)
    search_help_text = "By name"
    ordering = ("name",)
    change_form_outer_before_template = "console/telemetry/alert_top.html"
    change_list_template = "console/telemetry/alert_rules.html"
    fieldsets = (
        (None, {"fields": ("organization", "name", "kind")}),
        (
            "When",
            {
                "fields": (
                    ("metric", "window_minutes"),
                    "operator",
                    ("warning", "alert"),
                    ("spread", "minimum_value"),
                    ("minimum_calls", "no_data"),
                )
            },
        ),
        (
            "Of which calls",
            {
                "description": "Empty: of all. “~none” stands for calls that have no such thing.",
                "fields": ("group_by", *(tuple(f"{PREFIX}{n}" for n in FILTERS[i : i + 2]) for i in range(0, 12, 2))),
            },
        ),
        (
            "Who is told",
            {"fields": ("channels", ("reminder_minutes", "tell_recovery"), "enabled", "paused_until")},
        ),
    )

    def tabs(self) -> tuple[Tab, ...]:
        return (
            Tab("preview", "Preview", "console/telemetry/alert_preview.html", load_preview),
            Tab("events", "History", "console/telemetry/alert_events.html", load_events),
        )

    @admin.display(description="state", ordering="state")
    def state_shown(self, obj: AlertRule) -> SafeString:
        shown = state_badge(obj.shown_state)
        return shown + badge("cannot be evaluated", "warn") if obj.problem else shown

    @admin.display(description="condition")
    def condition(self, obj: AlertRule) -> str:
        return rules.in_words(obj)

    @admin.display(description="last value")
    def value(self, obj: AlertRule) -> str:
        metric = METRICS.get(obj.metric)
        return "–" if obj.last_value is None or metric is None else metric.say(obj.last_value)

    @admin.display(description="last change", ordering="changed_at")
    def changed(self, obj: AlertRule) -> SafeString | str:
        return when(obj.changed_at)

    @admin.display(description="next evaluation", ordering="next_due_at")
    def next_evaluation(self, obj: AlertRule) -> SafeString | str:
        return when(obj.next_due_at)

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        channels = self.admin_site._registry[AlertChannel].get_queryset(request).select_related("organization")
        field = super().formfield_for_manytomany(db_field, request, queryset=channels, **kwargs)
        if field is not None:
            field.widget = forms.CheckboxSelectMultiple()
            field.widget.choices = field.choices
        return field

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if is_superuser(request):
            return self.fieldsets
        without = f"{PREFIX}organization"
        found = []
        for title, options in self.fieldsets:
            rows = [tuple(n for n in r if n != without) if isinstance(r, tuple) else r for r in options["fields"]]
            found.append((title, {**options, "fields": tuple(row for row in rows if row)}))
        return tuple(found)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        rule = self.get_object(request, object_id)
        extra = {} if rule is None else {"alert": of_rule(rule)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.last_updated_by_id = actor = str(request.user.pk)
        if change:
            rules.change_rule(obj, form.changed_columns, actor)
        else:
            obj.created_by_id = actor
            rules.create_rule(obj, actor)

    def delete_model(self, request: HttpRequest, obj: AlertRule) -> None:
        rules.delete_rule(obj, str(request.user.pk))

    def response_add(self, request: HttpRequest, obj: AlertRule, post_url_continue: str | None = None) -> Any:
        self.message_user(request, f"“{obj.name}” is watched from now on. This is what it would have said so far.")
        return redirect("admin:telemetry_alertrule_preview", obj.pk)


def of_rule(rule: AlertRule) -> dict[str, Any]:
    """What stands above the form: the state of each group, the gravest first."""
    found = sorted(rule.states.all()[:1000], key=lambda state: (-list(State).index(State(state.state)), state.group))
    shown = found[:MOST_GROUPS]
    names = words(rule.group_by, (state.group for state in shown)) if rule.group_by else {}
    return {
        "state": state_badge(rule.shown_state),
        "says": rules.in_words(rule),
        "filters": [(BY_KEY[name].label, value or "none") for name, value in sorted(rule.filters.items())],
        "states": [(names.get(state.group, "all calls"), state_badge(state.state), state) for state in shown],
        "more": len(found) - len(shown),
    }


def load_preview(request: HttpRequest, rule: AlertRule) -> dict[str, Any]:
    try:
        found = preview(rule, now())
    except TelemetryUnavailable as error:
        return {"trouble": error.message}
    names = words(rule.group_by, found.groups) if rule.group_by else {"": METRICS[rule.metric].label}
    judged = [judged for window in reversed(found.windows) for judged in window]
    said = [one for one in judged if one.finding.calls or one.state != State.UNKNOWN]
    rows = [(names[one.group], one, state_badge(one.state)) for one in said]
    return {
        "preview": found,
        "chart": _chart(rule, found, names),
        "rows": rows,
        "says": rules.in_words(rule),
        "grouped": bool(rule.group_by),
    }


def _chart(rule: AlertRule, found: Preview, names: dict[str, str]) -> Any:
    series: dict[str, list[Any]] = {names[group]: found.values(group) for group in found.groups}
    if len(found.groups) == 1 or rule.kind == "threshold":
        series |= {"Warning": found.bounds("warning"), "Alert": found.bounds("alert")}
    form = "%H:%M" if rule.window_minutes < 1_440 else "%b %d"
    labels = [f"{window[0].at:{form}}" if window else "" for window in found.windows]
    return lines(
        f"{METRICS[rule.metric].label}, windows of {rule.get_window_minutes_display()}",
        labels,
        series,
        METRICS[rule.metric].say,
    )


def load_events(request: HttpRequest, rule: AlertRule) -> dict[str, Any]:
    found = list(rule.events.all()[:MOST_EVENTS])
    names = words(rule.group_by, (event.group for event in found)) if rule.group_by else {}
    events = [
        (event, names.get(event.group, ""), state_badge(event.before), state_badge(event.after)) for event in found
    ]
    return {"events": events, "grouped": bool(rule.group_by), "most": MOST_EVENTS}


def raised(scope: Scope) -> dict[str, Any] | None:
    """Rules in alert or warning, and channels that were switched off; None: all is well."""
    found = AlertRule.objects.filter(state__in=RAISED, enabled=True).select_related("organization")
    broken = AlertChannel.objects.filter(disabled_at__isnull=False, enabled=False)
    if scope.organization_ids is not None:
        found = found.filter(organization_id__in=scope.organization_ids)
        broken = broken.filter(organization_id__in=scope.organization_ids)
    at = now()
    shown = [rule for rule in found.order_by("state", "-changed_at")[:MOST_RAISED] if not rule.is_paused(at)]
    off = list(broken[:MOST_RAISED])
    if not shown and not off:
        return None
    says = [
        (rule, state_badge(rule.state), rules.in_words(rule), METRICS[rule.metric].say(rule.last_value))
        for rule in shown
    ]
    return {"rules": says, "channels": off}


register_panel(Panel(5, "console/telemetry/alert_panel.html", raised))
