"""The Celery application: a doorbell for work whose state is in PostgreSQL."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_ready, worker_shutdown
from django.conf import settings

from core.threads import favour_latency

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("perennial")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.broker_transport_options = {
    # A lost ring is rung again by the sweeper: nothing is kept, restored or redelivered by the broker.
    "ack_emulation": False,
    "socket_keepalive": True,
}
app.autodiscover_tasks()


@worker_ready.connect
def _warm_up(**_: Any) -> None:
    """Pay for imports, prices and model lists before the first run has to."""
    from providers.resolve import warm_up

    favour_latency()
    threading.Thread(target=warm_up, name="warm-up", daemon=True).start()


@worker_shutdown.connect
def _flush_traces(**_: Any) -> None:
    from telemetry.recorder import close_recorder

    close_recorder()


app.conf.beat_schedule = {
    "tend-keys": {"task": "providers.tend_keys", "schedule": 60.0},
    "sweep-runs": {"task": "conversations.sweep_runs", "schedule": settings.SWEEP_INTERVAL_S},
    "expire-approvals": {"task": "conversations.expire_approvals", "schedule": 15.0},
    "send-callbacks": {"task": "conversations.send_callbacks", "schedule": 10.0},
    "feed-batches": {"task": "conversations.feed_batches", "schedule": 5.0},
    "tend-vendor-batches": {"task": "conversations.tend_vendor_batches", "schedule": 15.0},
    "embed-messages": {"task": "conversations.embed_messages", "schedule": 10.0},
    "enforce-stops": {"task": "budgets.enforce_stops", "schedule": 5.0},
    "lapse-holds": {"task": "budgets.lapse_holds", "schedule": 60.0},
    "prune-budgets": {"task": "budgets.prune", "schedule": crontab(hour=3, minute=20)},
    # Four times a minute: rules that are judged each minute spread over it.
    "evaluate-alerts": {"task": "telemetry.evaluate_alerts", "schedule": 15.0},
    "deliver-alerts": {"task": "telemetry.deliver_alerts", "schedule": 30.0},
    "sweep-exports": {"task": "telemetry.sweep_exports", "schedule": 30.0},
    "prune-exports": {"task": "telemetry.prune_exports", "schedule": 86_400.0},
    "tell-of-failing-keys": {"task": "config.tell_of_failing_keys", "schedule": 600.0},
    "prune-alerts": {"task": "telemetry.prune_alerts", "schedule": crontab(hour=3, minute=50)},
    "run-deletions": {"task": "telemetry.run_deletions", "schedule": 30.0},
    # A day's last calls have long been shipped by then.
    "audit-ledger": {"task": "conversations.audit_ledger", "schedule": crontab(hour=4, minute=10)},
    "enforce-retention": {"task": "telemetry.enforce_retention", "schedule": crontab(hour=2, minute=40)},
}
