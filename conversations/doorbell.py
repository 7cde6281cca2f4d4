"""The doorbell: tells some worker that a run has work to do. Losing a ring loses nothing, the sweeper rings again."""

from __future__ import annotations

import logging

from celery import current_app
from kombu.exceptions import OperationalError

log = logging.getLogger(__name__)

ADVANCE = "conversations.advance_run"
SEND_CALLBACKS = "conversations.send_callbacks"
FEED_BATCHES = "conversations.feed_batches"


def ring(run_id: str, step: int) -> None:
    """`step`: the index of the one that is to be done. A ring that comes late, when it was done, wakes nobody."""
    try:
        current_app.send_task(ADVANCE, (run_id, step), ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("%s: the broker does not answer, the sweeper will ring again: %s", run_id, error)


def ring_callbacks() -> None:
    """A run has ended of which somebody wants to be told. The clock rings too."""
    try:
        current_app.send_task(SEND_CALLBACKS, ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("the broker does not answer, callbacks go out with the next beat: %s", error)


def ring_batches() -> None:
    """There is room for a run of a batch. The clock rings too."""
    try:
        current_app.send_task(FEED_BATCHES, ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("the broker does not answer, batches go on with the next beat: %s", error)
