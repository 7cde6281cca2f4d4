"""This process's spool, as the settings say: `recorder().begin(start)`, and at the end `close_recorder()`."""

from __future__ import annotations

import atexit
import threading
from pathlib import Path

from django.conf import settings

from telemetry.spool import Limits, Spool

_spool: Spool | None = None
_lock = threading.Lock()


def recorder() -> Spool:
    """One for each process; a forked child writes to segments of its own."""
    global _spool  # noqa: PLW0603 -- it is the process that has one spool
    if _spool is None:
        with _lock:
            if _spool is None:
                limits = Limits(total_bytes=settings.TELEMETRY_SPOOL_MAX_BYTES)
                _spool = Spool(Path(settings.TELEMETRY_SPOOL_DIR), limits)
                atexit.register(close_recorder)
    return _spool


def close_recorder() -> None:
    """Flush to disk and hand over to the shipper: for a worker's shutdown. Harmless when called again."""
    if _spool is not None:
        _spool.close()
