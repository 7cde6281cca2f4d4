"""Single calls: a list with every filter and by words, one with what was said, and why it costs what it costs."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import organization_of, own_project, project_of
from core.errors import NotFound
from core.rest import OneOf, PageQuery, Problem, page_of, read_query
from telemetry.api.asking import RangeQuery
from telemetry.api.shapes import ExplanationShape, TraceDetail, TracePage, explanation_out, trace_out
from telemetry.calls import MOST_WORDS, PRICES, Wanted, list_calls
from telemetry.explain import explain
from telemetry.filters import FLAGS, TEXTS, TraceFilters, wanted_by
from telemetry.queries import Trace
from telemetry.reading import call

FAULTS = {401: Problem, 403: Problem, 422: Problem, 503: Problem}
PAYLOADS = ("request_json", "response_json", "llm_config_json")


class TracesQuery(RangeQuery, PageQuery):
    words = serializers.CharField(
        max_length=500,
        default="",
        allow_blank=True,
        help_text=f"Up to {MOST_WORDS} words, each of which was sent or answered, in any case. Ask for a short time.",
    )
    price = OneOf(tuple(PRICES), default="", help_text="Whether a price is known.")
    min_ms = serializers.IntegerField(min_value=0, max_value=2**31, default=0, help_text="Took at least this long.")
    min_usd = serializers.DecimalField(24, 12, required=False, min_value=0, help_text="Cost at least this much.")

    def get_fields(self) -> dict[str, serializers.Field]:
        texts = {name: serializers.CharField(max_length=500, default="", allow_blank=True) for name in TEXTS}
        flags = {name: OneOf(["true", "false"], default="") for name in FLAGS}
        return super().get_fields() | texts | flags


class Traces(APIView):
    """Calls of a time, the newest first."""

    @extend_schema(parameters=[TracesQuery], responses={200: TracePage, **FAULTS})
    def get(self, request: Request) -> Response:
        given = read_query(request, TracesQuery)
        page = list_calls(_wanted(request, given), given["after"], given["limit"])
        return Response(page_of([trace_out(row) for row in page.rows], page.cursor))


class OneTrace(APIView):
    """One call, with what was said."""

    @extend_schema(responses={200: TraceDetail, 404: Problem, **FAULTS})
    def get(self, request: Request, trace_id: str) -> Response:
        trace = _found(request, trace_id)
        said = {name: getattr(trace, name) or None for name in PAYLOADS}
        return Response(trace_out(trace.row) | said | {"is_corrected": trace.is_corrected})


class WhyItCosts(APIView):
    """The cost of one call line by line, with the prices it was made from, and in words."""

    @extend_schema(responses={200: ExplanationShape, 404: Problem, **FAULTS})
    def get(self, request: Request, trace_id: str) -> Response:
        trace = _found(request, trace_id)
        return Response(explanation_out(explain(trace.row, trace.repricing)))


def _found(request: Request, trace_id: str) -> Trace:
    trace = call(organization_of(request), trace_id)
    if trace is None or project_of(request) not in ("", trace.row.project_id):
        raise NotFound(f"Trace with ID {trace_id[:60]} not found; it may have expired.")
    return trace


def _wanted(request: Request, given: dict[str, Any]) -> Wanted:
    asked = {name: given[name] for name in ("start", "end", *TEXTS)}
    asked |= {name: {"true": True, "false": False}.get(given[name]) for name in FLAGS}
    asked["project_id"] = own_project(request, given["project_id"])
    more = {name: given[name] for name in ("words", "price", "min_ms")}
    return wanted_by(organization_of(request), TraceFilters(**asked), min_usd=given.get("min_usd"), **more)
