"""An organization's own keys (BYOK) in the admin: written, never read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from console.access import ADMINS
from console.action_form import ActionAdmin, ActionForm
from console.display import DASH, badge, usd, when
from console.registry import register_names
from console.widgets import SecretInput
from core.errors import AppError, BadInput
from providers import rotation
from providers.actions import ProviderDraft, check_provider, create_provider, delete_provider, update_provider
from providers.admin import spend
from providers.catalog import presets
from providers.models import Provider

PLAIN = ("name", "base_url", "region", "api_version", "tool_mode", "enabled")
OVERLAPS = ((0, "not at all"), (1, "for an hour"), (24, "for a day"), (72, "for three days"), (168, "for a week"))
KINDS = (("requests", "Requests"), ("tokens", "Tokens"), ("input_tokens", "Input"), ("output_tokens", "Output"))


def _types() -> list[tuple[str, str]]:
    offered = [(name, preset.label or name) for name, preset in presets().items() if not preset.refused]
    return sorted(offered, key=lambda pair: pair[1].lower())


class ProviderForm(ActionForm):
    provider_type = forms.ChoiceField(choices=_types, widget=UnfoldAdminSelectWidget)
    key = forms.CharField(
        required=False,
        strip=True,
        label="API key",
        widget=SecretInput,
        help_text="Encrypted at rest and never shown again. When changing: empty keeps the stored one.",
    )
    key_id = forms.CharField(
        required=False,
        strip=True,
        label="Access key ID",
        widget=SecretInput,
        help_text="Of AWS keys, which have two parts: the API key is then the secret one.",
    )
    check = forms.BooleanField(
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        label="Check before saving",
        help_text="Asks the provider for its models, which costs nothing.",
    )

    class Meta:
        model = Provider
        fields = ("organization", "project", "identity_id", *PLAIN)
        labels = {"base_url": "Base URL", "api_version": "API version"}
        help_texts = {
            "name": "The first part of its models' handles: name/model. With the name of one of the installation, "
            "this key is used instead of the installation's.",
            "base_url": "Empty: the vendor's own address.",
            "identity_id": "Only for what this end user sends (sender_id on the wire). Empty: for everybody.",
        }

    def act(self) -> Provider:
        data, actor = self.cleaned_data, self.caller.user_id
        if self.instance._state.adding:
            plain = {name: data.get(name) or "" for name in PLAIN if name != "enabled"}
            draft = ProviderDraft(
                provider_type=data["provider_type"],
                project_id=str(data["project"].pk) if data.get("project") else "",
                identity_id=data.get("identity_id") or "",
                api_key=data["key"],
                access_key=data["key_id"],
                enabled=data["enabled"],
                **plain,
            )
            return create_provider(self.caller.organization_id, draft, check=data["check"], actor=actor)
        changes = {name: value for name, value in self.changed().items() if name in PLAIN}
        if data["key"]:
            changes["api_key"] = data["key"]
        if data["key_id"]:
            changes["access_key"] = data["key_id"]
        row = Provider.objects.get(pk=self.instance.pk)
        return update_provider(row, changes, actor=actor) if changes else row

    def field_of(self, error: AppError) -> str:
        words = error.message
        if "base_url" in words or "be asked" in words:
            return "base_url"
        if "not for both" in words or "project" in words:
            return "project"
        if "key" in words:
            return "key"
        return "name" if "name" in words else ""


def key_state(provider: Provider) -> SafeString:
    """The fingerprint in the vendor's own style, or what is wrong with the key."""
    secret: Any = provider.api_key
    if secret is not None and not secret.readable:
        return badge("cannot be decrypted", "bad")
    return badge(provider.fingerprint, "plain") if provider.fingerprint else badge("no key", "plain")


def state_of(provider: Provider) -> SafeString:
    if not provider.enabled:
        return badge("off", "plain")
    if provider.failing_since:
        return badge(f"failing since {provider.failing_since:%b %d %H:%M}", "bad")
    if provider.stood_in_at and provider.previous_until:
        return badge("old key in use", "warn")
    return badge("works", "good") if provider.checked_at or provider.last_used_at else badge("never checked", "warn")


def headroom_of(provider: Provider) -> list[dict[str, Any]]:
    """What was left of each limit at the last answer, and the share of it where the limit is known."""
    said = provider.headroom if isinstance(provider.headroom, Mapping) else {}
    found = []
    for kind, label in KINDS:
        left = said.get(kind)
        if isinstance(left, Mapping) and isinstance(left.get("remaining"), int):
            limit = left.get("limit")
            share = round(100 * left["remaining"] / limit) if isinstance(limit, int) and limit else None
            found.append({"label": label, **left, "share": share})
    return found


@admin.register(Provider)
class ProviderAdmin(ActionAdmin):
    form = ProviderForm
    write_roles = ADMINS
    list_display = (
        "name",
        "provider_type",
        "whose",
        "key_shown",
        "state",
        "organization",
        "month",
        "calls",
        "headroom_shown",
        "last_used",
    )
    list_select_related = ("organization", "project")
    change_list_template = "console/list.html"
    empty_title, empty_button = "No key of your own is stored", "Add a key"
    empty_words = (
        "Calls are made with the installation's keys. A key of your own, encrypted at rest, makes them on your account"
        " at the vendor, and gives you its models as name/model."
    )
    list_filter = ("enabled",)
    search_fields = ("name__icontains", "provider_type__exact", "fingerprint__icontains", "identity_id__exact")
    search_help_text = "By name, type, end user, or the visible part of the key"
    actions = ("check_selected",)
    change_form_outer_before_template = "console/providers/top.html"
    readonly_fields = ("key_shown", "whose")
    add_fieldsets = (
        (None, {"fields": ("organization", "provider_type", "name", "key", "key_id", "check")}),
        ("For whom", {"fields": (("project", "identity_id"),)}),
        ("Address", {"fields": ("base_url", ("api_version", "region"), "tool_mode", "enabled")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "whose", "key_shown", "key", "key_id", "enabled")}),
        ("Address", {"fields": ("base_url", ("api_version", "region"), "tool_mode")}),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None:  # type and scope stay what they are, and a changed key is always checked
            for name in ("provider_type", "check", "project", "identity_id"):
                form.base_fields.pop(name, None)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The rows of the page, with what each key cost this month: one question for all."""
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        told = spend.month_of([str(row.pk) for row in rows])
        for row in rows:
            row.month_spend = told.of(str(row.pk))
        return shown

    @admin.display(description="key")
    def key_shown(self, obj: Provider) -> SafeString:
        return key_state(obj)

    @admin.display(description="for")
    def whose(self, obj: Provider) -> str:
        if obj.project_id:
            return f"project {obj.project}"
        return f"end user {obj.identity_id}" if obj.identity_id else "everybody"

    @admin.display(description="state")
    def state(self, obj: Provider) -> SafeString:
        return state_of(obj)

    @admin.display(description="spend this month")
    def month(self, obj: Any) -> str:
        found = getattr(obj, "month_spend", None)
        return DASH if found is None else usd(found.cost_usd)

    @admin.display(description="calls (errors)")
    def calls(self, obj: Any) -> str:
        found = getattr(obj, "month_spend", None)
        return DASH if found is None else f"{found.calls:,} ({found.errors:,})"

    @admin.display(description="limits left")
    def headroom_shown(self, obj: Provider) -> str:
        shares = [
            f"{left['share']} % {left['label'].lower()}" for left in headroom_of(obj) if left["share"] is not None
        ]
        return ", ".join(shares) or DASH

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, obj: Provider) -> SafeString | str:
        return when(obj.last_used_at) if obj.last_used_at else "never"

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        row = self.get_object(request, object_id)
        extra: dict[str, Any] = {}
        if row is not None:
            told = spend.month_of([str(row.pk)])
            extra = {
                "month": told.of(str(row.pk)),
                "month_trouble": told.trouble,
                "headroom": headroom_of(row),
                "overlaps": OVERLAPS,
                "key_badge": state_of(row),
            }
        return super().change_view(request, object_id, form_url, {**extra, **(extra_context or {})})

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        delete_provider(obj, actor=str(request.user.pk))

    def get_urls(self) -> list[URLPattern]:
        def post(route: str, view: Any) -> URLPattern:
            wrapped = self.admin_site.admin_view(require_POST(view))
            return path(f"<path:object_id>/{route}/", wrapped, name=f"providers_provider_{route}")

        own = [post("check", self.check_view), post("rotate", self.rotate_view), post("wipe", self.wipe_view)]
        return [*own, *super().get_urls()]

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self._check(request, self.reach(request, object_id, write=True))
        return redirect("admin:providers_provider_change", object_id)

    def rotate_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = self.reach(request, object_id, write=True)
        try:
            row = rotation.rotate(row, request.POST.get("key", ""), _overlap(request), str(request.user.pk))
        except AppError as error:
            messages.error(request, error.message)
        else:
            until = row.previous_until
            stays = f" The old one stands by until {until:%Y-%m-%d %H:%M} UTC." if until else ""
            messages.success(request, f"{row.name} has a new key, {row.fingerprint}.{stays}")
        return redirect("admin:providers_provider_change", object_id)

    def wipe_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        rotation.end_overlap(self.reach(request, object_id, write=True), str(request.user.pk))
        messages.success(request, "The old key is wiped.")
        return redirect("admin:providers_provider_change", object_id)

    @admin.action(description="Check the keys of the selected providers", permissions=["change"])
    def check_selected(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        for row in queryset[:10]:
            if self.has_change_permission(request, row):
                self._check(request, row)

    def _check(self, request: HttpRequest, row: Provider) -> None:
        try:
            models = check_provider(row)
        except AppError as error:
            messages.error(request, f"{row.name}: {error.message}")
        else:
            messages.success(request, f"{row.name} answers, with {len(models)} models.")


def _overlap(request: HttpRequest) -> timedelta:
    try:
        return timedelta(hours=float(request.POST.get("hours", "24")))
    except (ValueError, OverflowError):
        raise BadInput("Choose how long the old key stands by.") from None


def _names(ids: Iterable[str]) -> dict[str, str]:
    """With the key's fingerprint, in the vendor's own style: what an invoice shows too."""
    rows = Provider.objects.filter(pk__in=list(ids)).values_list("pk", "name", "fingerprint")
    return {str(pk): f"{name} ({fingerprint})" if fingerprint else name for pk, name, fingerprint in rows}


register_names("provider", _names)
