"""Steps: one model call of a run, with its tokens, times and tools."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from console.admin_base import ReadOnlyAdmin
from console.display import DASH, badge, count, link, short, span, usd, when
from conversations.admin.run_admin import tokens_of
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
class StepAdmin(ReadOnlyAdmin):
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
    list_select_related = ("agent", "organization")
    list_fullwidth = True
    list_filter = ("status", "provider_category")
    search_fields = ("model__exact", "trace_call_id__exact")
    search_help_text = "By id of a step, a run or an agent; or by the exact model"
    id_lookups = {"agent": "agent_id", "run": "run_id"}
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("agent", "organization")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> Any:
        rows, duplicates = super().get_search_results(request, queryset, search_term)
        return rows.defer("error_data", "tags", "agent__system", "agent__metadata", "agent__tool_rules"), duplicates

    @admin.display(description="step")
    def step(self, obj: Step) -> str:
        return short(str(obj.pk))

    @admin.display(description="status", ordering="status")
    def state(self, obj: Step) -> SafeString:
        return badge(obj.status)

    @admin.display(description="agent")
    def agent_link(self, obj: Step) -> SafeString | str:
        return link(str(obj.agent_id), obj.agent.name)

    @admin.display(description="tokens")
    def tokens(self, obj: Step) -> str:
        return count(tokens_of(obj.usage))

    @admin.display(description="cost", ordering="cost_usd")
    def cost(self, obj: Step) -> str:
        return DASH if obj.cost_usd is None and obj.status != StepStatus.SUCCESS else usd(obj.cost_usd)

    @admin.display(description="first token", ordering="ttft_ms")
    def first(self, obj: Step) -> str:
        return span(obj.ttft_ms)

    @admin.display(description="model call", ordering="model_ms")
    def took(self, obj: Step) -> str:
        return span(obj.model_ms)

    @admin.display(description="begun", ordering="created_at")
    def begun(self, obj: Step) -> SafeString | str:
        return when(obj.created_at)

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
