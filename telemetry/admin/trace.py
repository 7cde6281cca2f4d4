"""One call: as a chat, as what changed since the call before it, with its cost line by line, as JSON, and its facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from console.access import ADMINS, may, organization_ids
from console.chat import clipped, parsed, request_turns, response_turns
from console.display import pretty
from console.json_tree import json_tree
from console.registry import Page, names_of, register_page
from telemetry import reading
from telemetry.admin.answer import together
from telemetry.admin.changes import compare, tool_names
from telemetry.calls import beside
from telemetry.client import TelemetryUnavailable
from telemetry.explain import explain
from telemetry.queries import Trace, TraceRow
from telemetry.trace import MASKED, METADATA

TEMPLATE = "console/telemetry/trace.html"
LAST_TURNS = 8
BUCKETS = (
    ("input_tokens", "Input, not cached"),
    ("cached_input_tokens", "Read from cache"),
    ("cache_write_5m_tokens", "Written to cache, 5 min"),
    ("cache_write_1h_tokens", "Written to cache, 1 h"),
    ("completion_tokens", "Output"),
)
LINES = {
    "input": "Input, not cached",
    "cache_read": "Read from cache",
    "cache_write_5m": "Written to cache, 5 min",
    "cache_write_1h": "Written to cache, 1 h",
    "output": "Output",
    "given": "As the provider said",
    "recorded": "As recorded",
    "rounding": "Rounding",
}


@dataclass(frozen=True, slots=True)
class Tab:
    slug: str
    label: str
    template: str
    load: Callable[[Trace], dict[str, Any]]


def trace_view(request: HttpRequest, trace_id: str) -> HttpResponse:
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Trace", "trace_id": trace_id}
    tab = next((one for one in TABS if one.slug == request.GET.get("tab")), TABS[0])
    try:
        trace = find(request, trace_id)
        if trace is None:
            return TemplateResponse(request, TEMPLATE, {**context, "missing": True}, status=404)
        row = trace.row
        before, after = _neighbours(row)
        loaded = tab.load(trace)
    except TelemetryUnavailable as error:
        return TemplateResponse(request, TEMPLATE, {**context, "trouble": error.message})
    context |= {
        "row": row,
        "agent_name": names_of("agent", [row.agent_id]).get(row.agent_id, ""),
        "tab": tab,
        "tabs": TABS,
        "before": before,
        "after": after,
        "may_price": may(request, ADMINS, row.organization_id),
        **_state(trace),
        **loaded,
    }
    return TemplateResponse(request, TEMPLATE, context)


def find(request: HttpRequest, trace_id: str) -> Trace | None:
    """In any organization of the operator's. Raises TelemetryUnavailable."""
    ids = organization_ids(request)
    if ids is None:
        return reading.call(None, trace_id)
    return next((found for one in ids if (found := reading.call(one, trace_id))), None)


def _neighbours(row: TraceRow) -> tuple[TraceRow | None, TraceRow | None]:
    """The calls of the run before and after this one."""
    if reading.is_clickhouse():
        before, after = together(
            lambda: beside(row, "before", within="run"), lambda: beside(row, "after", within="run")
        )
        return before, after
    earlier, later = reading.around(row)
    return (earlier[-1] if earlier else None), (later[0] if later else None)


def _earlier(row: TraceRow) -> TraceRow | None:
    """The call of this kind before it: of the conversation, or of the run where only runs can be looked through."""
    if reading.is_clickhouse():
        return beside(row, "before", within="conversation")
    kind = (row.conversation_id, row.agent_id, row.call_type)
    same = [one for one in reading.around(row)[0] if (one.conversation_id, one.agent_id, one.call_type) == kind]
    return same[-1] if same else None


def _state(trace: Trace) -> dict[str, Any]:
    """What became of what was said."""
    row, kept = trace.row, bool(trace.request_json or trace.response_json)
    return {
        "metadata_only": row.content == METADATA and not kept,
        "masked": row.content == MASKED,
        "expired": row.content != METADATA and not kept and row.request_size_bytes > 0,
        "kept": kept,
        "is_corrected": trace.is_corrected,
    }


def _chat(trace: Trace) -> dict[str, Any]:
    body = parsed(trace.request_json)
    turns = request_turns(body)
    lead = [turn for turn in turns if turn.role == "system"]
    said = [turn for turn in turns if turn.role != "system"]
    return {
        "lead_turns": lead,
        "earlier_turns": said[:-LAST_TURNS],
        "request_turns": said[-LAST_TURNS:],
        "response_turns": response_turns(parsed(trace.response_json)),
        "offered": tool_names(body),
    }


def _diff(trace: Trace) -> dict[str, Any]:
    earlier = _earlier(trace.row)
    if earlier is None:
        return {"earlier": None, "within": "conversation" if reading.is_clickhouse() else "run"}
    found = reading.call(earlier.organization_id, earlier.id)
    said = found.request_json if found else ""
    changes = compare(parsed(said), parsed(trace.request_json)) if said and trace.request_json else None
    return {"earlier": earlier, "changes": changes}


def _cost(trace: Trace) -> dict[str, Any]:
    row, found = trace.row, explain(trace.row)
    price = {"provider_type": row.provider, "model": row.model, "organization": row.organization_id}
    return {
        "explanation": found,
        "repricing": trace.repricing,
        "lines": [(LINES.get(line.bucket, line.bucket), line) for line in found.lines],
        "set_price": f"{reverse('admin:providers_priceoverride_add')}?{urlencode(price)}",
        "has_factor": found.factor != Decimal(1),
        **_buckets(row),
    }


def _json(trace: Trace) -> dict[str, Any]:
    parts = (
        ("request", "Request, as it was sent", trace.request_json, trace.row.request_size_bytes),
        ("response", "Response", trace.response_json, trace.row.response_size_bytes),
        ("config", "Settings of the call", trace.llm_config_json, 0),
    )
    return {
        "parts": [
            {"id": key, "label": label, "size": size, "text": clipped(pretty(text)), "tree": _tree(text)}
            for key, label, text, size in parts
            if text
        ]
    }


def _tree(text: str) -> Any:
    value = parsed(text)
    return json_tree(value) if isinstance(value, dict | list) else None


def _details(trace: Trace) -> dict[str, Any]:
    row = trace.row
    return {
        **_buckets(row),
        "project_name": names_of("project", [row.project_id]).get(row.project_id, ""),
        "key_name": names_of("key", [row.api_key_id]).get(row.api_key_id, ""),
        "provider_key": names_of("provider", [row.provider_key_id]).get(row.provider_key_id, ""),
        "organization_name": names_of("org", [row.organization_id]).get(row.organization_id, ""),
    }


def _buckets(row: TraceRow) -> dict[str, Any]:
    """The disjoint parts of all tokens, with their share in percent."""
    found = [(label, getattr(row, name)) for name, label in BUCKETS]
    whole = row.total_tokens
    return {
        "buckets": [(label, value) for label, value in found if value is not None],
        "bar": [(i, label, value, 100 * value / whole) for i, (label, value) in enumerate(found) if value and whole],
        "tokens": whole,
    }


TABS = (
    Tab("chat", "Chat", "console/telemetry/trace_chat.html", _chat),
    Tab("diff", "Changes", "console/telemetry/trace_diff.html", _diff),
    Tab("cost", "Cost", "console/telemetry/trace_cost.html", _cost),
    Tab("json", "JSON", "console/telemetry/trace_json.html", _json),
    Tab("details", "Details", "console/telemetry/trace_details.html", _details),
)

register_page(Page("telemetry/traces/<str:trace_id>/", "telemetry_trace", trace_view))
