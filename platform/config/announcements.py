"""What one room has to say and another can send: budgets that run low go out by the alert channels of telemetry."""

from __future__ import annotations

import logging
from decimal import Decimal

from django.db import DatabaseError, transaction

from budgets.crossings import listen
from budgets.models import Budget, BudgetEvent, EventKind
from telemetry.alerts.notify import announce

log = logging.getLogger(__name__)


def connect() -> None:
    listen(tell_of_budget)


def tell_of_budget(event: BudgetEvent, budget: Budget) -> None:
    """Runs in the middle of a model call, which is worth more than the news: it fails alone."""
    whose = f" of {event.target}" if event.target else ""
    used = "is used up" if event.kind == EventKind.EXCEEDED else f"is used to {_percent(event)} %"
    title = f"The budget “{budget.name}”{whose} {used}"
    amounts = f"{_said(event.spent)} of {_said(event.limit)} {budget.get_metric_display()}"
    body = f"{amounts}, since {event.window_start:%Y-%m-%d %H:%M} UTC."
    key = f"{event.budget_id}:{event.target}:{event.kind}:{event.window_start.isoformat()}"
    try:
        with transaction.atomic():
            announce(str(event.organization_id), "budget", title, body, key[:190])
    except DatabaseError:
        log.exception("%s was not announced", event.pk)


def _percent(event: BudgetEvent) -> str:
    return f"{100 * event.spent / event.limit:.0f}" if event.limit else "100"


def _said(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
