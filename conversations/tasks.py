"""Celery's side: one step of one run a task, and the sweep for runs whose worker fell silent."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from celery import shared_task
from django.conf import settings
from django.db.models import Q
from redis.exceptions import RedisError

from conversations import (
    batch_callbacks,
    batches,
    callbacks,
    doorbell,
    expiry,
    ledger_audit,
    queue,
    runner,
    vectors,
    vendor_batches,
)
from conversations.models import ACTIVE, Run
from conversations.retelling import retell
from core.time import now
from telemetry.client import TelemetryUnavailable

log = logging.getLogger(__name__)

SWEEP_BATCH = 1_000


@shared_task(name=doorbell.ADVANCE, ignore_result=True)
def advance_run(run_id: str, step: int | None = None) -> None:
    runner.advance(run_id, step)


@shared_task(name="conversations.sweep_runs", ignore_result=True, expires=30)
def sweep_runs() -> int:
    """Ring for every run whose lease, or whose wait for a worker, has run out."""
    at = now()
    overdue = Run.objects.filter(
        Q(lease_expires_at__lt=at) | Q(lease_expires_at=None), status__in=ACTIVE, waits_turn=False
    )
    runs = list(overdue.order_by("lease_expires_at")[:SWEEP_BATCH])
    # One that nobody holds waits anew: the next sweep need not ring for it again while the workers are busy.
    idle = [run.pk for run in runs if not run.worker]
    overdue.filter(pk__in=idle, worker="").update(lease_expires_at=at + timedelta(seconds=settings.RUN_LEASE_S))
    for run in runs:
        if run.step_count and not run.worker:
            _retell(run)
        doorbell.ring(run.pk, run.step_count)
    queue.begin_left_behind()
    return len(runs)


def _retell(run: Run) -> None:
    """Its worker may have died between the commit and the telling."""
    try:
        retell(run)
    except RedisError as error:
        log.warning("%s: its followers were not told what it committed: %s", run.pk, error)


@shared_task(name=doorbell.SEND_CALLBACKS, ignore_result=True, expires=30)
def send_callbacks() -> int:
    return callbacks.send_due() + batch_callbacks.send_due()


@shared_task(name=doorbell.FEED_BATCHES, ignore_result=True, expires=10)
def feed_batches() -> int:
    return batches.feed()


@shared_task(name="conversations.tend_vendor_batches", ignore_result=True, expires=20)
def tend_vendor_batches() -> int:
    return vendor_batches.tend()


@shared_task(name="conversations.embed_messages", ignore_result=True, expires=10)
def embed_messages() -> None:
    if settings.MESSAGE_VECTORS:
        vectors.embed_round(settings.MESSAGE_VECTORS)


@shared_task(name="conversations.expire_approvals", ignore_result=True, expires=30)
def expire_approvals() -> int:
    return expiry.expire_due()


@shared_task(name="conversations.audit_ledger", ignore_result=True, expires=3600)
def audit_ledger() -> None:
    """Each night: yesterday's calls, an organization a task."""
    yesterday = now().date() - timedelta(days=1)
    try:
        found = ledger_audit.organizations_of(yesterday)
    except TelemetryUnavailable as error:
        log.warning("The ledger of %s was not audited: %s", yesterday, error.message)
        return
    for organization_id in found:
        audit_organization.delay(organization_id, yesterday.isoformat())


@shared_task(name="conversations.audit_organization", ignore_result=True)
def audit_organization(organization_id: str, day: str) -> None:
    """Not a short one: some 5,000 calls a second, a page at a time."""
    ledger_audit.audit_and_keep(organization_id, date.fromisoformat(day))
