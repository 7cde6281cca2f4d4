"""Rate limits: list, make, change, delete."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from accounts.rest import find
from budgets import actions
from budgets.api.common import FAULTS, admin_of, check_about, named_fields, rules_of
from budgets.models import RateLimit
from core.rest import read_body

RULES = actions.FIELDS[RateLimit]


class LimitIn(serializers.ModelSerializer):
    class Meta:
        model = RateLimit
        fields = RULES
        validators: list[Any] = []


class LimitOut(serializers.ModelSerializer):
    class Meta:
        model = RateLimit
        fields: tuple[str, ...] = ("id", *RULES, "created_at", "updated_at")


class LimitPage(serializers.Serializer):
    items = LimitOut(many=True)
    next = serializers.CharField(allow_null=True)


class Limits(GenericAPIView):
    """All rate limits of the organization, the newest first."""

    queryset = RateLimit.objects.none()
    serializer_class = LimitOut

    @extend_schema(responses={200: LimitPage, **FAULTS})
    def get(self, request: Request) -> Response:
        found: Any = self.paginate_queryset(rules_of(request, RateLimit))
        return self.get_paginated_response(LimitOut(found, many=True).data)

    @extend_schema(request=LimitIn, responses={201: LimitOut, **FAULTS})
    def post(self, request: Request) -> Response:
        caller = admin_of(request)
        given = read_body(request, LimitIn)
        check_about(request, given)
        row = RateLimit(organization=Organization(pk=caller.organization_id), **given)
        with named_fields():
            actions.create(row, caller.actor_id)
        return Response(LimitOut(row).data, 201)


class OneLimit(APIView):
    @extend_schema(responses={200: LimitOut, **FAULTS})
    def get(self, request: Request, limit_id: str) -> Response:
        return Response(LimitOut(find(rules_of(request, RateLimit), "limit", limit_id)).data)

    @extend_schema(request=LimitIn(partial=True), responses={200: LimitOut, **FAULTS})
    def patch(self, request: Request, limit_id: str) -> Response:
        caller = admin_of(request)
        row = find(rules_of(request, RateLimit), "limit", limit_id)
        given = read_body(request, LimitIn, row)
        check_about(request, {"scope": row.scope, "target": row.target} | given)
        with named_fields():
            actions.update(row, given, caller.actor_id)
        return Response(LimitOut(row).data)

    @extend_schema(responses={204: None, **FAULTS})
    def delete(self, request: Request, limit_id: str) -> Response:
        caller = admin_of(request)
        actions.delete(find(rules_of(request, RateLimit), "limit", limit_id), caller.actor_id)
        return Response(status=204)
