"""The API of `/api`: every room's routes, its description at /api/schema, its documentation at /api/docs."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, re_path, reverse
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from budgets.api import ROUTES as BUDGET_ROUTES
from conversations.rest import ROUTES as WEBHOOK_ROUTES
from core.errors import NotFound
from providers.api import ROUTES as PROVIDER_ROUTES
from telemetry.api import ROUTES as TELEMETRY_ROUTES

# Each room lists its routes, paths without a slash at either end; the rooms beside and above add theirs here.
ROUTES = [*BUDGET_ROUTES, *PROVIDER_ROUTES, *TELEMETRY_ROUTES, *WEBHOOK_ROUTES]


@extend_schema(exclude=True)
class Index(APIView):
    """What can be asked for here."""

    permission_classes = [AllowAny]

    def get(self, request: Request) -> Response:
        plain = [route for route in ROUTES if "<" not in str(route.pattern)]
        found = {str(route.pattern): request.build_absolute_uri(f"/api/{route.pattern}") for route in plain}
        described = {name: request.build_absolute_uri(reverse(f"rest-{name}")) for name in ("schema", "docs")}
        return Response(found | described)


@extend_schema(exclude=True)
class NoSuchRoute(APIView):
    """A path that is none of these; with a slash too many, the way to the one without."""

    authentication_classes: list[Any] = []
    permission_classes = [AllowAny]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        bare = request.path.rstrip("/")
        if bare != request.path and bare.startswith("/api"):
            query = request.META.get("QUERY_STRING", "")
            return redirect(f"{bare}?{query}" if query else bare, permanent=True, preserve_request=True)
        answer: HttpResponse = super().dispatch(request, *args, **kwargs)
        return answer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        raise NotFound(f"There is nothing at this address; {reverse('rest-index')} lists what there is.")


def docs(request: HttpRequest) -> HttpResponse:
    """Ninja's page, whose assets are served from here."""
    settings = {"layout": "BaseLayout", "deepLinking": True, "url": reverse("rest-schema")}
    context = {"swagger_settings": json.dumps(settings), "api": {"title": "Perennial"}, "add_csrf": True}
    return render(request, "ninja/swagger.html", context)


urlpatterns = [
    path("schema", SpectacularAPIView.as_view(), name="rest-schema"),
    path("docs", docs, name="rest-docs"),
    *ROUTES,
    re_path("", NoSuchRoute.as_view()),
]
