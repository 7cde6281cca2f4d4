"""The Celery application: a doorbell for work whose state is in PostgreSQL."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("perennial")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.broker_transport_options = {
    # A lost ring is rung again by the sweeper: nothing is kept, restored or redelivered by the broker.
    "ack_emulation": False,
    "socket_keepalive": True,
}
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "sweep-runs": {"task": "conversations.sweep_runs", "schedule": settings.SWEEP_INTERVAL_S},
}
