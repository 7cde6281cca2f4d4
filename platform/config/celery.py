"""The Celery application: a doorbell for work whose state is in PostgreSQL."""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery
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
    "sweep-runs": {"task": "conversations.sweep_runs", "schedule": settings.SWEEP_INTERVAL_S},
}
