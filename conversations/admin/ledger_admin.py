"""Whether the books agree, and what was priced anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from console.admin_base import ReadOnlyAdmin, scoped
from console.display import badge, count, link, usd, when
from console.registry import Panel, Scope, register_panel
from conversations.ledger_models import LedgerAudit, Repricing
from core.time import now

OF_A_CALL = frozenset({"buckets", "vendor_total", "tokens", "cost", "price", "doubled_row", "step_cost"})
KINDS = {
    "buckets": "The call's own columns contradict each other",
    "vendor_total": "The provider's total is another",
    "tokens": "The answer gives other token counts",
    "cost": "The unit prices on the row give another cost",
    "price": "The price list of that time gives another cost",
    "missing_row": "A step's call is missing",
    "doubled_row": "A call is there more than once",
    "step_cost": "The step was charged another cost",
    "sums": "The sums are not those of the calls",
}
RECENT = timedelta(days=7)
MOST = 5


def verdict(audit: LedgerAudit) -> SafeString:
    if audit.problem:
        return badge("no result", "warn")
    if audit.mismatch_count:
        return badge(f"{audit.mismatch_count:,} mismatches", "bad")
    return badge("agrees", "good")


@admin.register(LedgerAudit)
class LedgerAuditAdmin(ReadOnlyAdmin):
    list_display = ("day", "result", "calls_shown", "steps_shown", "unchecked_shown", "checked", "organization")
    list_select_related = ("organization",)
    list_filter = (("day", admin.DateFieldListFilter),)
    ordering = ("-day",)
    date_hierarchy = None
    change_list_template = "console/conversations/ledger_audits.html"

    @admin.display(description="result", ordering="mismatch_count")
    def result(self, obj: LedgerAudit) -> SafeString:
        return verdict(obj)

    @admin.display(description="calls", ordering="calls")
    def calls_shown(self, obj: LedgerAudit) -> str:
        return count(obj.calls)

    @admin.display(description="steps", ordering="steps")
    def steps_shown(self, obj: LedgerAudit) -> str:
        return count(obj.steps)

    @admin.display(description="not checked in part")
    def unchecked_shown(self, obj: LedgerAudit) -> str:
        return count(max(obj.unchecked.values(), default=0))

    @admin.display(description="checked", ordering="checked_at")
    def checked(self, obj: LedgerAudit) -> SafeString | str:
        return when(obj.checked_at)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.get_object(request, object_id)
        if found is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        mismatches = [
            (KINDS.get(one["kind"], one["kind"]), one["id"], one["said"], one["kind"] in OF_A_CALL)
            for one in found.mismatches
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": found,
            "title": f"Ledger of {found.day}",
            "verdict": verdict(found),
            "mismatches": mismatches,
            "unchecked": sorted(found.unchecked.items()),
        }
        return TemplateResponse(request, "console/conversations/ledger_audit.html", context)


@admin.register(Repricing)
class RepricingAdmin(ReadOnlyAdmin):
    list_display = ("days", "reason", "model_shown", "state", "corrected", "change", "by", "begun", "organization")
    list_select_related = ("organization",)
    ordering = ("-created_at",)
    search_fields = ("reason__icontains",)
    search_help_text = "By its reason"
    fields = (
        "days",
        "model_shown",
        "reason",
        "by",
        "state",
        "seen",
        "corrected",
        "change",
        "by_model",
        "begun",
        "ended",
    )
    readonly_fields = fields
    change_list_template = "console/conversations/repricings.html"

    @admin.display(description="days (UTC)", ordering="start")
    def days(self, obj: Repricing) -> str:
        return str(obj)

    @admin.display(description="model")
    def model_shown(self, obj: Repricing) -> str:
        return f"{obj.model or 'all'}{', unpriced only' if obj.only_unpriced else ''}"

    @admin.display(description="state")
    def state(self, obj: Repricing) -> SafeString:
        return badge("finished", "good") if obj.finished_at else badge("unfinished", "warn")

    @admin.display(description="calls corrected")
    def corrected(self, obj: Repricing) -> str:
        return count(sum(one["calls"] for one in obj.result))

    @admin.display(description="cost before → now")
    def change(self, obj: Repricing) -> str:
        old, new = (_total(obj.result, name) for name in ("old_cost_usd", "new_cost_usd"))
        return f"{usd(old)} → {usd(new)}" if obj.finished_at else ""

    @admin.display(description="by model")
    def by_model(self, obj: Repricing) -> SafeString | str:
        rows = [
            (one["model"], count(one["calls"]), usd(Decimal(one["old_cost_usd"])), usd(Decimal(one["new_cost_usd"])))
            for one in obj.result
        ]
        return format_html_join("", "<div>{}: {} calls, {} → {}</div>", rows) if rows else "nothing yet"

    @admin.display(description="ended")
    def ended(self, obj: Repricing) -> SafeString | str:
        return when(obj.finished_at) if obj.finished_at else "not yet"

    @admin.display(description="by")
    def by(self, obj: Repricing) -> SafeString | str:
        return link(obj.actor_id) if obj.actor_id else "operator"

    @admin.display(description="begun", ordering="created_at")
    def begun(self, obj: Repricing) -> SafeString | str:
        return when(obj.created_at)


def _total(result: Sequence[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(one[name]) for one in result), Decimal(0))


def disagreements(scope: Scope) -> dict[str, Any] | None:
    """Organizations whose last audit did not agree, or had no result; None where all is well."""
    recent = scoped(
        LedgerAudit.objects.filter(day__gte=(now() - RECENT).date()), scope.organization_ids, "organization_id"
    )
    last = recent.order_by("organization_id", "-day").distinct("organization_id").values("pk")
    wrong = LedgerAudit.objects.filter(pk__in=last).exclude(mismatch_count=0, problem="")
    audits = list(wrong.select_related("organization").order_by("-mismatch_count")[: MOST + 1])
    return {"audits": audits[:MOST], "more": len(audits) > MOST} if audits else None


register_panel(Panel(5, "console/conversations/ledger_panel.html", disagreements))
