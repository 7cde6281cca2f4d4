"""Steps: one model call of a run, with its tokens, times and tools."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from console.display import short, span
from conversations.admin.columns import SpentAdmin, tokens_of
from conversations.admin.turns import turns_of
from conversations.models import Step, StepStatus

BUCKETS = (
    ("input", "Input, not cached"),
    ("cache_read", "Read from cache"),
    ("cache_write_5m", "Written to cache, 5 min"),
    ("cache_write_1h", "Written to cache, 1 h"),
    ("output", "Output"),
    ("reasoning", "Reasoning, within output"),
)


@admin.register(Step)
class StepAdmin(SpentAdmin):
    ended_well = StepStatus.SUCCESS
    list_display = (
        "step",
        "state",
        "begun",
        "model_handle",
        "agent_link",
        "tokens",
        "cost",
        "first",
        "took",
        "organization",
    )
    list_filter = ("status", "provider_category")
    search_fields = ("model__exact", "trace_call_id__exact")
    search_help_text = "By id of a step, a run or an agent; or by the exact model"
    id_lookups = {"agent": "agent_id", "run": "run_id"}

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows.defer("error_data", "tags", "agent__system", "agent__metadata", "agent__tool_rules"), duplicates

    @admin.display(description="step")
    def step(self, obj: Step) -> str:
        return short(str(obj.pk))

    @admin.display(description="model call", ordering="model_ms")
    def took(self, obj: Step) -> str:
        return span(obj.model_ms)

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        step = self.get_object(request, object_id)
        if step is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        usage = step.usage if isinstance(step.usage, dict) else {}
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": step,
            "title": short(str(step.pk)),
            "buckets": [(label, usage.get(name)) for name, label in BUCKETS if usage.get(name) is not None],
            "tokens": tokens_of(usage),
            "turns": turns_of(step.messages.order_by("seq").defer("text")[:60]),
        }
        return TemplateResponse(request, "console/conversations/step.html", context)
