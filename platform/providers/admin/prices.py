"""An organization's own prices in the admin."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from console.access import ADMINS
from console.admin_base import OrganizationScopedAdmin, ScopedForm
from console.display import usd
from providers import entries
from providers.models import PriceOverride

PUBLISHED = "as published"


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
