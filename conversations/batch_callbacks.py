"""Tells the `callback_url` of a batch that it has ended, as `conversations.callbacks` does of a run."""

from __future__ import annotations

import logging
from datetime import datetime

import orjson
from django.db import transaction

from conversations import callbacks
from conversations.batch_models import Batch
from conversations.schemas.batches import batch_out
from core import outbound
from core.db import release_connection
from core.ids import bare_uuid
from core.outbound import NotDelivered
from core.time import now

log = logging.getLogger(__name__)

MOST_A_ROUND = 5


def send_due() -> int:
    """A few of those that are due; how many were taken by their receivers."""
    sent = 0
    for _ in range(MOST_A_ROUND):
        batch = _take(now())
        if batch is None:
            break
        sent += _send(batch)
    return sent


@transaction.atomic
def _take(at: datetime) -> Batch | None:
    """Who dies over it leaves it to another: it is due again a while later."""
    due = Batch.objects.filter(callback_due_at__lte=at).order_by("callback_due_at")
    batch = due.select_for_update(skip_locked=True).first()
    if batch is not None:
        batch.callback_attempts += 1
        batch.callback_due_at = at + callbacks.HELD
        batch.save(update_fields=["callback_attempts", "callback_due_at"])
    return batch


def _send(batch: Batch) -> bool:
    try:
        batch.callback_status_code = _post(batch)
    except NotDelivered as error:
        over = error.final or batch.callback_attempts > len(callbacks.PAUSES)
        log.warning("%s: its callback was not taken (attempt %d): %s", batch.pk, batch.callback_attempts, error)
        batch.callback_status_code, batch.callback_error = error.status, str(error)[:500]
        batch.callback_due_at = None if over else now() + callbacks.PAUSES[batch.callback_attempts - 1]
    else:
        batch.callback_error, batch.callback_due_at, batch.callback_sent_at = None, None, now()
    columns = ("due_at", "sent_at", "status_code", "error")
    batch.save(update_fields=[f"callback_{name}" for name in columns])
    return batch.callback_sent_at is not None


def _post(batch: Batch) -> int:
    shown = batch_out(batch, batch.counts)
    told = {"batch_id": batch.pk, "status": shown.status, "completed_at": shown.completed_at}
    body = orjson.dumps({**told, "metadata": shown.metadata})
    secret = callbacks.secret_of(batch.organization_id)
    headers = outbound.signed_headers(secret, f"delivery-{bare_uuid(batch.pk)}", body)
    release_connection()
    return outbound.post(batch.callback_url or "", body, headers, callbacks.policy())
