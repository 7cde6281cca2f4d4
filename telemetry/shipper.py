"""From the spool to every back end of the setting. One shipper for each host and spool directory.

Each back end has a thread, a pace and a position of its own, so one that is away holds up no other. What makes it safe
to kill at any moment is told in telemetry/delivery.py; which segments may go, in telemetry/spooled.py.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from telemetry.backends.base import TraceBackend
from telemetry.delivery import Condition, Delivery, Pace
from telemetry.spool import Limits
from telemetry.spooled import Spooled

logger = logging.getLogger(__name__)

T = TypeVar("T")
DEFAULT_LIMIT = Limits().total_bytes


def collect_rarely() -> None:
    """For a process that ships and does nothing else. A batch is a million young values without a cycle among them: to
    look for cycles as often as Python does by itself takes a fifth of the shipper's time (measured)."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class Shipper:
    def __init__(
        self,
        directory: Path,
        backends: Sequence[TraceBackend],
        pace: Pace | None = None,
        limit_bytes: int = DEFAULT_LIMIT,
    ) -> None:
        self.directory = Path(directory)
        self.pace = pace or Pace()
        self._spooled = Spooled(self.directory, [backend.name for backend in backends], limit_bytes)
        self._stopped = threading.Event()
        self.deliveries = [Delivery(backend, self._spooled, self.pace, self._stopped) for backend in backends]
        self._lock: int | None = None

    @property
    def condition(self) -> Condition:
        """That of the first back end."""
        return self.deliveries[0].condition

    def stop(self) -> None:
        """Ends `run` and `drain` after the batches in hand; safe from a signal handler."""
        self._stopped.set()

    def run(self) -> None:
        """Ship until `stop`. Waits while another shipper has the directory."""
        try:
            while not self._stopped.is_set():
                try:
                    free = self._acquire()
                except OSError as error:  # of the spool's disk: whoever mends it need not know of this process
                    logger.error("The spool %s cannot be read: %s", self.directory, error)
                    self._stopped.wait(self.pace.last_retry_s)
                    continue
                if free:
                    self._each(Delivery.run)
                else:
                    self._stopped.wait(self.pace.idle_s)
        finally:
            self._release()

    def drain(self) -> bool:
        """Ship what is there (or wait until another shipper has); False when stopped before the end."""
        try:
            while not self._stopped.is_set():
                if self._acquire():
                    self._each(Delivery.drain)
                if self._spooled.is_empty():
                    return True
                if self._lock is None:
                    self._stopped.wait(self.pace.idle_s)
        finally:
            self._release()
        return False

    def ship_once(self) -> int:
        """What is there now, calls of dead workers among it; returns the rows, of all back ends together."""
        try:
            return sum(self._each(Delivery.once)) if self._acquire() else 0
        finally:
            self._release()

    def _each(self, do: Callable[[Delivery], T]) -> list[T]:
        """For each back end at once; when one fails unexpectedly all stop, and the failure is raised."""
        if len(self.deliveries) == 1:
            return [self._one(do, self.deliveries[0])]
        with ThreadPoolExecutor(len(self.deliveries), "telemetry-delivery") as pool:
            return [work.result() for work in [pool.submit(self._one, do, d) for d in self.deliveries]]

    def _one(self, do: Callable[[Delivery], T], delivery: Delivery) -> T:
        try:
            return do(delivery)
        except BaseException:
            self._stopped.set()
            raise
        finally:
            delivery.backend.close()  # by the thread that has its connections

    def _acquire(self) -> bool:
        if self._lock is None:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.directory / "shipper.lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            self._lock = fd
            self._spooled.tidy()
        return True

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
