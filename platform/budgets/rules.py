"""The rules of an organization, kept in the process for five seconds; one without any pays a query in that time."""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.db import connection

from budgets.models import Budget, RateLimit, Stop
from core.ids import bare_uuid

RULES_TTL_S = 5.0
MAX_KEPT = 10_000
_WHICH = """
SELECT EXISTS (SELECT FROM budgets_budget WHERE organization_id = %s AND enabled),
    EXISTS (SELECT FROM budgets_ratelimit WHERE organization_id = %s AND enabled),
    EXISTS (SELECT FROM budgets_stop WHERE organization_id = %s AND lifted_at IS NULL)
"""


@dataclass(frozen=True, slots=True)
class Rules:
    budgets: tuple[Budget, ...]
    limits: tuple[RateLimit, ...]
    stops: tuple[Stop, ...]
    at: float

    def budget(self, pk: str) -> Budget | None:
        return next((budget for budget in self.budgets if budget.pk == pk), None)


_kept: dict[str, Rules] = {}


def rules_of(organization_id: str) -> Rules:
    found = _kept.get(organization_id)
    if found is not None and time.monotonic() - found.at < RULES_TTL_S:
        return found
    mine = {"organization_id": organization_id}
    with connection.cursor() as cursor:
        cursor.execute(_WHICH, [bare_uuid(organization_id)] * 3)
        budgets, limits, stops = cursor.fetchone()
    found = Rules(
        tuple(Budget.objects.filter(**mine, enabled=True).order_by("pk")) if budgets else (),
        tuple(RateLimit.objects.filter(**mine, enabled=True).order_by("pk")) if limits else (),
        tuple(Stop.objects.filter(**mine, lifted_at=None).order_by("created_at")) if stops else (),
        time.monotonic(),
    )
    if len(_kept) >= MAX_KEPT:
        _kept.clear()
    _kept[organization_id] = found
    return found


def forget(organization_id: str) -> None:
    """Read the organization's rules anew: one of them was changed."""
    _kept.pop(organization_id, None)
