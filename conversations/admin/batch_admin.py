"""Batches of messages: how far each is, what it cost, its runs, and what of it is with a vendor; and cancelling one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from console.access import OPERATORS, may
from console.admin_base import ReadOnlyAdmin
from console.display import DASH, badge, count, short, usd, when
from conversations import batches
from conversations.batch_models import Batch, BatchItem, BatchStatus, ItemStatus
from conversations.vendor_batches import costs_of
from conversations.vendor_models import VendorBatch, VendorCall
from core.errors import Conflict
from core.outbound import shown_url

MOST_ITEMS = 100
MOST_VENDOR_BATCHES = 50
WORDS = ("pending", "running", "completed", "failed", "cancelled")


def _of_items(what: Any) -> Subquery:
    """A figure of all items of a batch."""
    items = BatchItem.objects.filter(batch=OuterRef("pk")).order_by().values("batch")
    return Subquery(items.annotate(found=what).values("found"))


@admin.register(Batch)
class BatchAdmin(ReadOnlyAdmin):
    list_display = ("batch", "state", "given", "requests", "progress", "cost", "ended", "organization")
    list_select_related = ("organization",)
    list_filter = ("status",)
    list_fullwidth = True
    search_fields = ("pk__exact",)
    search_help_text = "By id of a batch or of the API key it was given with"
    id_lookups = {"key": "api_key_id"}
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        ended = Count("pk", filter=Q(status=ItemStatus.ENDED))
        figures = {"ended_count": _of_items(ended), "spent_usd": _of_items(Sum("run__cost_usd"))}
        return super().get_queryset(request).select_related("organization").annotate(**figures)

    @admin.display(description="batch")
    def batch(self, obj: Batch) -> str:
        return short(str(obj.pk))

    @admin.display(description="status", ordering="status")
    def state(self, obj: Batch) -> SafeString:
        return badge(obj.status)

    @admin.display(description="given", ordering="created_at")
    def given(self, obj: Batch) -> SafeString | str:
        return when(obj.created_at)

    @admin.display(description="requests", ordering="request_count")
    def requests(self, obj: Batch) -> str:
        return count(obj.request_count)

    @admin.display(description="done")
    def progress(self, obj: Any) -> str:
        done = obj.request_count if obj.status != BatchStatus.RUNNING else obj.ended_count or 0
        return f"{100 * done // (obj.request_count or 1)} %"

    @admin.display(description="cost")
    def cost(self, obj: Any) -> str:
        return DASH if obj.spent_usd is None else usd(obj.spent_usd)

    @admin.display(description="ended", ordering="completed_at")
    def ended(self, obj: Batch) -> SafeString | str:
        return when(obj.completed_at)

    # Pages

    def get_urls(self) -> list[URLPattern]:
        cancel = self.admin_site.admin_view(require_POST(self.cancel_view))
        return [path("<path:object_id>/cancel/", cancel, name="conversations_batch_cancel"), *super().get_urls()]

    def cancel_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        batch = self.reach(request, object_id)
        if not may(request, OPERATORS, str(batch.organization_id)):
            raise PermissionDenied
        try:
            batches.cancel_batch(batch, str(request.user.pk))
        except Conflict as error:
            messages.info(request, error.message)
        else:
            self.log_change(request, batch, "Cancelled.")
            messages.success(request, "Cancelled. What was done before stays.")
        return redirect("admin:conversations_batch_change", object_id)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        batch = self.get_object(request, object_id)
        if batch is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        counts = batches.counts_of([batch])[batch.pk]
        items = batch.items.select_related("run", "agent").order_by("place")
        columns = ("place", "status", "error", "batch_id", "agent__name", "run__status", "run__stop_reason")
        shown = list(items.only(*columns, "run__step_count", "run__cost_usd", "run__created_at")[: MOST_ITEMS + 1])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": batch,
            "title": short(str(batch.pk)),
            "counts": [(word, counts.get(word, 0)) for word in WORDS],
            "done": 100 * _done(batch, counts) // (batch.request_count or 1),
            "items": shown[:MOST_ITEMS],
            "more_items": len(shown) > MOST_ITEMS,
            "vendor_batches": _vendor_batches(batch),
            "waiting_calls": _calls_of(batch).filter(batch=None, let_in_at=None).count(),
            "callback_url": shown_url(batch.callback_url) if batch.callback_url else "",
            "may_cancel": batch.status == BatchStatus.RUNNING and may(request, OPERATORS, str(batch.organization_id)),
        }
        return TemplateResponse(request, "console/conversations/batch.html", context)


def _done(batch: Batch, counts: dict[str, int]) -> int:
    return batch.request_count - counts.get("pending", 0) - counts.get("running", 0)


def _calls_of(batch: Batch) -> QuerySet[VendorCall]:
    return VendorCall.objects.filter(run__batch_item__batch=batch)


def _vendor_batches(batch: Batch) -> list[dict[str, Any]]:
    """The vendors' batches that calls of this one went into, the newest first, with how many of its calls each has."""
    mine = _calls_of(batch).exclude(batch=None).order_by().values("batch").annotate(calls=Count("pk"))
    numbers = dict(mine.order_by(F("batch__created_at").desc()).values_list("batch", "calls")[:MOST_VENDOR_BATCHES])
    found = list(VendorBatch.objects.filter(pk__in=list(numbers)).order_by("-created_at"))
    costs = costs_of(found)
    return [{"row": row, "calls": numbers[row.pk], "cost_usd": costs.get(row.pk)} for row in found]
