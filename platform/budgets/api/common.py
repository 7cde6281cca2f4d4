"""What these routes share: rows of the caller's organization, who may change them, values as text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import Caller
from accounts.models import Membership, Role, User
from accounts.rest import caller_of, organization_of
from core.errors import NotFound, PermissionDenied
from core.ids import is_id
from core.rest import Problem

FAULTS = {401: Problem, 403: Problem, 404: Problem, 422: Problem}
EXACT = "As text: a number in JSON is not exact."
ADMINS = (Role.OWNER, Role.ADMIN)
M = TypeVar("M", bound=Model)


def rows_of(request: Request, model: type[M]) -> QuerySet[M]:
    organization_id = organization_of(request)
    rows: QuerySet[M] = model._default_manager.all()
    return rows if organization_id is None else rows.filter(organization_id=organization_id)


def find(request: Request, model: type[M], prefix: str, pk: str) -> M:
    row = rows_of(request, model).filter(pk=pk).first() if is_id(prefix, pk) else None
    if row is None:
        raise NotFound(f"There is no {prefix} with ID {pk[:60]}.")
    return row


def admin_of(request: Request) -> Caller:
    """Who may change rules: an owner or admin. A key acts in its user's name, so that no operator's key can free itself
    of its own limits."""
    caller = caller_of(request)
    mine = Membership.objects.filter(organization_id=caller.organization_id, user_id=caller.user_id)
    if mine.filter(role__in=ADMINS).exists() or User.objects.filter(pk=caller.user_id, is_superuser=True).exists():
        return caller
    raise PermissionDenied("Budgets, limits and stops are changed by owners and admins of the organization alone.")


def actor_of(caller: Caller) -> str:
    return caller.api_key_id or caller.user_id


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


def text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount.normalize():f}"


def exact(**more: Any) -> serializers.Field:
    return serializers.CharField(help_text=EXACT, **more)
