"""The API of `/v1`: every room's routers on one Ninja API, with its auth, its errors and its documentation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import orjson
from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, re_path
from django.urls.resolvers import RoutePattern
from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser
from pydantic import BaseModel

from accounts.http import BearerKey
from agents.api import ROUTERS as AGENT_ROUTERS
from config import api_errors
from config.api_document import complete
from config.api_errors import UnreadableBody, answer
from conversations.api import ROUTERS as CONVERSATION_ROUTERS
from core.errors import Unavailable

VERSION = "0.1.0"


class BodyParser(Parser):
    """JSON by orjson. A NUL character is refused here, since PostgreSQL keeps none in text."""

    def parse_body(self, request: HttpRequest) -> Any:
        raw = request.body
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise UnreadableBody(f"not valid JSON: {error}") from None
        if b"\\u0000" in raw and _has_nul(data):
            raise UnreadableBody("a text in it has the character U+0000, which cannot be stored")
        return data


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_nul(part) for part in value)


class EitherSlash(RoutePattern):
    """A route that is found with and without a slash at its end; no request is redirected for it."""

    def match(self, path: str) -> Any:
        return super().match(path.removesuffix("/"))


class Api(NinjaAPI):
    def validation_error_from_error_contexts(self, error_contexts: list[ValidationErrorContext]) -> ValidationError:
        return api_errors.collect(error_contexts)

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        document = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        complete(document)
        return document

    def get_openapi_operation_id(self, operation: Operation) -> str:
        view = operation.view_func
        name = f"{view.__module__.rsplit('.', 1)[-1]}.{view.__name__}"
        declared = view._ninja_operation.path  # type: ignore[attr-defined]
        return name if declared == operation.path else f"{name}.alias"  # one view may stand at two paths

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        routes = [_either_slash(route) for route in super()._get_urls() if isinstance(route, URLPattern)]
        return [*routes, re_path("", _no_such_route)]


def _either_slash(route: URLPattern) -> URLPattern:
    declared = str(route.pattern)
    view = _no_such_route if route.name == "api-root" else route.callback
    return URLPattern(
        EitherSlash(declared.removesuffix("/"), name=route.name, is_endpoint=True),
        _with_json_405(view),
        route.default_args,
        route.name,
    )


def _with_json_405(view: Callable[..., Any]) -> Callable[..., Any]:
    def checked(response: HttpResponseBase) -> HttpResponseBase:
        if response.status_code != 405 or not response.has_header("Allow"):  # ours has a reason of its own
            return response
        refusal = answer({"detail": "Method Not Allowed"}, 405)
        refusal["Allow"] = response["Allow"]
        return refusal

    if inspect.iscoroutinefunction(view):

        async def asynchronous(request: HttpRequest, **path: Any) -> HttpResponseBase:
            return checked(await view(request, **path))

        wrapped: Callable[..., Any] = asynchronous
    else:

        def synchronous(request: HttpRequest, **path: Any) -> HttpResponseBase:
            return checked(view(request, **path))

        wrapped = synchronous
    wrapped.csrf_exempt = True  # type: ignore[attr-defined]
    return wrapped


def _no_such_route(request: HttpRequest) -> HttpResponse:
    return answer({"detail": "Not Found"}, 404)


_no_such_route.csrf_exempt = True  # type: ignore[attr-defined]


class Health(BaseModel):
    version: str
    status: str


api = Api(
    title="Perennial",
    version=VERSION,
    description="Stateful agents with memory. Compatible with Letta's V1 API; send `Authorization: Bearer pn_…`.",
    urls_namespace="v1",
    openapi_url="/openapi.json",
    docs_url="/docs",
    auth=BearerKey(),
    parser=BodyParser(),
)
api_errors.register(api)


@api.get("/health/", auth=None, response=Health, tags=["health"])
async def health(request: HttpRequest) -> HttpResponse:
    """Whether the web process answers. Asks no other part."""
    return answer({"version": VERSION, "status": "ok"})


@api.get("/ready/", auth=None, response={200: Health, 503: Health}, tags=["health"])
async def ready(request: HttpRequest) -> HttpResponse:
    """Whether the parts that a request needs answer."""
    try:
        await sync_to_async(_ask_parts)()
    except Unavailable:
        return answer({"version": VERSION, "status": "degraded"}, 503)
    return answer({"version": VERSION, "status": "ok"})


def _ask_parts() -> None:
    from django.db import DatabaseError

    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        raise Unavailable("The database does not answer.") from error


# Each room lists its routers as (prefix, router). /tools/run of the upper one must come before /tools/{tool_id}.
for prefix, router in (*CONVERSATION_ROUTERS, *AGENT_ROUTERS):
    api.add_router(prefix, router)
