"""Deleting traces in the admin: counted first, confirmed by typing, followed to its receipt."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.models import Organization
from console.access import ADMINS, OWNERS, may, organization_ids
from console.admin_base import OrganizationScopedAdmin
from console.display import badge, count, when
from core.errors import AppError
from core.ids import is_id
from telemetry import deletion
from telemetry.client import TelemetryUnavailable
from telemetry.models.deletion import DeletionState, Scope, TraceDeletion

SHOWN_ID = 20
TONES = {"queued": "plain", "running": "busy", "done": "good", "failed": "bad"}


class DeletionForm(forms.Form):
    organization = forms.ModelChoiceField(Organization.objects.none(), widget=UnfoldAdminSelectWidget)
    scope = forms.ChoiceField(choices=Scope.choices, initial=Scope.AGENT, widget=UnfoldAdminSelectWidget, label="What")
    target_id = forms.CharField(
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
        label="Id",
        help_text="The agent's (agent-…), or the end user's as it stands in the traces. Empty for the organization.",
    )
    reason = forms.CharField(
        max_length=1_000,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Stands in the receipt and in the audit log: who asked, and why.",
    )

    def __init__(self, request: HttpRequest, data: Any, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.request = request
        ids = organization_ids(request, ADMINS)
        rows = Organization.objects.all() if ids is None else Organization.objects.filter(pk__in=ids)
        field: Any = self.fields["organization"]
        field.queryset = rows

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        scope, target, organization = data.get("scope"), data.get("target_id", ""), data.get("organization")
        if scope == Scope.ORGANIZATION:
            if target:
                self.add_error("target_id", "Leave this empty, or choose an agent or an end user above.")
            if organization and not may(self.request, OWNERS, str(organization.pk)):
                self.add_error("scope", "Only an owner may delete all of an organization.")
        elif not target:
            self.add_error("target_id", "Whose traces? Enter the id.")
        elif scope == Scope.AGENT and not is_id("agent", target):
            self.add_error("target_id", "An agent's id reads agent-<uuid>: copy it from the agent's page.")
        return data

    def asked(self) -> deletion.Request:
        data = self.cleaned_data
        return deletion.Request(
            organization_id=str(data["organization"].pk),
            scope=data["scope"],
            target_id=data["target_id"],
            reason=data["reason"],
            requested_by_id=str(self.request.user.pk),
        )

    @property
    def phrase(self) -> str:
        """What is to be typed before anything goes."""
        return self.cleaned_data["target_id"] or self.cleaned_data["organization"].name


@admin.register(TraceDeletion)
class TraceDeletionAdmin(OrganizationScopedAdmin):
    write_roles = ADMINS
    list_display = ("target", "whose", "state_shown", "rows", "waits", "asked_by", "asked", "ended")
    change_list_template = "console/list.html"
    empty_title, empty_button = "No traces were deleted on request", "Delete traces"
    empty_words = (
        "The traces of an agent, of an end user or of all the organization can be deleted for good. You see what would"
        " go before you confirm it, and get a receipt that can be handed on."
    )
    list_filter = ("state", "scope")
    search_fields = ("target_id__exact", "organization_name__icontains", "receipt_sha256__exact")
    search_help_text = "By the agent's or end user's id, the organization's name, or a receipt's SHA-256"
    ordering = ("-created_at",)
    change_form_outer_before_template = "console/telemetry/deletion_top.html"
    fields = ("target_full", "whose", "reason", "asked_by", "asked", "until", "ended")
    readonly_fields = fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a receipt stays

    @admin.display(description="traces of")
    def target(self, obj: TraceDeletion) -> SafeString | str:
        """Cut: a whole id makes a column of five lines."""
        whole = obj.target_id
        if len(whole) <= SHOWN_ID:
            return whole or "all of the organization"
        return format_html('<span class="pn-line" title="{}">{}…</span>', whole, whole[:SHOWN_ID])

    @admin.display(description="traces of")
    def target_full(self, obj: TraceDeletion) -> str:
        return obj.target_id or "all of the organization"

    @admin.display(description="organization", ordering="organization_name")
    def whose(self, obj: TraceDeletion) -> str:
        return obj.organization_name

    @admin.display(description="state", ordering="state")
    def state_shown(self, obj: TraceDeletion) -> SafeString:
        return badge(obj.state, TONES[obj.state])

    @admin.display(description="rows deleted")
    def rows(self, obj: TraceDeletion) -> str:
        return count(obj.deleted) if obj.deleted == obj.found else f"{count(obj.deleted)} of {count(obj.found)}"

    @admin.display(description="waits for")
    def waits(self, obj: TraceDeletion) -> str:
        return obj.waits_for or "–"

    @admin.display(description="asked by")
    def asked_by(self, obj: TraceDeletion) -> str:
        return obj.requested_by or obj.requested_by_id or "–"

    @admin.display(description="asked", ordering="created_at")
    def asked(self, obj: TraceDeletion) -> SafeString | str:
        return when(obj.created_at)

    @admin.display(description="what was called before")
    def until(self, obj: TraceDeletion) -> str:
        return f"{obj.cut_off:%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="done", ordering="finished_at")
    def ended(self, obj: TraceDeletion) -> SafeString | str:
        return when(obj.finished_at)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = "telemetry_tracedeletion"
        return [
            path("<path:object_id>/receipt.json", view(self.receipt_view), name=f"{name}_receipt"),
            path("<path:object_id>/again/", view(require_POST(self.again_view)), name=f"{name}_again"),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        writes = row is not None and may(request, self.write_roles, str(row.organization_id))
        extra = {"deletion": row, "may_try_again": writes and row is not None and row.state == DeletionState.FAILED}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        initial = {**self.get_changeform_initial_data(request), **request.GET.dict()}
        form = DeletionForm(request, request.POST or None, initial=initial)
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Delete traces",
            "form": form,
        }
        if request.method == "POST" and form.is_valid():
            if request.POST.get("confirm", "").strip() == form.phrase:
                done = self._request(request, form)
                if done is not None:
                    return done
            context |= {"counted": True, "phrase": form.phrase, "mistyped": "confirm" in request.POST, **_count(form)}
        return TemplateResponse(request, "console/telemetry/delete.html", context)

    def _request(self, request: HttpRequest, form: DeletionForm) -> HttpResponse | None:
        try:
            row = deletion.request_deletion(form.asked())
        except AppError as error:
            form.add_error(None, error.message)
            return None
        messages.success(request, "The deletion is queued: this page follows it to its receipt.")
        return redirect("admin:telemetry_tracedeletion_change", row.pk)

    def receipt_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.reach(request, object_id)
        if row.receipt is None:
            raise Http404("There is no receipt yet: the deletion is not done.")
        # The very bytes that the digest is of.
        response = HttpResponse(deletion.canonical(row.receipt), content_type="application/json")
        response["Content-Disposition"] = f'attachment; filename="{row.pk}.json"'
        response["X-Content-SHA256"] = row.receipt_sha256
        return response

    def again_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.reach(request, object_id)
        if not may(request, self.write_roles, str(row.organization_id)):
            raise PermissionDenied
        deletion.again(str(row.pk))
        messages.success(request, "It is tried again within half a minute.")
        return redirect("admin:telemetry_tracedeletion_change", object_id)


def _count(form: DeletionForm) -> dict[str, Any]:
    """What would go; with ClickHouse away it may be asked for all the same, and waits."""
    try:
        found = deletion.preview(form.asked())
    except TelemetryUnavailable as error:
        return {"trouble": error.message}
    return {"found": found, "total": sum(rows for _, _, rows in found)}
