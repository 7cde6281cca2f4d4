"""Pages by cursor: `before` and `after` are ids of items, the order is (key, id), no page is ever counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from django.db.models import F, Model, Q, QuerySet

from core.errors import NotFound

Order = Literal["asc", "desc"]
M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Cursor:
    """`after=X` with order desc: the items that come after X in the returned order, that is, the older ones."""

    before: str | None = None
    after: str | None = None
    limit: int | None = 50
    order: Order = "desc"


def page(rows: QuerySet[M], cursor: Cursor, *, key: str = "created_at", tie: str = "pk") -> list[M]:
    """One page of `rows`. Raises NotFound for a cursor id that is not among them."""
    descending = cursor.order == "desc"
    if cursor.after:
        rows = rows.filter(_beyond(rows, cursor.after, key, tie, later=not descending))
    if cursor.before:
        rows = rows.filter(_beyond(rows, cursor.before, key, tie, later=descending))
    # `before` without `after` means the page that ends just before that item: read backwards, then turn round.
    backwards = bool(cursor.before and not cursor.after)
    downwards = descending != backwards
    ordered = rows.order_by(
        F(key).desc(nulls_last=True) if downwards else F(key).asc(nulls_first=True), f"-{tie}" if downwards else tie
    )
    items = list(ordered[: cursor.limit] if cursor.limit else ordered)
    return items[::-1] if backwards else items


def _beyond(rows: QuerySet[Any], item_id: str, key: str, tie: str, *, later: bool) -> Q:
    at = rows.filter(pk=item_id).values_list(key, tie).first()
    if at is None:
        raise NotFound(f"The cursor “{item_id}” is not an item of this list.")
    value, tie_value = at
    sign = "gt" if later else "lt"
    if value is None:
        beyond_null = Q(**{f"{key}__isnull": False}) if later else Q()
        same_null = Q(**{f"{key}__isnull": True, f"{tie}__{sign}": tie_value})
        return beyond_null | same_null if later else same_null
    beyond = Q(**{f"{key}__{sign}": value}) | Q(**{key: value, f"{tie}__{sign}": tie_value})
    return beyond if later else beyond | Q(**{f"{key}__isnull": True})
