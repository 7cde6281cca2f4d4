"""Periodic jobs of telemetry: short ones, on the default queue."""

from __future__ import annotations

from celery import shared_task

from telemetry.alerts import deliver, evaluate


@shared_task(name="telemetry.evaluate_alerts", ignore_result=True, expires=55)
def evaluate_alerts() -> int:
    """Judge the alert rules that are due; how many."""
    return evaluate.evaluate_due().judged


@shared_task(name="telemetry.deliver_alerts", ignore_result=True, expires=55)
def deliver_alerts() -> int:
    """Send what stands in the outbox of alerts; how many."""
    return deliver.deliver_due()


@shared_task(name="telemetry.prune_alerts", ignore_result=True, expires=3600)
def prune_alerts() -> int:
    """Forget messages after a month, and the history of alerts after a year."""
    return deliver.prune()
