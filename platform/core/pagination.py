"""Pages by cursor: `before` and `after` are ids of items, the order is (key, id), no page is ever counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Model, Q, QuerySet

from core.errors import NotFound

Order = Literal["asc", "desc"]
M = TypeVar("M", bound=Model)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Cursor:
    """`after=X` with order desc: the items that come after X in the returned order, that is, the older ones."""

    before: str | None = None
    after: str | None = None
    limit: int | None = 50
    order: Order = "desc"


def page(rows: QuerySet[M, R], cursor: Cursor, *, key: str = "created_at", tie: str = "pk") -> list[R]:
    """One page of `rows`, as they come (models, `.values()`). Raises NotFound for a cursor id not among them."""
    descending = cursor.order == "desc"
    if cursor.after:
        rows = rows.filter(_beyond(rows, cursor.after, key, tie, later=not descending))
    if cursor.before:
        rows = rows.filter(_beyond(rows, cursor.before, key, tie, later=descending))
    # `before` without `after` means the page that ends just before that item: read backwards, then turn round.
    backwards = bool(cursor.before and not cursor.after)
    downwards = descending != backwards
    ordered = rows.order_by(_by(rows, key, downwards), f"-{tie}" if downwards else tie)
    items = list(ordered[: cursor.limit] if cursor.limit else ordered)
    return items[::-1] if backwards else items


def _by(rows: QuerySet[Any, Any], key: str, downwards: bool) -> Any:
    """No word about nulls where there are none: PostgreSQL would not use the index for the order."""
    if not _nullable(rows, key):
        return f"-{key}" if downwards else key
    return F(key).desc(nulls_last=True) if downwards else F(key).asc(nulls_first=True)


def _nullable(rows: QuerySet[Any, Any], key: str) -> bool:
    try:
        return bool(rows.model._meta.get_field(key).null)
    except FieldDoesNotExist:  # of a joined table, or computed
        return True


def _beyond(rows: QuerySet[Any, Any], item_id: str, key: str, tie: str, *, later: bool) -> Q:
    at = rows.filter(pk=item_id).values_list(key, tie).first()
    if at is None:
        raise NotFound(f"The cursor “{item_id}” is not an item of this list.")
    value, tie_value = at
    sign = "gt" if later else "lt"
    if value is None:
        beyond_null = Q(**{f"{key}__isnull": False}) if later else Q()
        same_null = Q(**{f"{key}__isnull": True, f"{tie}__{sign}": tie_value})
        return beyond_null | same_null if later else same_null
    # The first condition follows from the second; it is what an index can begin at.
    beyond = Q(**{f"{key}__{sign}e": value}) & (Q(**{f"{key}__{sign}": value}) | Q(**{f"{tie}__{sign}": tie_value}))
    return beyond if later or not _nullable(rows, key) else beyond | Q(**{f"{key}__isnull": True})
