"""Periodic jobs of the budgets: holds that nobody settled, stops that have to reach everybody, counters out of use."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task

from budgets import ledger, stops
from budgets.models import BudgetWindow, Hold
from core.time import now

LAPSED_KEPT = timedelta(days=1)
COUNTERS_KEPT = timedelta(days=400)


@shared_task(name="budgets.lapse_holds", ignore_result=True, expires=60)
def lapse_holds() -> int:
    """Count what was reserved and never settled as spent."""
    return ledger.lapse()


@shared_task(name="budgets.enforce_stops", ignore_result=True, expires=10)
def enforce_stops() -> int:
    return stops.sweep()


@shared_task(name="budgets.prune", ignore_result=True, expires=3600)
def prune() -> None:
    """Forget lapsed holds after a day and counters after 13 months."""
    at = now()
    Hold.objects.filter(lapsed=True, expires_at__lt=at - LAPSED_KEPT).delete()
    BudgetWindow.objects.filter(starts_at__lt=at - COUNTERS_KEPT).delete()
