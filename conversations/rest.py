"""`/api/webhooks`: callbacks of runs and how they went, sending one again, the secret that signs them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import admin_of, caller_of, find, of_organization, rows_of
from conversations import callbacks
from conversations.models import Run, WebhookSecret
from core.outbound import shown_url
from core.rest import Problem

_WHOSE = "The signing secret is the organization's"
FAULTS = {401: Problem, 403: Problem, 404: Problem, 422: Problem}


class CallbackOut(serializers.Serializer):
    """`next_attempt_at`: null where none follows; while the run goes on, the time of the send."""

    run_id = serializers.CharField(source="pk")
    delivery_id = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField(help_text="Without the end of its path, which may hold a token.")
    state = serializers.SerializerMethodField(help_text="waiting, sent or given_up")
    attempts = serializers.IntegerField(source="callback_attempts")
    next_attempt_at = serializers.DateTimeField(source="callback_due_at", allow_null=True)
    sent_at = serializers.DateTimeField(source="callback_sent_at", allow_null=True)
    status_code = serializers.IntegerField(source="callback_status_code", allow_null=True)
    error = serializers.CharField(source="callback_error", allow_null=True)

    def get_delivery_id(self, run: Run) -> str:
        return callbacks.delivery_id(run)

    def get_url(self, run: Run) -> str:
        return shown_url(run.callback_url or "")

    def get_state(self, run: Run) -> str:
        return callbacks.state_of(run)


class CallbackPage(serializers.Serializer):
    items = CallbackOut(many=True)
    next = serializers.CharField(allow_null=True)


class SecretState(serializers.Serializer):
    made_at = serializers.DateTimeField(allow_null=True)


class SecretOut(serializers.Serializer):
    secret = serializers.CharField()


class Callbacks(GenericAPIView):
    """Callbacks of the organization's runs, the newest run first."""

    queryset = Run.objects.none()
    serializer_class = CallbackOut

    @extend_schema(responses={200: CallbackPage, **FAULTS})
    def get(self, request: Request) -> Response:
        found: Any = self.paginate_queryset(_runs(request).only(*callbacks.COLUMNS))
        return self.get_paginated_response(CallbackOut(found, many=True).data)


class SendAgain(APIView):
    @extend_schema(request=None, responses={200: CallbackOut, 409: Problem, **FAULTS})
    def post(self, request: Request, run_id: str) -> Response:
        """Send a callback again, at once and with all its attempts; its delivery id stays."""
        caller = caller_of(request)
        run = find(_runs(request), "run", run_id)
        callbacks.send_again(run, caller.actor_id)
        run.refresh_from_db()
        return Response(CallbackOut(run).data)


class Secret(APIView):
    @extend_schema(responses={200: SecretState, **FAULTS})
    def get(self, request: Request) -> Response:
        """When the signing secret was made; null: with the first callback one will be."""
        of_organization(request, _WHOSE)
        row = WebhookSecret.objects.filter(organization_id=caller_of(request).organization_id).first()
        return Response(SecretState({"made_at": row.updated_at if row else None}).data)

    @extend_schema(request=None, responses={201: SecretOut, **FAULTS})
    def post(self, request: Request) -> Response:
        """A new signing secret, shown this one time. The old one signs nothing from now on."""
        of_organization(request, _WHOSE)
        caller = admin_of(request, "Signing secrets")
        made = callbacks.renew_secret(caller.organization_id, caller.actor_id)
        return Response({"secret": made}, 201, headers={"Cache-Control": "no-store"})


def _runs(request: Request) -> QuerySet[Run]:
    return callbacks.with_callback(rows_of(request, Run))


ROUTES = [
    path("webhooks", Callbacks.as_view(), name="webhooks"),
    path("webhooks/secret", Secret.as_view(), name="webhook-secret"),
    path("webhooks/<str:run_id>/send", SendAgain.as_view(), name="webhook-send"),
]
