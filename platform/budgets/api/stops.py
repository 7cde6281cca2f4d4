"""Stops: list, set, lift."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import find
from budgets import stops
from budgets.api.common import FAULTS, admin_of, check_about, named_fields, rules_of
from budgets.models import Scope, Stop
from budgets.stops import NewStop
from core.rest import OneOf, PageQuery, Problem, read_body, read_query


class StopIn(serializers.Serializer):
    scope = OneOf(Scope.choices)
    target = serializers.CharField(max_length=255, default="", allow_blank=True)
    reason = serializers.CharField(max_length=1000)


class LiftIn(serializers.Serializer):
    reason = serializers.CharField(max_length=1000, default="", allow_blank=True)


class StopOut(serializers.ModelSerializer):
    class Meta:
        model = Stop
        fields: tuple[str, ...] = (
            "id",
            "scope",
            "target",
            "reason",
            "stopped_by_id",
            "created_at",
            "lifted_at",
            "lifted_by_id",
            "lift_reason",
        )


class StopMade(StopOut):
    cancelled_runs = serializers.IntegerField()

    class Meta(StopOut.Meta):
        fields = (*StopOut.Meta.fields, "cancelled_runs")


class StopPage(serializers.Serializer):
    items = StopOut(many=True)
    next = serializers.CharField(allow_null=True)


class StopsQuery(PageQuery):
    standing = OneOf(["true", "false"], default="")


class Stops(GenericAPIView):
    """Stops of the organization, the newest first; `standing=true`: those that were not lifted."""

    queryset = Stop.objects.none()
    serializer_class = StopOut

    @extend_schema(parameters=[StopsQuery], responses={200: StopPage, **FAULTS})
    def get(self, request: Request) -> Response:
        standing = read_query(request, StopsQuery)["standing"]
        rows = rules_of(request, Stop)
        if standing:
            rows = rows.filter(lifted_at__isnull=standing == "true")
        found: Any = self.paginate_queryset(rows)
        return self.get_paginated_response(StopOut(found, many=True).data)

    @extend_schema(request=StopIn, responses={201: StopMade, 409: Problem, **FAULTS})
    def post(self, request: Request) -> Response:
        """Refuse what is sent to the target from now on, and cancel what runs for it."""
        caller = admin_of(request)
        given = read_body(request, StopIn)
        check_about(request, given)
        with named_fields():
            row, cancelled = stops.stop(NewStop(organization_id=caller.organization_id, **given), caller.actor_id)
        return Response(StopOut(row).data | {"cancelled_runs": cancelled}, 201)


class LiftView(APIView):
    @extend_schema(request=LiftIn, responses={200: StopOut, **FAULTS})
    def post(self, request: Request, stop_id: str) -> Response:
        """Let the target go on. A stop that was lifted before stays as it was."""
        caller = admin_of(request)
        row = find(rules_of(request, Stop), "stop", stop_id)
        given = read_body(request, LiftIn)
        stops.lift(row, caller.actor_id, given["reason"])
        row.refresh_from_db()
        return Response(StopOut(row).data)
