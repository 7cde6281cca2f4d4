"""The doorbell: tells some worker that a run has work to do. Losing a ring loses nothing, the sweeper rings again."""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

ADVANCE = "conversations.advance_run"


def ring(run_id: str) -> None:
    try:
        current_app.send_task(ADVANCE, (run_id,), ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("%s: the broker does not answer, the sweeper will ring again: %s", run_id, error)
