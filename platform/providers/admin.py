"""An organization's own providers (BYOK) and prices in the admin: keys are written, never read back."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanSwitchWidget

from console.access import ADMINS
from console.action_form import ActionAdmin, ActionForm
from console.admin_base import OrganizationScopedAdmin, ScopedForm
from console.display import badge, usd, when
from console.registry import register_names
from console.widgets import SecretInput
from core.errors import AppError
from providers import entries
from providers.actions import ProviderDraft, check_provider, create_provider, delete_provider, update_provider
from providers.catalog import presets
from providers.models import PriceOverride, Provider

PUBLISHED = "as published"
PLAIN = ("name", "base_url", "region", "api_version", "tool_mode", "enabled")


def _types() -> list[tuple[str, str]]:
    return sorted(
        ((name, preset.label or name) for name, preset in presets().items()), key=lambda pair: pair[1].lower()
    )


class ProviderForm(ActionForm):
    provider_type = forms.ChoiceField(choices=_types, widget=UnfoldAdminSelectWidget)
    key = forms.CharField(
        required=False,
        strip=True,
        label="API key",
        widget=SecretInput,
        help_text="Encrypted at rest and never shown again. When changing: empty keeps the stored one.",
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
        fields = ("organization", *PLAIN)
        labels = {"base_url": "Base URL", "api_version": "API version"}
        help_texts = {
            "name": "The first part of its models' handles: name/model.",
            "base_url": "Empty: the vendor's own address.",
        }

    def act(self) -> Provider:
        data = self.cleaned_data
        if self.instance._state.adding:
            plain = {name: data.get(name) or "" for name in PLAIN if name != "enabled"}
            draft = ProviderDraft(
                provider_type=data["provider_type"], api_key=data["key"], enabled=data["enabled"], **plain
            )
            return create_provider(self.caller.organization_id, draft, check=data["check"])
        changes = {name: value for name, value in self.changed().items() if name in PLAIN}
        if data["key"]:
            changes["api_key"] = data["key"]
        row = Provider.objects.get(pk=self.instance.pk)
        return update_provider(row, changes) if changes else row

    def field_of(self, error: AppError) -> str:
        words = error.message
        if "base_url" in words or "be asked" in words:
            return "base_url"
        if "key" in words:
            return "key"
        return "name" if "name" in words else ""


def key_state(provider: Provider) -> SafeString:
    """The fingerprint in the vendor's own style, or what is wrong with the key."""
    secret: Any = provider.api_key
    if secret is not None and not secret.readable:
        return badge("cannot be decrypted", "bad")
    return badge(provider.fingerprint, "plain") if provider.fingerprint else badge("no key", "plain")


@admin.register(Provider)
class ProviderAdmin(ActionAdmin):
    form = ProviderForm
    write_roles = ADMINS
    list_display = ("name", "provider_type", "key_shown", "state", "organization", "checked", "last_used")
    list_select_related = ("organization",)
    list_filter = ("enabled",)
    search_fields = ("name__icontains", "provider_type__exact", "fingerprint__icontains")
    search_help_text = "By name, type, or the visible part of the key"
    actions = ("check_selected",)
    change_form_outer_before_template = "console/providers/top.html"
    readonly_fields = ("key_shown",)
    add_fieldsets = (
        (None, {"fields": ("organization", "provider_type", "name", "key", "check")}),
        ("Address", {"fields": ("base_url", ("api_version", "region"), "tool_mode", "enabled")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "key_shown", "key", "enabled")}),
        ("Address", {"fields": ("base_url", ("api_version", "region"), "tool_mode")}),
    )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is not None:  # the type stays what it is, and a changed key is always checked
            form.base_fields.pop("provider_type", None)
            form.base_fields.pop("check", None)
        return form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fieldsets if obj is not None else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readonly_fields if obj is not None else ()

    @admin.display(description="key")
    def key_shown(self, obj: Provider) -> SafeString:
        return key_state(obj)

    @admin.display(description="state")
    def state(self, obj: Provider) -> SafeString:
        if not obj.enabled:
            return badge("off", "plain")
        return badge("failing", "bad") if obj.last_error else badge("on", "good")

    @admin.display(ordering="checked_at")
    def checked(self, obj: Provider) -> SafeString | str:
        return when(obj.checked_at) if obj.checked_at else "never"

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, obj: Provider) -> SafeString | str:
        return when(obj.last_used_at) if obj.last_used_at else "never"

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        delete_provider(obj)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.check_view))
        return [path("<path:object_id>/check/", view, name="providers_provider_check"), *super().get_urls()]

    def check_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self._check(request, self.reach(request, object_id, write=True))
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


def _rate(obj: PriceOverride, rate: Decimal | None) -> str:
    return PUBLISHED if obj.input is None else usd(rate)


class PriceForm(ScopedForm):
    def clean(self) -> dict[str, Any]:
        data = super().clean()
        start, end = data.get("valid_from"), data.get("valid_to")
        if start and end and end <= start:
            self.add_error("valid_to", "This is not after the beginning: no call would ever have this price.")
        if data.get("factor") is None and "factor" not in self.errors:
            data["factor"] = Decimal(1)
        if data.get("input") is None and "input" not in self.errors:
            self._without_rates(data)
        return data

    def _without_rates(self, data: dict[str, Any]) -> None:
        """A factor alone: no other rate may stand there, since it would count for nothing."""
        if any(data.get(name) is not None for name in ("output", "cache_read", "cache_write_5m", "cache_write_1h")):
            self.add_error("input", "Enter this price too, or leave all of them empty and set a factor alone.")
        elif data.get("factor") == 1:
            self.add_error("factor", "Enter prices, or a factor other than 1: as it is, this changes nothing.")


@admin.register(PriceOverride)
class PriceOverrideAdmin(OrganizationScopedAdmin):
    form = PriceForm
    write_roles = ADMINS
    list_display = (
        "model",
        "provider_type",
        "organization",
        "in_price",
        "out_price",
        "cached_price",
        "factor",
        "valid",
    )
    list_select_related = ("organization",)
    search_fields = ("model__icontains", "provider_type__exact")
    search_help_text = "By model, or by provider type"
    fieldsets = (
        (None, {"fields": ("organization", "provider_type", "model")}),
        (
            "USD per million tokens",
            {"fields": (("input", "output"), "cache_read", ("cache_write_5m", "cache_write_1h"))},
        ),
        ("Discount or margin", {"fields": ("factor",)}),
        ("Valid", {"fields": ("valid_from", "valid_to")}),
    )

    @admin.display(description="input / 1M", ordering="input")
    def in_price(self, obj: PriceOverride) -> str:
        return _rate(obj, obj.input)

    @admin.display(description="output / 1M", ordering="output")
    def out_price(self, obj: PriceOverride) -> str:
        return _rate(obj, obj.output)

    @admin.display(description="cache read / 1M", ordering="cache_read")
    def cached_price(self, obj: PriceOverride) -> str:
        return _rate(obj, obj.input if obj.cache_read is None else obj.cache_read)

    @admin.display(description="valid")
    def valid(self, obj: PriceOverride) -> str:
        start = f"{obj.valid_from:%Y-%m-%d}" if obj.valid_from else "always"
        return f"{start} to {obj.valid_to:%Y-%m-%d}" if obj.valid_to else f"from {start}" if obj.valid_from else start

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        entries.forget(str(obj.organization_id))

    def delete_model(self, request: HttpRequest, obj: PriceOverride) -> None:
        obj.delete()
        entries.forget(str(obj.organization_id))


def _names(ids: Iterable[str]) -> dict[str, str]:
    """With the key's fingerprint, in the vendor's own style: what an invoice shows too."""
    rows = Provider.objects.filter(pk__in=list(ids)).values_list("pk", "name", "fingerprint")
    return {str(pk): f"{name} ({fingerprint})" if fingerprint else name for pk, name, fingerprint in rows}


register_names("provider", _names)
