"""Tells the `callback_url` of a batch that it has ended, as `conversations.callbacks` does of a run."""

from __future__ import annotations

from datetime import datetime

import orjson
from django.db.models import QuerySet

from conversations.batch_models import Batch
from conversations.callbacks import Callbacks
from conversations.schemas.batches import batch_out


class BatchCallbacks(Callbacks[Batch]):
    """One that is held is due again when it is free."""

    holds = "callback_due_at"
    released = {}

    def due(self, at: datetime) -> QuerySet[Batch]:
        return Batch.objects.filter(callback_due_at__lte=at).order_by("callback_due_at")

    def send(self, row: Batch) -> int:
        shown = batch_out(row, row.counts)
        told = {"batch_id": row.pk, "status": shown.status, "completed_at": shown.completed_at}
        return self.post(row, orjson.dumps({**told, "metadata": shown.metadata}))


def send_due(*, seconds: float = 20.0) -> int:
    """Send what is due, for some seconds; how many were taken by their receivers."""
    return BatchCallbacks().deliver(seconds=seconds)
