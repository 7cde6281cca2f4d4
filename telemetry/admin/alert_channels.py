"""Alert channels in the admin: addresses go in and stay in, a signing secret is shown once, a test shows its result."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.audit import Deed, note
from console import shown_once
from console.access import ADMINS
from console.admin_base import ScopedForm
from console.display import badge, when
from console.widgets import SecretInput
from core.errors import Invalid
from core.outbound import NotDelivered, new_secret
from core.time import now
from telemetry.admin.alerts import OwnedAdmin
from telemetry.alerts import deliver, notify
from telemetry.alerts.channels import channel_of
from telemetry.models.alerts import AlertChannel, AlertDelivery, ChannelKind

MOST_DELIVERIES = 20
TONES = {"sent": "good", "waiting": "busy", "given_up": "bad"}
KEEPS = " Encrypted at rest. When changing: empty keeps the stored one."


class ChannelForm(ScopedForm):
    kind = forms.ChoiceField(choices=ChannelKind.choices, widget=UnfoldAdminSelectWidget)
    sends_to = forms.CharField(
        required=False, strip=True, max_length=2_000, widget=SecretInput, help_text=f"Where it sends to.{KEEPS}"
    )
    topics = forms.MultipleChoiceField(
        choices=list(notify.TOPICS.items()),
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What it is told beside the rules that name it.",
    )

    class Meta:
        model = AlertChannel
        fields = ("organization", "name", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields.get("sends_to")
        if field is None:  # a reader's page has no fields
            return
        if self.instance._state.adding:
            field.widget, field.required = UnfoldAdminTextInputWidget({"autocomplete": "off"}), True
            field.help_text = " ".join(
                f"{ChannelKind(kind).label}: {channel_of(kind).address_label.lower()}. {channel_of(kind).address_help}"
                for kind in ChannelKind.values
            )
        else:
            kept = channel_of(self.instance.kind)
            field.label, field.help_text = kept.address_label, kept.address_help + KEEPS
            self.initial["topics"] = self.instance.topics

    @property
    def kept_kind(self) -> str:
        return str(self.cleaned_data.get("kind") or self.instance.kind)

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("sends_to") and self.kept_kind:
            try:
                data["sends_to"] = channel_of(self.kept_kind).clean(data["sends_to"])
            except Invalid as error:
                self.add_error("sends_to", error.message)
        return data

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        row, data = self.instance, self.cleaned_data
        row.kind, row.topics = self.kept_kind, data.get("topics", [])
        if data.get("sends_to"):
            row.address, row.shown = data["sends_to"], channel_of(row.kind).shown(data["sends_to"])


@admin.register(AlertChannel)
class AlertChannelAdmin(OwnedAdmin):
    form = ChannelForm
    write_roles = ADMINS
    list_display = ("name", "kind", "shown", "state", "organization", "last_sent", "last_error_short")
    change_list_template = "console/list.html"
    empty_title, empty_button = "Nobody is told yet", "Add a channel"
    empty_words = (
        "A channel is where alerts go: email addresses, a Slack webhook, or a webhook of yours that is signed. Send a"
        " test from its page, then name it in an alert rule."
    )
    list_filter = ("kind", "enabled")
    search_fields = ("name__icontains",)
    search_help_text = "By name"
    ordering = ("name",)
    change_form_outer_before_template = "console/telemetry/alert_channel_top.html"
    fieldsets = ((None, {"fields": ("name", "sends_to", "topics", "enabled")}),)
    add_fieldsets = ((None, {"fields": ("organization", "name", "kind", "sends_to", "topics", "enabled")}),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None:
            form.base_fields.pop("kind", None)  # a channel stays of its kind
        return form

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ()

    @admin.display(description="state")
    def state(self, obj: AlertChannel) -> SafeString:
        if not obj.enabled:
            return badge("failed, switched off", "bad") if obj.disabled_at else badge("off", "plain")
        return badge(f"failing ({obj.failures})", "warn") if obj.failures else badge("on", "good")

    @admin.display(description="last sent", ordering="last_sent_at")
    def last_sent(self, obj: AlertChannel) -> SafeString | str:
        return when(obj.last_sent_at) if obj.last_sent_at else "never"

    @admin.display(description="last error")
    def last_error_short(self, obj: AlertChannel) -> str:
        return obj.last_error[:80]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        channel = self.get_object(request, object_id)
        extra = {} if channel is None else {"channel": of_channel(channel)}
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        signs = channel_of(obj.kind).signs and obj.secret is None
        secret = new_secret() if signs else ""
        if secret:
            obj.secret = secret
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            if change and "enabled" in form.changed_data and obj.enabled:
                deliver.switch_on(obj)
            verb = "change" if change else "create"
            self._note(request, obj, f"alert_channel.{verb}", {"changed": sorted(form.changed_data)})
        if secret:
            shown_once.keep(request, obj.pk, secret)

    def delete_model(self, request: HttpRequest, obj: AlertChannel) -> None:
        self._note(request, obj, "alert_channel.delete", {"name": obj.name})
        super().delete_model(request, obj)

    def _note(self, request: HttpRequest, obj: AlertChannel, action: str, after: dict[str, Any]) -> None:
        if obj.organization_id is not None:
            note(str(obj.organization_id), str(request.user.pk), Deed(action=action, target=obj.pk, after=after))

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return redirect(f"admin:telemetry_alertchannel_{'created' if obj.secret else 'change'}", obj.pk)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = "telemetry_alertchannel"
        return [
            path("<path:object_id>/created/", view(self.created_view), name=f"{name}_created"),
            path("<path:object_id>/test/", view(require_POST(self.test_view)), name=f"{name}_test"),
            path("<path:object_id>/secret/", view(require_POST(self.secret_view)), name=f"{name}_secret"),
            *super().get_urls(),
        ]

    def created_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.reach(request, object_id)
        secret = shown_once.take(request, channel.pk)
        if secret is None:
            messages.info(request, "A secret is shown only once. If you have lost it, make a new one.")
            return redirect("admin:telemetry_alertchannel_change", object_id)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": channel,
            "title": "The signing secret",
            "secret": secret,
        }
        return never_cache(lambda r: TemplateResponse(r, "console/telemetry/alert_secret.html", context))(request)

    def secret_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.reach(request, object_id, write=True)
        secret = new_secret()
        with transaction.atomic():
            AlertChannel.objects.filter(pk=channel.pk).update(secret=secret)
            self._note(request, channel, "alert_channel.new_secret", {})
        shown_once.keep(request, channel.pk, secret)
        return redirect("admin:telemetry_alertchannel_created", object_id)

    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        channel = self.reach(request, object_id, write=True)
        try:
            answer = deliver.send(channel, notify.test_message(channel, str(request.user)))
        except NotDelivered as error:
            failed = {"last_error": str(error)[:500], "last_error_at": now()}
            AlertChannel.objects.filter(pk=channel.pk).update(**failed)
            messages.error(request, f"The test was not sent. {error}")
        else:
            AlertChannel.objects.filter(pk=channel.pk).update(failures=0, last_error="", last_sent_at=now())
            messages.success(request, f"The test was sent: {answer}.")
        return redirect("admin:telemetry_alertchannel_change", object_id)


def of_channel(channel: AlertChannel) -> dict[str, Any]:
    """What stands above the form: how it goes, and the last messages."""
    kept: Any = channel.address
    found = AlertDelivery.objects.filter(channel=channel).select_related("rule")[:MOST_DELIVERIES]
    return {
        "readable": kept.readable,
        "signs": channel_of(channel.kind).signs,
        "deliveries": [(row, badge(row.progress, TONES[row.progress])) for row in found],
        "rules": list(channel.rules.order_by("name")[:MOST_DELIVERIES]),
    }
