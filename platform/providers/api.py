"""The routes of `/api` about own keys and the rules about them. A key goes in and never comes out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.access import Caller
from accounts.rest import admin_of, find, own_project, rows_of
from core.errors import NotFound
from core.ids import is_id
from core.rest import OneOf, PageQuery, Problem, read_body, read_query
from providers import actions, rotation
from providers.actions import ProviderDraft
from providers.models import KeyRule, Provider, Rule, ToolMode

FAULTS = {400: Problem, 401: Problem, 403: Problem, 404: Problem, 409: Problem, 422: Problem}
STATES = ("off", "unreadable", "failing", "unchecked", "ok")


class ProviderOut(serializers.ModelSerializer):
    project_id = serializers.CharField(allow_null=True)
    state = serializers.SerializerMethodField()

    class Meta:
        model = Provider
        fields = (
            "id",
            "name",
            "provider_type",
            "project_id",
            "identity_id",
            "base_url",
            "region",
            "api_version",
            "tool_mode",
            "enabled",
            "fingerprint",
            "state",
            "failing_since",
            "last_error",
            "last_error_at",
            "checked_at",
            "next_check_at",
            "last_used_at",
            "headroom",
            "previous_fingerprint",
            "previous_until",
            "rotated_at",
            "stood_in_at",
            "created_at",
            "updated_at",
        )

    @extend_schema(responses=OneOf(STATES))
    def get_state(self, row: Any) -> str:
        if not row.enabled:
            return "off"
        if getattr(row.api_key, "readable", True) is False:
            return "unreadable"
        if row.failing_since:
            return "failing"
        return "ok" if row.checked_at or row.last_used_at else "unchecked"


class ProviderChanges(serializers.Serializer):
    name = serializers.CharField(max_length=100, required=False)
    api_key = serializers.CharField(max_length=4000, required=False, allow_blank=True, write_only=True)
    access_key = serializers.CharField(max_length=200, required=False, allow_blank=True, write_only=True)
    base_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    region = serializers.CharField(max_length=60, required=False, allow_blank=True)
    api_version = serializers.CharField(max_length=40, required=False, allow_blank=True)
    tool_mode = OneOf(ToolMode.choices, required=False, allow_blank=True)
    enabled = serializers.BooleanField(required=False)


class ProviderIn(ProviderChanges):
    name = serializers.CharField(max_length=100)
    provider_type = serializers.CharField(max_length=40)
    project_id = serializers.CharField(max_length=60, required=False, allow_blank=True)
    identity_id = serializers.CharField(max_length=200, required=False, allow_blank=True)
    check_key = serializers.BooleanField(default=True, help_text="Ask the provider for its models before storing.")


class RotateIn(serializers.Serializer):
    api_key = serializers.CharField(max_length=4000, write_only=True)
    overlap_hours = serializers.FloatField(
        default=24, min_value=0, max_value=720, help_text="So long the old key stands by."
    )


class Checked(serializers.Serializer):
    models = serializers.IntegerField(help_text="How many models the provider listed.")
    provider = ProviderOut()


class ProviderPage(serializers.Serializer):
    items = ProviderOut(many=True)
    next = serializers.CharField(allow_null=True)


class ProvidersQuery(PageQuery):
    name = serializers.CharField(max_length=100, default="", allow_blank=True)
    project_id = serializers.CharField(max_length=60, default="", allow_blank=True)
    identity_id = serializers.CharField(max_length=200, default="", allow_blank=True)


class RuleIn(serializers.Serializer):
    rule = OneOf([("", "none"), *Rule.choices], allow_blank=True)
    project_id = serializers.CharField(max_length=60, default="", allow_blank=True)


class RuleOut(serializers.ModelSerializer):
    project_id = serializers.CharField(allow_null=True)

    class Meta:
        model = KeyRule
        fields = ("rule", "project_id", "updated_at")


class RulePage(serializers.Serializer):
    items = RuleOut(many=True)
    next = serializers.CharField(allow_null=True)


def _find(request: Request, provider_id: str) -> Provider:
    return find(rows_of(request, Provider), "provider", provider_id)


def _admin(request: Request) -> Caller:
    return admin_of(request, "Own keys and their rules")


class Providers(GenericAPIView):
    """Own keys, the newest first."""

    queryset = Provider.objects.none()
    serializer_class = ProviderOut

    @extend_schema(parameters=[ProvidersQuery], responses={200: ProviderPage, **FAULTS})
    def get(self, request: Request) -> Response:
        asked = read_query(request, ProvidersQuery)
        wanted = {name: asked[name] for name in ("name", "identity_id") if asked[name]}
        if asked["project_id"]:
            if not is_id("project", asked["project_id"]):
                raise NotFound(f"Project with ID {asked['project_id']} not found.")
            wanted["project_id"] = asked["project_id"]
        found: Any = self.paginate_queryset(rows_of(request, Provider).filter(**wanted))
        return self.get_paginated_response(ProviderOut(found, many=True).data)

    @extend_schema(request=ProviderIn, responses={201: ProviderOut, **FAULTS})
    def post(self, request: Request) -> Response:
        """Store a key once the provider has taken it."""
        caller = _admin(request)
        given = read_body(request, ProviderIn)
        check = given.pop("check_key")
        given["project_id"] = own_project(request, given.get("project_id") or "")
        row = actions.create_provider(
            caller.organization_id, ProviderDraft(**given), check=check, actor=caller.actor_id
        )
        return Response(ProviderOut(row).data, 201)


class OneProvider(APIView):
    @extend_schema(responses={200: ProviderOut, **FAULTS})
    def get(self, request: Request, provider_id: str) -> Response:
        return Response(ProviderOut(_find(request, provider_id)).data)

    @extend_schema(request=ProviderChanges, responses={200: ProviderOut, **FAULTS})
    def patch(self, request: Request, provider_id: str) -> Response:
        """A key given here replaces the old one at once; `rotate` leaves the old one standing by."""
        caller = _admin(request)
        row = actions.update_provider(
            _find(request, provider_id), read_body(request, ProviderChanges), actor=caller.actor_id
        )
        return Response(ProviderOut(row).data)

    @extend_schema(responses={204: None, **FAULTS})
    def delete(self, request: Request, provider_id: str) -> Response:
        caller = _admin(request)
        actions.delete_provider(_find(request, provider_id), actor=caller.actor_id)
        return Response(status=204)


class CheckView(APIView):
    @extend_schema(request=None, responses={200: Checked, **FAULTS})
    def post(self, request: Request, provider_id: str) -> Response:
        """Ask the provider now whether it takes the key; what it says is kept."""
        _admin(request)
        row = _find(request, provider_id)
        models = actions.check_provider(row)
        return Response({"models": len(models), "provider": ProviderOut(row).data})


class RotateView(APIView):
    @extend_schema(request=RotateIn, responses={200: ProviderOut, **FAULTS})
    def post(self, request: Request, provider_id: str) -> Response:
        """Try the new key, make it the one in use, and keep the old one standing by for a time."""
        caller = _admin(request)
        given = read_body(request, RotateIn)
        overlap = timedelta(hours=given["overlap_hours"])
        row = rotation.rotate(_find(request, provider_id), given["api_key"], overlap, caller.actor_id)
        return Response(ProviderOut(row).data)


class KeyRules(GenericAPIView):
    """Whose keys calls are made with: the organization's rule (`project_id` null) and those of projects."""

    queryset = KeyRule.objects.none()
    serializer_class = RuleOut

    @extend_schema(parameters=[PageQuery], responses={200: RulePage, **FAULTS})
    def get(self, request: Request) -> Response:
        found: Any = self.paginate_queryset(rows_of(request, KeyRule))
        return self.get_paginated_response(RuleOut(found, many=True).data)

    @extend_schema(request=RuleIn, responses={200: RuleOut, 204: None, **FAULTS})
    def put(self, request: Request) -> Response:
        """Set the rule of the organization or of a project; an empty one takes it away."""
        caller = _admin(request)
        given = read_body(request, RuleIn)
        project_id = own_project(request, given["project_id"])
        row = actions.set_rule(caller.organization_id, given["rule"], project_id=project_id, actor=caller.actor_id)
        return Response(status=204) if row is None else Response(RuleOut(row).data)


ROUTES = [
    path("providers", Providers.as_view(), name="rest-providers"),
    path("providers/<str:provider_id>", OneProvider.as_view(), name="rest-provider"),
    path("providers/<str:provider_id>/check", CheckView.as_view(), name="rest-provider-check"),
    path("providers/<str:provider_id>/rotate", RotateView.as_view(), name="rest-provider-rotate"),
    path("key-rules", KeyRules.as_view(), name="rest-key-rules"),
]
