"""What each failure looks like on the wire of `/v1`: one handler per kind, the same bodies everywhere."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError, ValidationErrorContext

from core.errors import AppError
from providers.errors import ProviderError

log = logging.getLogger(__name__)

# Deadlock, serialization failure, lock timeout: the same request may work a moment later.
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03"})
_SECRET_WORDS = ("secret", "key", "token", "password", "credential", "environment")
_SHOWN_CHARACTERS = 60
_EXAMPLE = "123e4567-e89b-42d3-8456-426614174000"


class UnreadableBody(Exception):
    """The body is not JSON that can be stored."""


def answer(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json")


def register(api: NinjaAPI) -> None:
    handlers: dict[type[Exception], Any] = {
        AppError: app_error,
        ProviderError: provider_error,
        ValidationError: validation_error,
        DjangoValidationError: django_validation_error,
        HttpError: http_error,
        Http404: lambda request, exc: answer({"detail": "Not Found"}, 404),
        RequestDataTooBig: lambda request, exc: answer({"detail": "The body of the request is too large."}, 413),
        DataError: lambda request, exc: unprocessable(f"A value cannot be stored: {_first_line(exc)}"),
        IntegrityError: integrity_error,
        OperationalError: database_error,
        InterfaceError: database_error,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def app_error(request: HttpRequest, exc: AppError) -> HttpResponse:
    response = answer({"detail": exc.detail, **exc.extra}, exc.status)
    for name, value in exc.headers.items():
        response[name] = value
    if exc.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    if exc.retry_after is not None:
        response["Retry-After"] = str(max(1, math.ceil(exc.retry_after)))
    return response


def provider_error(request: HttpRequest, exc: ProviderError) -> HttpResponse:
    error = {"type": exc.error_type, "message": exc.message, "detail": exc.message}
    response = answer({"error": error}, exc.status)
    if exc.retry_after is not None:
        response["Retry-After"] = str(max(1, round(exc.retry_after)))
    return response


def unprocessable(detail: str, examples: Iterable[str] = ()) -> HttpResponse:
    body: dict[str, Any] = {"trace_id": uuid.uuid4().hex, "detail": detail}
    if found := list(examples):
        body["examples"] = found
    return answer(body, 422)


def validation_error(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    """`<field>: <reason> (got <value>); ...`"""
    ids = [_example(error) for error in exc.errors]
    return unprocessable("; ".join(describe(error) for error in exc.errors), filter(None, ids))


def django_validation_error(request: HttpRequest, exc: DjangoValidationError) -> HttpResponse:
    return unprocessable("; ".join(exc.messages))


def http_error(request: HttpRequest, exc: HttpError) -> HttpResponse:
    if isinstance(exc.__cause__, UnreadableBody):
        return unprocessable(f"body: {exc.__cause__}")
    if isinstance(exc.__cause__, RequestDataTooBig):
        return answer({"detail": "The body of the request is too large."}, 413)
    return answer({"detail": exc.message}, exc.status_code)


def integrity_error(request: HttpRequest, exc: IntegrityError) -> HttpResponse:
    return answer({"detail": f"Another row stands in the way: {_first_line(exc)}"}, 409)


def database_error(request: HttpRequest, exc: OperationalError | InterfaceError) -> HttpResponse:
    again = getattr(exc.__cause__, "sqlstate", None) in _TRY_AGAIN
    log.warning("database error on %s %s: %s", request.method, request.path, _first_line(exc))
    detail = "Somebody else changed this at the same moment: try again." if again else "The database does not answer."
    response = answer({"detail": detail}, 409 if again else 503)
    response["Retry-After"] = "1"
    return response


def unexpected(request: HttpRequest, exc: Exception) -> HttpResponse:
    trace_id = uuid.uuid4().hex
    log.error("unexpected error %s on %s %s", trace_id, request.method, request.path, exc_info=exc)
    return answer({"detail": "An unknown error occurred", "trace_id": trace_id}, 500)


def collect(contexts: Iterable[ValidationErrorContext]) -> ValidationError:
    """Pydantic's errors with their inputs, each located by source and field."""
    errors: list[dict[str, Any]] = []
    for context in contexts:
        model = context.model
        flat = model.__ninja_flatten_map_reverse__
        parameter = getattr(model, "__read_from_single_attr__", None)
        for error in context.pydantic_validation_error.errors(include_url=False):
            loc = error["loc"]
            if parameter and loc[:1] == (parameter,):
                loc = loc[1:]
            elif len(loc) > 1 and loc[:2] in flat:  # a field of a group of parameters
                loc = (*flat[loc[:2]], *loc[2:])
            errors.append({**error, "source": model.__ninja_param_source__, "loc": loc})
    return ValidationError(errors)


def describe(error: Mapping[str, Any]) -> str:
    field = ".".join(str(part) for part in error["loc"]) or str(error["source"])
    reason = str(error["msg"]).removeprefix("Value error, ")
    return f"{field}: {reason}{_shown(field, error)}"


def _shown(field: str, error: Mapping[str, Any]) -> str:
    """The wrong value, where it is short and no secret."""
    value = error.get("input")
    private = any(word in field.lower() for word in _SECRET_WORDS)
    if private or error["type"] == "missing" or not isinstance(value, str | int | float | bool | None):
        return ""
    text = repr(value)
    return f" (got {text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + '…'})"


def _example(error: Mapping[str, Any]) -> str | None:
    pattern = str(error.get("ctx", {}).get("pattern", "")) if error["type"] == "string_pattern_mismatch" else ""
    prefix, found, _ = pattern.removeprefix("^").partition("-[0-9a-f]{8}")
    return f"{prefix}-{_EXAMPLE}" if found else None


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]
