"""Stops in the admin: the list, and the switch on the pages of agents and API keys."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from budgets import stops
from budgets.admin import shown
from budgets.models import Stop
from budgets.stops import NewStop
from console.access import ADMINS, OPERATORS, may
from console.action_form import ActionAdmin, ActionForm
from console.display import badge, when
from console.registry import Page, register_page
from core.errors import AppError


class StopForm(ActionForm):
    class Meta:
        model = Stop
        fields = ("organization", "scope", "target", "reason")

    def act(self) -> Stop:
        data = self.cleaned_data
        new = NewStop(
            organization_id=data["organization"].pk, scope=data["scope"], target=data["target"], reason=data["reason"]
        )
        return stops.stop(new, str(self.request.user.pk))[0]


class StandingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("standing", "Standing"), ("lifted", "Lifted")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() in ("standing", "lifted"):
            return queryset.filter(lifted_at__isnull=self.value() == "standing")
        return queryset


@admin.register(Stop)
class StopAdmin(ActionAdmin):
    form = StopForm
    write_roles = OPERATORS
    list_display = ("about", "state", "reason", "organization", "stopped", "lifted")
    list_display_links = ("stopped",)
    list_select_related = ("organization",)
    list_filter = (StandingFilter, "scope")
    search_fields = ("target__exact", "reason__icontains")
    search_help_text = "By the id it stops, or by words of its reason"
    change_form_outer_before_template = "console/budgets/stop.html"
    fieldsets = ((None, {"fields": ("organization", ("scope", "target"), "reason")}),)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False  # it is lifted, and stays in the list

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[shown.NamedChangeList]:
        return shown.NamedChangeList

    @admin.display(description="stopped")
    def about(self, obj: Any) -> SafeString | str:
        return shown.about(obj, obj.called)

    @admin.display(description="state")
    def state(self, obj: Stop) -> SafeString:
        return badge("standing", "bad") if obj.lifted_at is None else badge("lifted", "plain")

    @admin.display(description="since", ordering="created_at")
    def stopped(self, obj: Stop) -> SafeString | str:
        return when(obj.created_at)

    @admin.display(description="lifted", ordering="lifted_at")
    def lifted(self, obj: Stop) -> SafeString | str:
        return when(obj.lifted_at)

    def get_urls(self) -> list[URLPattern]:
        lift = self.admin_site.admin_view(require_POST(self.lift_view))
        return [path("<path:object_id>/lift/", lift, name="budgets_stop_lift"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        may_lift = row is not None and row.lifted_at is None and may(request, ADMINS, str(row.organization_id))
        extra = {"may_lift": may_lift, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra)

    def lift_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.reach(request, object_id)
        if not may(request, ADMINS, str(row.organization_id)):
            raise PermissionDenied
        if stops.lift(row, str(request.user.pk), request.POST.get("reason", "")[:1000]):
            messages.success(request, f"{row.about[:1].upper()}{row.about[1:]} may go on.")
        return _back(request)


@require_POST
def set_view(request: HttpRequest) -> HttpResponse:
    """The switch: stop what a page is about. The organization is the poster's own, which the stop is held to."""
    organization_id = request.POST.get("organization", "")
    if not may(request, OPERATORS, organization_id):
        raise PermissionDenied
    new = NewStop(
        organization_id=organization_id,
        scope=request.POST.get("scope", ""),
        target=request.POST.get("target", ""),
        reason=request.POST.get("reason", "").strip()[:1000] or "Stopped by an operator.",
    )
    try:
        row, cancelled = stops.stop(new, str(request.user.pk))
    except AppError as error:
        messages.error(request, error.message)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"Stopped: {row.about}. {cancelled} running turn(s) cancelled.")
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        return redirect("admin:budgets_stop_changelist")
    return redirect(back)


register_page(Page("budgets/stop-now/", "budgets_stop_now", set_view))
