"""This process's spool, as settings and policies say: `recorder().begin(start)`, at the end `close_recorder()`."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from telemetry import content
from telemetry.spool import Limits, OpenCall, Spool
from telemetry.trace import CallEnd


class Recorder(Spool):
    """A spool that lets nothing through to the disk but what the organization's policy allows."""

    def _finish(self, call: OpenCall, end: CallEnd, payloads: Sequence[bytes] | None = None) -> None:
        if not call.done:
            end, payloads = content.kept(call.start, end)
            super()._finish(call, end, payloads)


_spool: Recorder | None = None
_lock = threading.Lock()


def recorder() -> Recorder:
    """One for each process; a forked child writes to segments of its own."""
    global _spool  # noqa: PLW0603 -- it is the process that has one spool
    if _spool is None:
        with _lock:
            if _spool is None:
                limits = Limits(total_bytes=settings.TELEMETRY_SPOOL_MAX_BYTES)
                _spool = Recorder(Path(settings.TELEMETRY_SPOOL_DIR), limits)
                atexit.register(close_recorder)
    return _spool


def close_recorder() -> None:
    """Flush to disk and hand over to the shipper: for a worker's shutdown. Harmless when called again."""
    if _spool is not None:
        _spool.close()
