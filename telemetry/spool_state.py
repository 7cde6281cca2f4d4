"""Since when calls wait in a spool: what each host's shipper reports, and what a deletion waits for."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import Error, connection

from core.time import now
from telemetry import segments
from telemetry.batches import CREATED
from telemetry.models.deletion import SpoolReport
from telemetry.spooled import QUARANTINE
from telemetry.trace import epoch_ms

log = logging.getLogger(__name__)

REPORT_EVERY_S = 15.0
READ_FILES = 8
# The name of a segment says when it was begun; a call in it may have begun so much earlier.
LONGEST_CALL = timedelta(hours=1)
FORGOTTEN_AFTER = timedelta(days=7)


def oldest_call(directory: Path) -> datetime | None:
    """The oldest call that is begun, or ended and not shipped. With many files waiting it is taken to be older."""
    states = (segments.OPEN, segments.SEALED, segments.DEAD)
    found = [*segments.listed(directory, *states), *segments.listed(directory / QUARANTINE, segments.SEALED)]
    if len(found) > READ_FILES:
        return _named(min(found, key=lambda path: path.name)) - LONGEST_CALL
    oldest = [at for path in found if (at := _oldest_in(path)) is not None]
    return datetime.fromtimestamp(min(oldest) / 1000, UTC) if oldest else None


def _named(path: Path) -> datetime:
    return datetime.fromtimestamp(int(path.name.split("-")[0]) / 1000, UTC)


def _oldest_in(path: Path) -> int | None:
    """Calls still open stand at the head of their writer's newest segment too, so a sealed one need not tell them."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return epoch_ms(_named(path) - LONGEST_CALL)  # shipped or renamed: the next look tells
    told = [r for r in segments.records(data) if r.is_end or path.suffix != segments.SEALED]
    return min((record.parse()[1][CREATED] for record in told), default=None)


def report(directory: Path) -> None:
    spool = f"{socket.gethostname()}:{directory}"[:300]
    state = {"oldest_at": oldest_call(directory), "reported_at": now()}
    SpoolReport.objects.update_or_create(spool=spool, defaults=state)


@contextmanager
def reporting(directory: Path) -> Iterator[None]:
    """Report while the shipper runs, beside it: neither waits for the other."""
    stopped = threading.Event()

    def run() -> None:
        failing = False
        while not stopped.is_set():
            try:
                report(directory)
                failing = False
            except (Error, OSError) as error:
                if not failing:
                    log.warning("The spool's state cannot be reported: %s", type(error).__name__)
                failing = True
            finally:
                connection.close()
            stopped.wait(REPORT_EVERY_S)

    thread = threading.Thread(target=run, name="telemetry-report", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(timeout=5)


def waits_for(cut_off: datetime) -> str:
    """In words, which spool may still hold calls from before; "" when none does."""
    mine = oldest_call(Path(settings.TELEMETRY_SPOOL_DIR))
    if mine is not None and mine < cut_off:
        return f"this host's spool, with calls of {mine:%Y-%m-%d %H:%M:%S}"
    for row in SpoolReport.objects.filter(reported_at__gte=now() - FORGOTTEN_AFTER).order_by("spool"):
        if row.reported_at <= cut_off:
            return f"a report of the shipper of {row.spool}, silent since {row.reported_at:%Y-%m-%d %H:%M:%S}"
        if row.oldest_at is not None and row.oldest_at < cut_off:
            return f"the spool {row.spool}, with calls of {row.oldest_at:%Y-%m-%d %H:%M:%S}"
    return ""
