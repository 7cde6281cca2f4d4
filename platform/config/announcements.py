"""What one room has to say and another can send: budgets that run low and keys that stop working, by alert channels."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import DatabaseError, transaction

from budgets.crossings import listen
from budgets.models import Budget, BudgetEvent, EventKind
from core.amounts import as_text
from core.time import now
from providers.models import Provider
from telemetry.alerts.notify import announce

log = logging.getLogger(__name__)

# Between two looks, with room for a beat that stood still.
RECENT = timedelta(hours=1)


def connect() -> None:
    listen(tell_of_budget)


def tell_of_budget(event: BudgetEvent, budget: Budget) -> None:
    """Runs in the middle of a model call, which is worth more than the news: it fails alone."""
    whose = f" of {event.target}" if event.target else ""
    used = "is used up" if event.kind == EventKind.EXCEEDED else f"is used to {_percent(event)} %"
    title = f"The budget “{budget.name}”{whose} {used}"
    amounts = f"{as_text(event.spent)} of {as_text(event.limit)} {budget.get_metric_display()}"
    body = f"{amounts}, since {event.window_start:%Y-%m-%d %H:%M} UTC."
    key = f"{event.budget_id}:{event.target}:{event.kind}:{event.window_start.isoformat()}"
    try:
        with transaction.atomic():
            announce(str(event.organization_id), "budget", title, body, key[:190])
    except DatabaseError:
        log.exception("%s was not announced", event.pk)


def tell_of_failing_keys() -> int:
    """Once each time that a key stops working; at its second failed check, since the first may be the vendor's."""
    failing = Provider.objects.filter(enabled=True, failed_checks__gte=2, failing_since__isnull=False)
    fresh = failing.filter(last_error_at__gte=now() - RECENT, organization__isnull=False)
    told = 0
    for row in fresh:
        title = f"The provider key “{row.name}” does not work"
        body = f"Checked {row.failed_checks} times since {row.failing_since:%Y-%m-%d %H:%M} UTC: {row.last_error[:300]}"
        key = f"{row.pk}:{row.failing_since.isoformat() if row.failing_since else ''}"
        told += announce(str(row.organization_id), "provider_key", title, body, key)
    return told


def _percent(event: BudgetEvent) -> str:
    return f"{100 * event.spent / event.limit:.0f}" if event.limit else "100"
