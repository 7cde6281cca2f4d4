"""Pages of long lists that never count to the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

COUNT_LIMIT = 5_000
T = TypeVar("T")


class BoundedCount(int):
    """A count that stopped at the limit; it prints as “5,000+”."""

    def __str__(self) -> str:
        return f"{int(self):,}+"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)


class BoundedPaginator(Paginator):
    """Counts no further than `COUNT_LIMIT` rows: a list of millions opens as fast as one of ten."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        found = rows.order_by()[: COUNT_LIMIT + 1].count()
        return BoundedCount(COUNT_LIMIT) if found > COUNT_LIMIT else found


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page by cursor: the rows, and the query strings of its neighbours ("" where there is none)."""

    rows: Sequence[T]
    newer: str
    older: str


def link_with(request: HttpRequest, **changes: str | None) -> str:
    """The query string of this page with some parameters changed; None removes one."""
    query = request.GET.copy()
    for name, value in changes.items():
        query.pop(name, None)
        if value is not None:
            query[name] = value
    return f"?{query.urlencode()}"
