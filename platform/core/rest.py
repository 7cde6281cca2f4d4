"""What every route of `/api` shares: one shape of errors, parameters that are checked, pages by cursor."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.models import Model, QuerySet
from django.http import Http404
from rest_framework import exceptions, serializers
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from core import pagination
from core.errors import AppError, Conflict, Invalid, NotFound, PermissionDenied, Unauthenticated, Unavailable

log = logging.getLogger(__name__)

MOST_ITEMS = 200
EXACT = "As text: a number in JSON is not exact."


class Problem(serializers.Serializer):
    """What an error looks like; `fields` names what is wrong with each parameter or field."""

    code = serializers.CharField()
    detail = serializers.CharField()
    fields = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), required=False)


def answer_error(exc: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's exception handler: every failure as a `Problem`."""
    problem = _as_app_error(exc)
    if problem is None:
        log.exception("A route of /api failed", exc_info=exc)
        return Response({"code": "error", "detail": "The server failed; its log says how."}, 500)
    response = Response({"code": problem.code, "detail": problem.detail, **problem.extra}, problem.status)
    if problem.status == 401:
        response["WWW-Authenticate"] = "Bearer"
    wait = getattr(problem, "retry_after", None) or getattr(exc, "wait", None)
    if wait:
        response["Retry-After"] = str(max(1, round(wait)))
    return response


def _as_app_error(exc: Exception) -> AppError | None:
    if isinstance(exc, AppError):
        return exc
    if isinstance(exc, exceptions.APIException):
        return _of_framework(exc)
    if isinstance(exc, DjangoValidationError):
        return Invalid("; ".join(exc.messages))
    if isinstance(exc, Http404):
        return NotFound(str(exc) or "There is nothing at this address.")
    if isinstance(exc, DjangoPermissionDenied):
        return PermissionDenied(str(exc) or "You may not do this.")
    if isinstance(exc, RequestDataTooBig):
        return _with_status(Invalid("The body of the request is too large."), 413)
    return _of_database(exc)


def _of_database(exc: Exception) -> AppError | None:
    if isinstance(exc, DataError):
        return Invalid("A value in the request cannot be stored: texts must not hold U+0000.")
    if isinstance(exc, IntegrityError):
        return Conflict("This conflicts with what is stored already.")
    if isinstance(exc, OperationalError | InterfaceError):
        return Unavailable("The database does not answer. Try again in a moment.")
    return None


def _of_framework(exc: exceptions.APIException) -> AppError:
    if isinstance(exc, exceptions.ValidationError):
        found: dict[str, list[str]] = {}
        for name, texts in _messages(exc.detail):
            found.setdefault(name, []).extend(texts)
        said = "; ".join(f"{name}: {' '.join(texts)}" if name else " ".join(texts) for name, texts in found.items())
        return Invalid(said, extra={"fields": found})
    if isinstance(exc, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Unauthenticated(str(exc.detail))
    problem = _with_status(AppError(str(exc.detail)), exc.status_code)
    problem.code = str(exc.default_code)
    return problem


def _with_status(problem: AppError, status: int) -> AppError:
    problem.status = status
    return problem


def _messages(detail: Any, name: str = "") -> Iterator[tuple[str, Iterable[str]]]:
    """A serializer's nested errors, flat: the path to each field, and what is wrong there."""
    if isinstance(detail, Mapping):
        for key, inner in detail.items():
            plain = "" if key == "non_field_errors" or isinstance(key, int) else str(key)
            yield from _messages(inner, ".".join(part for part in (name, plain) if part))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        texts = [str(part) for part in detail if isinstance(part, str)]
        if texts:
            yield name, texts
        for number, part in enumerate(detail):
            if not isinstance(part, str):
                yield from _messages(part, f"{name}[{number}]")
    else:
        yield name, [str(detail)]


class OneOf(serializers.ChoiceField):
    """A choice whose error names what there is to choose from."""

    def __init__(self, choices: Any, **kwargs: Any) -> None:
        super().__init__(choices, **kwargs)
        there = ", ".join(str(choice) for choice in self.choices if choice != "")
        self.error_messages["invalid_choice"] = f"“{{input}}” is not known; it may be one of {there}."


class Listed(serializers.ListField):
    """Values of a query parameter that is given several times; with `commas`, also several in one."""

    def __init__(self, *args: Any, commas: bool = False, **kwargs: Any) -> None:
        self.commas = commas
        super().__init__(*args, **kwargs)

    def get_value(self, dictionary: Any) -> Any:
        if not hasattr(dictionary, "getlist"):
            return super().get_value(dictionary)
        if self.field_name not in dictionary:
            return serializers.empty
        texts = dictionary.getlist(self.field_name)
        return [part.strip() for text in texts for part in text.split(",")] if self.commas else texts


class Query(serializers.Serializer):
    """The parameters of an address. One that is not known is refused, since it would silently narrow nothing."""

    ANYWHERE = frozenset({"format"})

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(self.initial_data) - set(self.fields) - self.ANYWHERE)
        if unknown:
            there = ", ".join(self.fields)
            raise serializers.ValidationError({unknown[0][:40]: f"This is no parameter; there are: {there}."})
        return attrs


def read_query(request: Request, shape: type[serializers.Serializer]) -> dict[str, Any]:
    """The parameters, checked. Raises Invalid (422)."""
    query = shape(data=request.query_params)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


def read_body(request: Request, shape: type[serializers.Serializer], row: Model | None = None) -> dict[str, Any]:
    """The body, checked: what is to change of `row`, where one is given. Raises Invalid (422)."""
    body = shape(row, data=request.data, partial=row is not None)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


class PageQuery(Query):
    after = serializers.CharField(max_length=200, default="", allow_blank=True, help_text="“next” of the page before.")
    limit = serializers.IntegerField(min_value=1, max_value=MOST_ITEMS, default=50)


def page_of(items: Sequence[Any], following: str) -> dict[str, Any]:
    """The body of every list: `next` asks for the page after this one, null when there is none."""
    return {"items": items, "next": following or None}


@dataclass(frozen=True, slots=True)
class _Place:
    items: list[Any]
    following: str


class Pages(BasePagination):
    """Lists of models, the newest first, one page at a time; `after` is the id of the last item seen."""

    display_page_controls = False

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        names = set(request.query_params) & set(PageQuery().fields)
        query = PageQuery(data={name: request.query_params[name] for name in names})
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        cursor = pagination.Cursor(after=asked["after"] or None, limit=asked["limit"] + 1)
        found = pagination.page(queryset, cursor)
        items = found[: asked["limit"]]
        self._place = _Place(items, str(items[-1].pk) if len(found) > len(items) else "")
        return items

    def get_paginated_response(self, data: Any) -> Response:
        return Response(page_of(data, self._place.following))

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": schema.get("items", schema)},
                "next": {"type": "string", "nullable": True, "description": "“after” of the next page"},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        return [
            {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "“next” of the page before"},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": 50},
            },
        ]
