"""Single calls: a list with every filter, and one with what was said."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import organization_of, project_of
from core.errors import NotFound
from core.rest import OneOf, PageQuery, Problem, page_of, read_query
from telemetry.api.asking import RangeQuery
from telemetry.api.shapes import TraceDetail, TracePage, trace_out
from telemetry.queries import TraceFilters, get_trace, list_traces

FAULTS = {401: Problem, 403: Problem, 422: Problem, 503: Problem}
PAYLOADS = ("request_json", "response_json", "llm_config_json")
FLAGS = ("is_error", "is_byok")
TEXTS = tuple(f.name for f in fields(TraceFilters) if f.name not in ("start", "end", *FLAGS))


class TracesQuery(RangeQuery, PageQuery):
    def get_fields(self) -> dict[str, serializers.Field]:
        texts = {name: serializers.CharField(max_length=500, default="", allow_blank=True) for name in TEXTS}
        flags = {name: OneOf(["true", "false"], default="") for name in FLAGS}
        return super().get_fields() | texts | flags


class Traces(APIView):
    """Calls of a time, the newest first."""

    @extend_schema(parameters=[TracesQuery], responses={200: TracePage, **FAULTS})
    def get(self, request: Request) -> Response:
        given = read_query(request, TracesQuery)
        page = list_traces(organization_of(request), _filters(request, given), given["after"], given["limit"])
        return Response(page_of([trace_out(row) for row in page.rows], page.cursor))


class OneTrace(APIView):
    """One call, with what was said."""

    @extend_schema(responses={200: TraceDetail, 404: Problem, **FAULTS})
    def get(self, request: Request, trace_id: str) -> Response:
        trace = get_trace(organization_of(request), trace_id)
        if trace is None:
            raise NotFound(f"Trace with ID {trace_id[:60]} not found; it may have expired.")
        return Response(trace_out(trace.row) | {name: getattr(trace, name) or None for name in PAYLOADS})


def _filters(request: Request, given: dict[str, Any]) -> TraceFilters:
    found: dict[str, Any] = {name: given[name] for name in ("start", "end", *TEXTS)}
    found |= {name: {"true": True, "false": False}.get(given[name]) for name in FLAGS}
    return TraceFilters(**found | {"project_id": project_of(request) or given["project_id"]})
