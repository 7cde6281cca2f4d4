"""What is done to budgets and rate limits: each deed checked, audited, and known to this process at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from django.db import transaction

from accounts import audit
from accounts.audit import Deed
from budgets import rules
from budgets.ledger import span_of
from budgets.models import Budget, BudgetEvent, BudgetWindow, RateLimit
from core.amounts import as_text
from core.errors import Invalid
from core.time import now

MAX_RAISE = timedelta(days=366)
# What a budget counts stays what it is: another counter is another budget.
FIXED = frozenset({"scope", "target", "metric", "window", "rolling_hours", "time_zone"})
_BUDGET = ("name", "scope", "target", "metric", "amount", "window", "rolling_hours", "time_zone", "hard")
# What people say of each, in the order that it is shown in.
FIELDS: dict[type[Any], tuple[str, ...]] = {
    Budget: (*_BUDGET, "warn_at_percent", "refuse_unpriced", "enabled"),
    RateLimit: ("scope", "target", "kind", "amount", "period_s", "enabled"),
}
_NOUNS: dict[type[Any], str] = {Budget: "budget", RateLimit: "limit"}
R = TypeVar("R", Budget, RateLimit)


@dataclass(frozen=True, slots=True)
class Raise:
    by: Decimal
    until: datetime
    reason: str


def create(row: R, actor_id: str) -> R:
    """Raises ValidationError."""
    row.created_by_id = row.last_updated_by_id = actor_id
    row.full_clean(exclude=["organization"])
    with transaction.atomic():
        row.save(force_insert=True)
        _note(row, actor_id, "create", None, _shown(row))
    rules.forget(row.organization_id)
    return row


def update(row: R, changes: Mapping[str, Any], actor_id: str) -> R:
    """Raises ValidationError, Invalid."""
    before = _shown(row)
    for name, value in changes.items():
        if isinstance(row, Budget) and name in FIXED and value != getattr(row, name):
            raise Invalid(f"{name}: what a budget counts cannot be changed: make another one and delete this.")
        setattr(row, name, value)
    row.last_updated_by_id = actor_id
    row.full_clean(exclude=["organization"])
    after = _shown(row)
    changed = [name for name in after if before[name] != after[name]]
    with transaction.atomic():
        row.save()
        _note(row, actor_id, "update", {n: before[n] for n in changed}, {n: after[n] for n in changed})
    rules.forget(row.organization_id)
    return row


def delete(row: Budget | RateLimit, actor_id: str) -> None:
    organization_id = row.organization_id
    with transaction.atomic():
        _note(row, actor_id, "delete", _shown(row), None)
        row.delete()
    rules.forget(organization_id)


def raise_budget(budget: Budget, given: Raise, actor_id: str) -> Budget:
    """More, until a time. A raise by 0 ends one before its time. Raises Invalid."""
    if given.by < 0:
        raise Invalid("by: a raise adds to the budget; to lower it, change its amount.")
    if given.by and not now() < given.until <= now() + MAX_RAISE:
        raise Invalid("until: choose a time to come, within a year.")
    if not given.reason.strip():
        raise Invalid("reason: say why; it is kept.")
    before = _raise_shown(budget)
    budget.raised_by = given.by or None
    budget.raised_until = given.until if given.by else None
    budget.raise_reason = given.reason.strip() if given.by else ""
    with transaction.atomic():
        budget.save(update_fields=["raised_by", "raised_until", "raise_reason", "updated_at"])
        deed = Deed(
            action="budget.raise", target=budget.pk, before=before, after=_raise_shown(budget), reason=given.reason
        )
        audit.note(budget.organization_id, actor_id, deed)
    rules.forget(budget.organization_id)
    return budget


def reset(budget: Budget, reason: str, actor_id: str) -> int:
    """Let its window begin at nothing; what calls under way have reserved stays. How many counters were set back."""
    if not reason.strip():
        raise Invalid("reason: say why; it is kept.")
    since = span_of(budget, now()).since
    with transaction.atomic():
        counters = BudgetWindow.objects.filter(budget=budget, starts_at__gte=since)
        spent = {row.target or "all": str(row.spent) for row in counters.order_by("-spent")[:20]}
        done = counters.update(spent=0, unpriced_calls=0, refused_calls=0)
        BudgetEvent.objects.filter(budget=budget, window_start__gte=since).delete()
        audit.note(
            budget.organization_id,
            actor_id,
            Deed(action="budget.reset", target=budget.pk, before={"spent": spent}, reason=reason),
        )
    return done


def _note(row: Budget | RateLimit, actor_id: str, verb: str, before: Any, after: Any) -> None:
    action = f"{_NOUNS[type(row)]}.{verb}"
    audit.note(row.organization_id, actor_id, Deed(action=action, target=row.pk, before=before, after=after))


def _shown(row: Budget | RateLimit) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in FIELDS[type(row)]}
    return {name: as_text(v) if isinstance(v, Decimal) else v for name, v in values.items()}


def _raise_shown(budget: Budget) -> dict[str, Any]:
    until = budget.raised_until
    return {"by": str(budget.raised_by or 0), "until": until.isoformat() if until else None}
