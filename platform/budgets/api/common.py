"""What these routes share: who may change rules, what is wrong with them, values as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from accounts import rest
from accounts.access import Caller
from budgets.models import Rule, Scope
from core.amounts import as_text
from core.rest import EXACT, Problem

M = TypeVar("M", bound=Rule)
FAULTS = {401: Problem, 403: Problem, 404: Problem, 422: Problem}


def admin_of(request: Request) -> Caller:
    return rest.admin_of(request, "Budgets, limits and stops")


@contextmanager
def named_fields() -> Iterator[None]:
    """What a model refuses, as what is wrong with each field."""
    try:
        yield
    except ValidationError as error:
        told = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        raise serializers.ValidationError(
            {name.replace("__all__", ""): texts for name, texts in told.items()}
        ) from None


def rules_of(request: Request, model: type[M]) -> QuerySet[M]:
    """Those that reading is narrowed to: of a project, the rules about that project."""
    return rest.rows_of(request, model, lambda project_id: Q(scope=Scope.PROJECT, target=project_id))


def check_about(request: Request, rule: Mapping[str, Any]) -> None:
    """A key of one project makes rules about that project. Raises PermissionDenied."""
    if (rule.get("scope"), rule.get("target")) != (Scope.PROJECT, rest.project_of(request)):
        rest.of_organization(request, "This rule is about more, or something else, than the key's project")


def text(amount: Decimal | None) -> str | None:
    return None if amount is None else as_text(amount)


def exact(**more: Any) -> serializers.Field:
    return serializers.CharField(help_text=EXACT, **more)
