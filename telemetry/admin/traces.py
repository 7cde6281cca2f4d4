"""The trace explorer: calls of a period, with their course over time, filtered, searched and paged by cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from console.export import csv_response
from console.paging import link_with
from console.periods import PRESETS, range_fields
from console.registry import Page, fallbacks, register_page
from core.errors import Invalid
from telemetry.admin.answer import together
from telemetry.admin.asked import reach, with_added_filter
from telemetry.admin.dimensions import SHOWN, words
from telemetry.admin.strip import strip
from telemetry.admin.wanted import ID_LABELS, PRICE_STATES, STATES, TracesAsked, read
from telemetry.calls import TracePage, Wanted, course, list_calls
from telemetry.client import TelemetryUnavailable
from telemetry.queries import TraceRow

PAGE, CSV_ROWS = 50, 10_000
TEMPLATE = "console/telemetry/traces.html"
COLUMNS = (
    ("Time (UTC)", "created_at"),
    ("Provider", "provider"),
    ("Model", "model"),
    ("Own key", "is_byok"),
    ("Agent", "agent_id"),
    ("Kind of call", "call_type"),
    ("Attempt", "attempt"),
    ("Finish reason", "finish_reason"),
    ("Error", "error_type"),
    ("Input tokens", "input_tokens"),
    ("Read from cache", "cached_input_tokens"),
    ("Written to cache", "cache_write_tokens"),
    ("Output tokens", "completion_tokens"),
    ("Cost (USD)", "cost_usd"),
    ("Price source", "price_source"),
    ("Estimated", "usage_estimated"),
    ("First token (ms)", "ttft_ms"),
    ("Latency (ms)", "latency_ms"),
    ("Conversation", "conversation_id"),
    ("Run", "run_id"),
    ("Step", "step_id"),
    ("API key", "api_key_id"),
    ("End user", "identity_id"),
    ("Organization", "organization_id"),
    ("Call", "id"),
)


@dataclass(frozen=True, slots=True)
class _Choice:
    """What can be filtered by, in the list to choose from."""

    key: str
    label: str


def traces_view(request: HttpRequest) -> HttpResponse:
    if request.GET.get("add") and request.GET.get("value", "").strip():
        return HttpResponseRedirect(with_added_filter(request, also=tuple(ID_LABELS)))
    asked = read(request)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Traces", **_choices(asked)}
    found = reach(request, asked.filters)
    if found is None:
        return TemplateResponse(request, TEMPLATE, {**context, "none": True})
    try:
        return _found(request, asked, asked.wanted(found), context)
    except TelemetryUnavailable as error:
        known = fallbacks(request, asked.period)
        return TemplateResponse(request, TEMPLATE, {**context, "trouble": error.message, "fallbacks": known})
    except Invalid as error:
        if request.GET.get("after"):
            raise Http404("This page of traces does not exist: begin at the newest.") from None
        return TemplateResponse(request, TEMPLATE, {**context, "refused": error.message})


def _found(request: HttpRequest, asked: TracesAsked, wanted: Wanted, context: dict[str, Any]) -> HttpResponse:
    if request.GET.get("format") == "csv":
        return _csv(asked, list_calls(wanted, limit=CSV_ROWS))
    cursor = request.GET.get("after", "")
    page, steps = together(lambda: list_calls(wanted, cursor, PAGE), lambda: course(wanted))
    rows: list[TraceRow] = list(page.rows)
    context |= {
        "traces": rows,
        "strip": strip(asked, steps),
        "agent_names": words("agent", (row.agent_id for row in rows)),
        "older": link_with(request, after=page.cursor) if page.cursor else "",
        "newest": link_with(request, after=None) if cursor else "",
        "csv": f"{asked.address()}&format=csv",
        "csv_rows": CSV_ROWS,
    }
    return TemplateResponse(request, TEMPLATE, context)


def _choices(asked: TracesAsked) -> dict[str, Any]:
    return {
        "asked": asked,
        "period": asked.period,
        "presets": PRESETS,
        **range_fields(asked.period),
        "states": STATES,
        "price_states": PRICE_STATES,
        "dimensions": [*SHOWN, *(_Choice(key, label) for key, label in ID_LABELS.items())],
        "chips": asked.chips(),
        "cleared": TracesAsked(asked.period, {}).address(),
        "other_parameters": asked.parameters("period", "start", "end"),
        "form_parameters": asked.parameters("failed", "price", "q", "min_ms", "min_usd"),
        "all_parameters": asked.parameters(),
        "is_fullwidth": "1",
    }


def _csv(asked: TracesAsked, page: TracePage) -> HttpResponse:
    name = f"traces-{asked.period.start:%Y%m%d}-{asked.period.end:%Y%m%d}"
    rows = [[getattr(row, field) for _, field in COLUMNS] for row in page.rows]
    return csv_response(name, [label for label, _ in COLUMNS], rows)


register_page(Page("telemetry/traces/", "telemetry_traces", traces_view))
