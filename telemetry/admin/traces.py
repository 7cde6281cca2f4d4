"""The trace explorer: calls of a period, filtered and paged by cursor; one call as chat, as JSON, with its cost."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from console.access import figure_organizations, organization_ids
from console.chat import Turn, clipped, parsed, request_turns, response_turns
from console.display import pretty
from console.paging import link_with
from console.periods import CHOICES, DEFAULT, Period, period_of
from console.registry import Page, names_of, register_page
from core.errors import Invalid
from telemetry.client import TelemetryUnavailable
from telemetry.queries import Trace, TraceFilters, TracePage, TraceRow, get_trace, list_traces

PAGE = 50
CALL_TYPES = ("agent_step", "summarization", "compaction", "embedding")
CUSTOM = "custom"
FILTERS = ("model", "provider", "call_type", "agent", "run", "conversation", "trace", "api_key", "error_type", "tag")
BUCKETS = (
    ("input_tokens", "Input, not cached"),
    ("cached_input_tokens", "Read from cache"),
    ("cache_write_5m_tokens", "Written to cache, 5 min"),
    ("cache_write_1h_tokens", "Written to cache, 1 h"),
    ("completion_tokens", "Output"),
)


class FilterForm(forms.Form):
    """What the address says; a field that is wrong filters nothing and says so."""

    period = forms.ChoiceField(
        choices=[*((key, label) for key, label, _ in CHOICES), (CUSTOM, "From … to …")], required=False
    )
    start = forms.DateTimeField(required=False, label="From (UTC)")
    end = forms.DateTimeField(required=False, label="To (UTC)")
    model = forms.CharField(required=False, max_length=200)
    provider = forms.CharField(required=False, max_length=100)
    call_type = forms.ChoiceField(
        choices=[("", "Any"), *((name, name.replace("_", " ")) for name in CALL_TYPES)], required=False
    )
    agent = forms.CharField(required=False, max_length=60, label="Agent id")
    run = forms.CharField(required=False, max_length=60, label="Run id")
    conversation = forms.CharField(required=False, max_length=60, label="Conversation id")
    trace = forms.CharField(required=False, max_length=64, label="Trace id")
    api_key = forms.CharField(required=False, max_length=60, label="API key id")
    error_type = forms.CharField(required=False, max_length=100, label="Error type")
    tag = forms.CharField(required=False, max_length=200, label="Agent tag")
    failed = forms.BooleanField(required=False, label="Errors only")
    byok = forms.ChoiceField(
        choices=[("", "Any"), ("1", "Own keys (BYOK)"), ("0", "Base keys")], required=False, label="Keys"
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("start") and data.get("end") and data["start"] >= data["end"]:
            self.add_error("end", "This is before the beginning.")
        return data


@dataclass(frozen=True, slots=True)
class Wanted:
    period: Period
    filters: TraceFilters


def wanted(form: FilterForm) -> Wanted:
    form.is_valid()
    data = form.cleaned_data
    period = period_of(data.get("period") or DEFAULT)
    start, end = data.get("start"), data.get("end")
    if data.get("period") == CUSTOM and start:
        stop = end.astimezone(UTC) if end else period.end
        period = Period(CUSTOM, "From … to …", start.astimezone(UTC), stop)
    byok = data.get("byok")
    filters = TraceFilters(
        start=period.start,
        end=period.end,
        model=data.get("model", ""),
        provider=data.get("provider", ""),
        call_type=data.get("call_type", ""),
        agent_id=data.get("agent", ""),
        run_id=data.get("run", ""),
        conversation_id=data.get("conversation", ""),
        trace_id=data.get("trace", ""),
        api_key_id=data.get("api_key", ""),
        error_type=data.get("error_type", ""),
        tag=data.get("tag", ""),
        is_error=True if data.get("failed") else None,
        is_byok=bool(int(byok)) if byok else None,
    )
    return Wanted(period, filters)


def traces_view(request: HttpRequest) -> HttpResponse:
    initial = {"period": DEFAULT}
    form = FilterForm({**initial, **request.GET.dict()})
    asked = wanted(form)
    organizations = figure_organizations(request)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Traces",
        "form": form,
        "period": asked.period,
        "filtered": any(form.cleaned_data.get(name) for name in (*FILTERS, "failed", "byok")),
        "several": len(organizations) > 1,
        "is_fullwidth": "1",
    }
    cursor = request.GET.get("after", "")
    try:
        page = list_traces(organizations[0], asked.filters, cursor, PAGE) if organizations else TracePage([], "")
    except TelemetryUnavailable as error:
        return TemplateResponse(request, "console/telemetry/traces.html", {**context, "trouble": error.message})
    except Invalid:
        raise Http404("This page of traces does not exist: begin at the newest.") from None
    context |= {
        "traces": page.rows,
        "agent_names": names_of("agent", (row.agent_id for row in page.rows)),
        "older": link_with(request, after=page.cursor) if page.cursor else "",
        "newest": link_with(request, after=None) if cursor else "",
    }
    return TemplateResponse(request, "console/telemetry/traces.html", context)


def find(request: HttpRequest, trace_id: str) -> Trace | None:
    """In any organization of the operator's. Raises TelemetryUnavailable."""
    ids = organization_ids(request)
    for organization_id in [None] if ids is None else ids:
        found = get_trace(organization_id, trace_id)
        if found is not None:
            return found
    return None


def trace_view(request: HttpRequest, trace_id: str) -> HttpResponse:
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Trace", "trace_id": trace_id}
    try:
        trace = find(request, trace_id)
    except TelemetryUnavailable as error:
        return TemplateResponse(request, "console/telemetry/trace.html", {**context, "trouble": error.message})
    if trace is None:
        context["missing"] = True
        return TemplateResponse(request, "console/telemetry/trace.html", context, status=404)
    row = trace.row
    context |= {
        "row": row,
        "agent_names": names_of("agent", [row.agent_id]),
        "buckets": _buckets(row),
        "tokens": row.total_tokens,
        "request_json": clipped(pretty(trace.request_json)),
        "response_json": clipped(pretty(trace.response_json)),
        "config_json": clipped(pretty(trace.llm_config_json)),
        "request_turns": request_turns(parsed(trace.request_json)),
        "response_turns": _answer(trace),
        "expired": not trace.request_json and row.request_size_bytes > 0,
    }
    return TemplateResponse(request, "console/telemetry/trace.html", context)


def _answer(trace: Trace) -> list[Turn]:
    return response_turns(parsed(trace.response_json))


def _buckets(row: TraceRow) -> list[tuple[str, int]]:
    found = [(label, getattr(row, name)) for name, label in BUCKETS]
    return [(label, value) for label, value in found if value is not None]


register_page(Page("telemetry/traces/", "telemetry_traces", traces_view))
register_page(Page("telemetry/traces/<str:trace_id>/", "telemetry_trace", trace_view))
