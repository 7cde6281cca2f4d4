"""Celery's side: one step of one run a task, and the sweep for runs whose worker fell silent."""

from __future__ import annotations

from celery import shared_task
from django.db.models import Q
from django.utils import timezone

from conversations import doorbell, runner
from conversations.models import ACTIVE, Run

SWEEP_BATCH = 1_000


@shared_task(name=doorbell.ADVANCE, ignore_result=True)
def advance_run(run_id: str) -> None:
    runner.advance(run_id)


@shared_task(name="conversations.sweep_runs", ignore_result=True, expires=30)
def sweep_runs() -> int:
    """Ring for every run whose lease, or whose wait for a first worker, has run out."""
    overdue = Run.objects.filter(
        Q(lease_expires_at__lt=timezone.now()) | Q(lease_expires_at=None), status__in=ACTIVE
    ).order_by("lease_expires_at")
    ids = list(overdue.values_list("pk", flat=True)[:SWEEP_BATCH])
    for run_id in ids:
        doorbell.ring(run_id)
    return len(ids)
