"""Exports in the admin: ask for a file of calls, see how far it is, fetch it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from console.access import READERS
from console.admin_base import OrganizationScopedAdmin, ScopedForm
from console.display import badge, count, when
from core.errors import AppError
from telemetry.exports import actions
from telemetry.exports.http import file_response
from telemetry.filters import TraceFilters
from telemetry.models.export import UNFINISHED, Export, ExportState

TONES = {ExportState.DONE: "good", ExportState.FAILED: "bad", ExportState.RUNNING: "busy"}
TEXTS = {
    "model": "model",
    "provider": "provider",
    "agent_id": "agent",
    "conversation_id": "conversation",
    "run_id": "run",
    "identity_id": "end user",
    "api_key_id": "API key",
    "call_type": "call type",
    "tag": "tag",
    "error_type": "error",
}


class ExportForm(ScopedForm):
    """The address fills it: `?model=…&agent_id=…`, as the trace explorer links here."""

    start = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget, help_text="UTC. Empty: 30 days before the end."
    )
    end = forms.SplitDateTimeField(required=False, widget=UnfoldAdminSplitDateTimeWidget, help_text="Empty: now.")

    class Meta:
        model = Export
        fields = ("organization", "format", "with_payloads")

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("start") and data.get("end") and data["start"] >= data["end"]:
            self.add_error("start", "This must lie before the end.")
        return data

    def filters(self) -> TraceFilters:
        texts: dict[str, Any] = {name: (self.cleaned_data.get(name) or "").strip() for name in TEXTS}
        return TraceFilters(start=self.cleaned_data.get("start"), end=self.cleaned_data.get("end"), **texts)


for _name, _label in TEXTS.items():
    _field = forms.CharField(label=f"Only {_label}", required=False, max_length=255, widget=UnfoldAdminTextInputWidget)
    ExportForm.base_fields[_name] = ExportForm.declared_fields[_name] = _field


@admin.register(Export)
class ExportAdmin(OrganizationScopedAdmin):
    form = ExportForm
    write_roles = READERS  # whoever may look at traces may take them along
    list_display = ("asked_at", "organization", "format_short", "with_text", "how_far", "rows_shown", "fetch")
    change_list_template = "console/list.html"
    empty_title, empty_button = "Nothing was exported yet", "Ask for an export"
    empty_words = (
        "A file of calls, as CSV, JSON Lines or Parquet, made in the background. The traces page also leads here with"
        " its filters filled in."
    )
    list_filter = ("state", "format")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("organization", "format", "with_payloads")}),
        ("Which calls", {"fields": ("start", "end", *TEXTS)}),
    )
    shown = ("asked_at", "format", "with_text", "which", "how_far", "rows_shown", "size")
    change_form_outer_before_template = "console/telemetry/export_top.html"

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is None else ((None, {"fields": self.shown}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return () if obj is None else self.shown

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/file/", view(self.file), name="telemetry_export_file"),
            path("<path:object_id>/cancel/", view(require_POST(self.cancel)), name="telemetry_export_cancel"),
            *super().get_urls(),
        ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        wanted = actions.Wanted(format=obj.format, with_payloads=obj.with_payloads, filters=form.filters())
        made = actions.request_export(str(obj.organization_id), str(request.user.pk), wanted)
        obj.pk, obj.created_at = made.pk, made.created_at
        obj._state.adding = False

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        try:
            return super().add_view(request, form_url, extra_context)
        except AppError as error:
            messages.error(request, error.message)
            return redirect("admin:telemetry_export_changelist")

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        messages.success(request, "The export is being made. This page says how far it is.")
        return redirect("admin:telemetry_export_change", obj.pk)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        actions.remove(obj)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        obj = self.reach(request, object_id)
        response = super().change_view(request, object_id, form_url, {"export": obj, **(extra_context or {})})
        if obj.state in UNFINISHED:
            response["Refresh"] = "2"
        return response

    def file(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        export = self.reach(request, object_id)
        try:
            return file_response(export)
        except AppError as error:
            messages.error(request, error.message)
            return redirect("admin:telemetry_export_change", export.pk)

    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        export = self.reach(request, object_id)
        try:
            actions.cancel(export)
        except AppError as error:
            messages.error(request, error.message)
        return redirect("admin:telemetry_export_change", export.pk)

    @admin.display(description="asked for", ordering="created_at")
    def asked_at(self, obj: Export) -> str:
        return when(obj.created_at)

    @admin.display(description="state")
    def how_far(self, obj: Export) -> SafeString:
        words = f"{obj.get_state_display()}, {obj.progress} %" if obj.state == ExportState.RUNNING else None
        return badge(words or obj.get_state_display(), TONES.get(ExportState(obj.state), ""))

    @admin.display(description="format", ordering="format")
    def format_short(self, obj: Export) -> str:
        return obj.get_format_display().partition(":")[0]

    @admin.display(description="requests and responses", ordering="with_payloads")
    def with_text(self, obj: Export) -> str:
        return "included" if obj.with_payloads else "left out"

    @admin.display(description="calls", ordering="rows")
    def rows_shown(self, obj: Export) -> str:
        return count(obj.rows)

    @admin.display(description="size")
    def size(self, obj: Export) -> str:
        return filesizeformat(obj.size_bytes)

    @admin.display(description="which calls")
    def which(self, obj: Export) -> SafeString:
        """In words: the stored filters are for machines."""
        asked = [
            (TEXTS.get(name, name.replace("_", " ")), str(value).replace("T", " ").replace("+00:00", " UTC"))
            for name, value in sorted(obj.filters.items())
            if value not in (None, "", [])
        ]
        return format_html_join("", "<div>{}: {}</div>", asked) if asked else format_html("{}", "all")

    @admin.display(description="file")
    def fetch(self, obj: Export) -> SafeString | str:
        if obj.state != ExportState.DONE:
            return "–"
        address = reverse("admin:telemetry_export_file", args=[obj.pk])
        return format_html('<a class="pn-link" href="{}" download>Download</a>', address)
