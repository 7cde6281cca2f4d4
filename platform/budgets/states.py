"""How budgets stand: what is used, what is left, when it begins anew, and when it will be used up at this pace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from django.db import connection

from budgets.ledger import span_of
from budgets.models import Budget, Window
from budgets.windows import Span
from core.ids import bare_uuid
from core.time import now

SQL = Path(__file__).parent / "sql"
EARLY = 0.02  # of a window: too little to tell a pace by
OFF, OK, WARNING, EXCEEDED = "off", "ok", "warning", "exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Of a budget with a counter for each one: the counter that has used the most; `counters` says of how many.

    `unpriced_calls` and `refused_calls` are of all of them.
    """

    budget: Budget
    target: str
    span: Span
    at: datetime
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    counters: int = 0
    unpriced_calls: int = 0
    refused_calls: int = 0

    @property
    def limit(self) -> Decimal:
        return self.budget.limit

    @property
    def used(self) -> Decimal:
        return self.spent + self.reserved

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self.limit - self.used)

    @property
    def share(self) -> float:
        return float(self.used / self.limit) if self.limit else 1.0

    @property
    def word(self) -> str:
        if not self.budget.enabled:
            return OFF
        if self.used >= self.limit:
            return EXCEEDED
        warned = self.budget.warn_at_percent and self.share * 100 >= self.budget.warn_at_percent
        return WARNING if warned else OK

    @property
    def resets_at(self) -> datetime | None:
        """When all begins anew; a rolling window never does."""
        return None if self.budget.window == Window.ROLLING else self.span.end

    @property
    def projected(self) -> Decimal | None:
        """What will be spent by the end of the window at this pace."""
        elapsed = self._elapsed()
        return None if elapsed is None else self.spent / Decimal(str(elapsed))

    @property
    def reached_at(self) -> datetime | None:
        """When the limit will be reached at this pace; None: not in this window."""
        elapsed = self._elapsed()
        if elapsed is None or not self.spent:
            return None
        if self.spent >= self.limit:
            return self.at
        share = float(self.limit / self.spent) * elapsed
        return self.span.start + share * (self.span.end - self.span.start) if share < 1 else None

    def _elapsed(self) -> float | None:
        """The share of the window that is over; None where it says nothing."""
        if self.resets_at is None:
            return None
        share = (self.at - self.span.start) / (self.span.end - self.span.start)
        return share if share >= EARLY else None


def states_of(budgets: Sequence[Budget]) -> list[State]:
    """In the order given, in one query."""
    at = now()
    spans = {budget.pk: span_of(budget, at) for budget in budgets}
    found = _counters(spans) if budgets else {}
    return [
        State(budget=budget, span=spans[budget.pk], at=at, **found.get(budget.pk, {"target": ""})) for budget in budgets
    ]


def _counters(spans: dict[str, Span]) -> dict[str, dict[str, Any]]:
    ids = [bare_uuid(pk) for pk in spans]
    with connection.cursor() as cursor:
        cursor.execute(_sql(), [ids, [span.since for span in spans.values()]])
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {f"budget-{row.pop('budget_id')}": row for row in rows}


@cache
def _sql() -> str:
    return (SQL / "fullest_counters.sql").read_text()
