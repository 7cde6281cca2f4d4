"""Rate limits in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.models import Organization
from budgets import actions
from budgets.admin import shown
from budgets.models import WITHOUT_PERIOD, RateLimit
from console.access import ADMINS
from console.action_form import ActionAdmin, ActionForm
from console.display import badge, count, when


class LimitForm(ActionForm):
    class Meta:
        model = RateLimit
        fields = ("organization", "scope", "target", "amount", "kind", "period_s", "enabled")
        help_texts = {"period_s": "Counts for requests and tokens."}

    def act(self) -> RateLimit:
        actor_id = str(self.request.user.pk)
        if self.instance._state.adding:
            data = {name: value for name, value in self.cleaned_data.items() if name != "organization"}
            organization: Organization = self.cleaned_data["organization"]
            return actions.create(RateLimit(organization=organization, **data), actor_id)
        return actions.update(RateLimit.objects.get(pk=self.instance.pk), self.changed(), actor_id)


@admin.register(RateLimit)
class RateLimitAdmin(ActionAdmin):
    form = LimitForm
    write_roles = ADMINS
    list_display = ("at_most", "of", "per", "about", "state", "organization", "created")
    list_select_related = ("organization",)
    list_filter = ("kind", "scope", "enabled")
    search_fields = ("target__exact",)
    search_help_text = "By the id it is about"
    fieldsets = (
        (None, {"fields": ("organization", ("amount", "kind"), "period_s")}),
        ("Of what is done by", {"fields": (("scope", "target"), "enabled")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[shown.NamedChangeList]:
        return shown.NamedChangeList

    @admin.display(description="at most", ordering="amount")
    def at_most(self, obj: RateLimit) -> str:
        return count(obj.amount)

    @admin.display(description="of", ordering="kind")
    def of(self, obj: RateLimit) -> str:
        return obj.get_kind_display()

    @admin.display(description="per")
    def per(self, obj: RateLimit) -> str:
        return "–" if obj.kind in WITHOUT_PERIOD else obj.get_period_s_display()

    @admin.display(description="by")
    def about(self, obj: Any) -> SafeString | str:
        return shown.about(obj, obj.called)

    @admin.display(description="state")
    def state(self, obj: RateLimit) -> SafeString:
        return badge("on", "good") if obj.enabled else badge("off", "plain")

    @admin.display(ordering="created_at")
    def created(self, obj: RateLimit) -> SafeString | str:
        return when(obj.created_at)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        actions.delete(obj, str(request.user.pk))
