"""Budgets: the list with what is used of each, the form, a raise for a time, a reset."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import admin, messages
from django.db.models import F, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from accounts.models import Organization
from budgets import actions
from budgets.actions import FIXED, Raise
from budgets.admin import shown
from budgets.models import Budget, BudgetEvent, BudgetWindow
from budgets.states import State, states_of
from console.access import ADMINS
from console.action_form import ActionAdmin, ActionForm
from console.display import badge, link, when
from core.amounts import as_text
from core.errors import AppError, Invalid
from core.time import now

MOST_COUNTERS = 20
MOST_EVENTS = 10
HOURS = ((1, "1 hour"), (24, "1 day"), (168, "1 week"), (720, "30 days"))


class BudgetForm(ActionForm):
    class Meta:
        model = Budget
        fields = (
            "organization",
            "name",
            "scope",
            "target",
            "amount",
            "metric",
            "window",
            "rolling_hours",
            "time_zone",
            "hard",
            "warn_at_percent",
            "refuse_unpriced",
            "enabled",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if isinstance(amount := self.initial.get("amount"), Decimal):
            self.initial["amount"] = as_text(amount)

    def act(self) -> Budget:
        actor_id = str(self.request.user.pk)
        if self.instance._state.adding:
            data = {name: value for name, value in self.cleaned_data.items() if name != "organization"}
            organization: Organization = self.cleaned_data["organization"]
            return actions.create(Budget(organization=organization, **data), actor_id)
        changes = {name: value for name, value in self.changed().items() if name not in FIXED}
        return actions.update(Budget.objects.get(pk=self.instance.pk), changes, actor_id)


class StatedChangeList(shown.NamedChangeList):
    """The states of a page's budgets, in one query."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[Any] = self.result_list
        for row, state in zip(rows, states_of(rows), strict=True):
            row.state = state


@admin.register(Budget)
class BudgetAdmin(ActionAdmin):
    form = BudgetForm
    write_roles = ADMINS
    list_display = ("name", "about", "used", "per", "state", "resets", "forecast", "organization")
    list_select_related = ("organization",)
    list_filter = ("scope", "window", "hard", "enabled")
    search_fields = ("name__icontains", "target__exact")
    search_help_text = "By name, or by the id it is about"
    ordering = ("name",)
    change_form_outer_before_template = "console/budgets/budget.html"
    fieldsets = (
        (None, {"fields": ("organization", "name", ("amount", "metric"))}),
        ("Whose spending counts", {"fields": (("scope", "target"),)}),
        ("In which time", {"fields": (("window", "rolling_hours"), "time_zone")}),
        ("When it is used up", {"fields": (("hard", "warn_at_percent"), ("refuse_unpriced", "enabled"))}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[StatedChangeList]:
        return StatedChangeList

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if obj is None else (*fields, *sorted(FIXED))

    @admin.display(description="spent by")
    def about(self, obj: Any) -> SafeString | str:
        return shown.about(obj, obj.called)

    @admin.display(description="used")
    def used(self, obj: Any) -> SafeString:
        return shown.gauge(obj.state)

    @admin.display(description="per")
    def per(self, obj: Budget) -> str:
        return shown.per(obj)

    @admin.display(description="state")
    def state(self, obj: Any) -> SafeString:
        soft = SafeString("") if obj.hard else badge("soft", "plain")
        return format_html("{} {}", shown.state_badge(obj.state), soft)

    @admin.display(description="begins anew")
    def resets(self, obj: Any) -> SafeString | str:
        return when(obj.state.resets_at) if obj.state.resets_at else "rolls on"

    @admin.display(description="at this pace")
    def forecast(self, obj: Any) -> SafeString | str:
        return shown.forecast(obj.state)

    def delete_model(self, request: HttpRequest, obj: Budget) -> None:
        actions.delete(obj, str(request.user.pk))

    # One budget

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/raise/", view(require_POST(self.raise_view)), name="budgets_budget_raise"),
            path("<path:object_id>/reset/", view(require_POST(self.reset_view)), name="budgets_budget_reset"),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        budget = self.get_object(request, object_id)
        extra: dict[str, Any] = {}
        if budget is not None and self.has_view_permission(request, budget):
            extra = {"stand": _stand(budget), "hours": HOURS}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def raise_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.reach(request, object_id, write=True)
        try:
            given = _raise_of(request)
            actions.raise_budget(budget, given, str(request.user.pk))
        except AppError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, "Raised." if given.by else "The raise is over.")
        return redirect("admin:budgets_budget_change", object_id)

    def reset_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        budget = self.reach(request, object_id, write=True)
        try:
            actions.reset(budget, request.POST.get("reason", ""), str(request.user.pk))
        except AppError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, "Its window begins at nothing.")
        return redirect("admin:budgets_budget_change", object_id)


def _raise_of(request: HttpRequest) -> Raise:
    """Raises Invalid."""
    try:
        by = Decimal(request.POST.get("by", "").strip() or "0")
        hours = int(request.POST.get("hours", "24"))
    except (InvalidOperation, ValueError):
        raise Invalid("Enter a number to raise it by.") from None
    if not by.is_finite() or by >= Decimal(10) ** 18 or hours not in dict(HOURS):
        raise Invalid("Enter a number to raise it by, and choose for how long.")
    return Raise(by, now() + timedelta(hours=hours), request.POST.get("reason", ""))


def _stand(budget: Budget) -> dict[str, Any]:
    [state] = states_of([budget])
    return {
        "state": state,
        "gauge": shown.gauge(state),
        "badge": shown.state_badge(state),
        "spent": shown.figure(budget, state.spent),
        "reserved": shown.figure(budget, state.reserved),
        "forecast": shown.forecast(state),
        "resets": when(state.resets_at) if state.resets_at else "rolls on",
        "per": shown.per(budget),
        "about": shown.about(budget, shown.names([budget.target])),
        "counters": _counters(state),
        "events": list(BudgetEvent.objects.filter(budget=budget)[:MOST_EVENTS]),
        "raised": budget.limit != budget.amount and shown.figure(budget, budget.raised_by),
        "unit": budget.get_metric_display(),
    }


def _counters(state: State) -> list[dict[str, Any]]:
    """Of a budget with a counter for each one, those that have spent the most."""
    if state.budget.target != "*":
        return []
    rows = BudgetWindow.objects.filter(budget=state.budget, starts_at__gte=state.span.since).values("target")
    sums = rows.annotate(used=Sum(F("spent") + F("reserved")), refused=Sum("refused_calls")).order_by("-used", "target")
    found = list(sums[:MOST_COUNTERS])
    called = shown.names(row["target"] for row in found)
    return [
        {
            "who": link(row["target"], called.get(row["target"], "")),
            "used": shown.figure(state.budget, row["used"]),
            "share": row["used"] / state.limit if state.limit else 1,
            "refused": row["refused"],
        }
        for row in found
    ]
