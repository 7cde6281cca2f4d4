"""A budget that comes near its end, or to it, says so once a window: in the log, as a row, and to who asked to hear."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from budgets.models import Budget, BudgetEvent, EventKind
from budgets.rules import rules_of

log = logging.getLogger(__name__)

Listener = Callable[[BudgetEvent, Budget], None]
_listeners: list[Listener] = []
MAX_KNOWN = 10_000
_known: set[tuple[str, str, str, datetime]] = set()


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter after a settlement: what was added, and what its window has used."""

    budget_id: str
    target: str
    start: datetime
    since: datetime
    added: Decimal
    used: Decimal


def listen(listener: Listener) -> None:
    """Be told of each event, after its commit. A listener must be quick: it runs in the middle of a model call."""
    if listener not in _listeners:
        _listeners.append(listener)


def note_crossings(organization_id: str, counted: Sequence[Counted]) -> None:
    rules = rules_of(organization_id)
    for count in counted:
        budget = rules.budget(count.budget_id)
        if budget is None:
            continue
        for kind, threshold in _thresholds(budget):
            if count.used >= threshold and _is_news(count, kind, threshold):
                _note(budget, count, kind)


def _is_news(count: Counted, kind: EventKind, threshold: Decimal) -> bool:
    """This call crosses it; or it was crossed without one (a hold lapsed, the amount was lowered) and is not known here
    yet. Whether it was told before, the database knows."""
    name = (count.budget_id, count.target, kind.value, count.start)
    known = name in _known
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    _known.add(name)
    return not known or count.used - count.added < threshold


def _thresholds(budget: Budget) -> list[tuple[EventKind, Decimal]]:
    found = [(EventKind.EXCEEDED, budget.limit)]
    if budget.warn_at_percent:
        found.insert(0, (EventKind.WARNING, budget.limit * budget.warn_at_percent / 100))
    return found


def _note(budget: Budget, count: Counted, kind: EventKind) -> None:
    known = BudgetEvent.objects.filter(budget=budget, target=count.target, kind=kind)
    if known.filter(window_start__gte=count.since).exists():  # of a rolling window: a piece before this one
        return
    with transaction.atomic():
        event, fresh = BudgetEvent.objects.get_or_create(
            budget=budget,
            target=count.target,
            kind=kind,
            window_start=count.start,
            defaults={"organization_id": budget.organization_id, "spent": count.used, "limit": budget.limit},
        )
    if not fresh:
        return
    log.warning(
        "budget %s (%s): %s of %s %s used%s",
        budget.name,
        budget.pk,
        count.used,
        budget.limit,
        budget.metric,
        f" by {count.target}" if count.target else "",
    )
    for listener in _listeners:
        try:
            listener(event, budget)
        except Exception:
            # The call was made and answered: that somebody cannot be told must not undo it.
            log.exception("a listener failed on %s", event)
