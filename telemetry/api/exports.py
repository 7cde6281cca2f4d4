"""Exports by `/api`: ask for one, see how far it is, fetch its file, take it away."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import FileResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import caller_of, find, own_project, rows_of
from core.rest import OneOf, Pages, Problem, read_body
from telemetry.exports import actions
from telemetry.exports.http import file_response
from telemetry.filters import FLAGS, TEXTS, TraceFilters
from telemetry.models.export import Export, ExportFormat

FAULTS = {401: Problem, 403: Problem, 404: Problem, 409: Problem, 422: Problem}


class Asked(serializers.Serializer):
    """Filters as of the list of traces."""

    format = OneOf(ExportFormat.values)
    with_payloads = serializers.BooleanField(default=False, help_text="Requests and responses too.")
    start = serializers.DateTimeField(required=False, help_text="30 days before the end, unless given.")
    end = serializers.DateTimeField(required=False, help_text="Not included; now, unless given.")

    def get_fields(self) -> dict[str, serializers.Field]:
        texts = {name: serializers.CharField(max_length=500, required=False) for name in TEXTS}
        flags = {name: serializers.BooleanField(required=False, allow_null=True) for name in FLAGS}
        return super().get_fields() | texts | flags

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields))
        if unknown:
            raise serializers.ValidationError({unknown[0][:40]: f"Not known; there are: {', '.join(self.fields)}."})
        if attrs.get("start") and attrs.get("end") and attrs["start"] >= attrs["end"]:
            raise serializers.ValidationError({"start": "This must lie before the end."})
        return attrs


class ExportOut(serializers.ModelSerializer):
    class Meta:
        model = Export
        fields = (
            "id",
            "format",
            "with_payloads",
            "filters",
            "state",
            "progress",
            "rows",
            "size_bytes",
            "error",
            "created_at",
            "started_at",
            "finished_at",
        )


class Exports(APIView):
    """The organization's exports, the newest first; a POST asks for one more."""

    only_reads = True  # of traces; what is written is a file to read

    @extend_schema(responses={200: ExportOut(many=True), **FAULTS})
    def get(self, request: Request) -> Response:
        pages = Pages()
        found = pages.paginate_queryset(_rows(request), request, self)
        return pages.get_paginated_response(ExportOut(found, many=True).data)

    @extend_schema(request=Asked, responses={202: ExportOut, 429: Problem, **FAULTS})
    def post(self, request: Request) -> Response:
        caller = caller_of(request)
        given = read_body(request, Asked)
        form = {"format": given.pop("format"), "with_payloads": given.pop("with_payloads")}
        given["project_id"] = own_project(request, given.get("project_id", ""))
        wanted = actions.Wanted(**form, filters=TraceFilters(**given))
        export = actions.request_export(caller.organization_id, caller.actor_id, wanted)
        return Response(ExportOut(export).data, 202)


class OneExport(APIView):
    @extend_schema(responses={200: ExportOut, **FAULTS})
    def get(self, request: Request, export_id: str) -> Response:
        return Response(ExportOut(_reach(request, export_id)).data)

    @extend_schema(responses={204: None, **FAULTS})
    def delete(self, request: Request, export_id: str) -> Response:
        """Cancels one that is being made, and removes its file."""
        actions.remove(_reach(request, export_id))
        return Response(status=204)


class ExportFile(APIView):
    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, **FAULTS})
    def get(self, request: Request, export_id: str) -> FileResponse:
        return file_response(_reach(request, export_id))


def _rows(request: Request) -> QuerySet[Export]:
    """Of one organization; of a project, those that were narrowed to it."""
    caller_of(request)
    return rows_of(request, Export, lambda project_id: Q(filters__project_id=project_id))


def _reach(request: Request, export_id: str) -> Export:
    return find(_rows(request), "export", export_id)
