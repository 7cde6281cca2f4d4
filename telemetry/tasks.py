"""Periodic jobs of telemetry, on the default queue: short ones, and turns of long ones."""

from __future__ import annotations

from celery import shared_task

from telemetry import deletion, retention
from telemetry.alerts import deliver, evaluate
from telemetry.exports import actions as exports
from telemetry.exports import run as making


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


@shared_task(name="telemetry.run_deletions", ignore_result=True, expires=25)
def run_deletions() -> int:
    """Ring for every deletion of traces that should go on; how many."""
    found = deletion.due()
    for deletion_id in found:
        delete_traces.delay(deletion_id)
    return len(found)


@shared_task(name="telemetry.delete_traces", ignore_result=True)
def delete_traces(deletion_id: str) -> None:
    """One turn of a deletion (20 seconds, or one statement of ClickHouse), and the next one."""
    if deletion.advance(deletion_id):
        delete_traces.delay(deletion_id)


@shared_task(name="telemetry.enforce_retention", ignore_result=True, expires=3600)
def enforce_retention() -> None:
    """Once a night, for minutes at most: what organizations keep for a shorter time than the installation."""
    retention.enforce()


@shared_task(name=exports.RUN, ignore_result=True)
def run_export(export_id: str) -> None:
    """Make the file of an export: minutes, for millions of calls."""
    making.run(export_id)


@shared_task(name="telemetry.sweep_exports", ignore_result=True, expires=55)
def sweep_exports() -> int:
    return making.sweep()


@shared_task(name="telemetry.prune_exports", ignore_result=True, expires=3600)
def prune_exports() -> int:
    return exports.prune()
