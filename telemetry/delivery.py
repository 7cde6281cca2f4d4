"""One back end's way through the spool, at its own pace: segment by segment, each batch until it was taken.

Why nothing is lost and little is sent twice: a range of a segment is written down before it is sent, so whoever is
killed when, the same range is sent again under the same name, and the back end is told that it may know it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from telemetry import segments
from telemetry.backends.base import TraceBackend
from telemetry.batches import Away, Batch, Entry, Refused, entry, lost_entries
from telemetry.segments import Positions, Record
from telemetry.spooled import Spooled

logger = logging.getLogger(__name__)

LONGEST_WAIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    batch_bytes: int = 16 << 20
    batch_rows: int = 20_000
    idle_s: float = 0.2
    first_retry_s: float = 0.2
    last_retry_s: float = 10.0


@dataclass(slots=True)
class Condition:
    """What a delivery knows of itself. `away`: why its back end took nothing at the last try, "" when it did."""

    rows: int = 0
    quarantined: int = 0
    away: str = ""


class Stopped(Exception):
    """Asked to stop while waiting for the back end."""


class Delivery:
    def __init__(self, backend: TraceBackend, spooled: Spooled, pace: Pace, stopped: threading.Event) -> None:
        self.backend = backend
        self.spooled = spooled
        self.pace = pace
        self.condition = Condition()
        self._stopped = stopped

    @property
    def name(self) -> str:
        return self.backend.name

    def run(self) -> None:
        """Ship until stopped."""
        while not self._stopped.is_set():
            try:
                pause = 0 if self.once() else self.pace.idle_s
            except OSError as error:  # of the spool's disk: whoever mends it need not know of this process
                logger.error("The spool %s cannot be read: %s", self.spooled.directory, error)
                pause = self.pace.last_retry_s
            self._stopped.wait(pause)

    def drain(self) -> None:
        """Ship what is there, or until stopped."""
        while not self._stopped.is_set():
            self.once()
            if not self.spooled.waiting(self.name):
                return

    def once(self) -> int:
        """Once over the directory; returns the rows that were taken."""
        self.spooled.adopt_the_dead()
        self.spooled.make_room()
        before = self.condition.rows
        try:
            for path in self.spooled.waiting(self.name):
                self._ship(path)
                if self._stopped.is_set():
                    break
        except Stopped:
            pass
        return self.condition.rows - before

    def _ship(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return  # given up meanwhile
        torn = _Shipment(self, path, data).send()
        if torn < len(data) and path.suffix == segments.SEALED:
            self.quarantine(path, torn, data[torn:], "a torn record in a sealed segment, and all behind it")
        self.spooled.taken(path, self.name)

    def insert(self, batch: Batch, *, doubtful: bool = False) -> None:
        """Until it is taken; Refused when it never will be, Stopped when there is no time to wait.

        `doubtful`: it may have been sent before.
        """
        pause = self.pace.first_retry_s
        while True:
            try:
                self.backend.write(batch, doubtful=doubtful)
                break
            except Refused:
                raise
            except Exception as error:
                # Back ends fail in ways of their own: nothing is lost by trying again, and no other is held up.
                doubtful = True
                self._wait(error, pause)
                pause = min(pause * 2, self.pace.last_retry_s)
        if self.condition.away:
            logger.warning("The back end %s takes traces again", self.name)
            self.condition.away = ""
        self.condition.rows += len(batch.entries)

    def _wait(self, error: Exception, pause: float) -> None:
        expected = isinstance(error, Away)
        if not self.condition.away:
            said = "The back end %s takes no traces, they wait in %s: %s"
            logger.warning(said, self.name, self.spooled.directory, error, exc_info=not expected)
        self.condition.away = str(error) or "no answer"
        asked = min(error.retry_after, LONGEST_WAIT_S) if isinstance(error, Away) else 0
        if self._stopped.wait(max(pause, asked)):
            raise Stopped from error

    def quarantine(self, segment: Path, start: int, frames: bytes, reason: str) -> None:
        self.spooled.quarantine(segment, self.name, start, frames, reason)
        self.condition.quarantined += 1


class _Shipment:
    """One segment on its way."""

    def __init__(self, delivery: Delivery, path: Path, data: bytes) -> None:
        self.delivery = delivery
        self.path = path
        self.name = path.stem
        self.data = data
        self.positions = Positions(path, delivery.name)
        self.whole = 0  # where the last whole record ends

    def send(self) -> int:
        """Send what was not taken yet; returns where the whole records end."""
        at = 0
        planned = self.positions.last()
        if planned is not None:
            start, at = planned
            self._deliver(Batch(self.name, list(self._entries(start, at))), doubtful=True)
        for batch in self._batches(at):
            self._plan(batch)
            self._deliver(batch)
        if self.path.suffix == segments.DEAD:
            lost = lost_entries(segments.records(self.data))
            if lost:
                logger.warning("%d model calls were lost with their worker", len(lost))
                self._deliver(Batch(self.name, lost, lost=True), doubtful=True)
        return self.whole

    def _entries(self, start: int, end: int) -> Iterator[Entry]:
        for record in segments.records(self.data, start):
            if record.end > end:
                return
            self.whole = record.end
            if record.is_end:
                try:
                    yield entry(record)
                except ValueError as error:
                    self._put_aside(record, str(error))

    def _batches(self, start: int) -> Iterator[Batch]:
        pace, entries, size = self.delivery.pace, [], 0
        self.whole = max(self.whole, start)
        for found in self._entries(start, len(self.data)):
            entries.append(found)
            size += found.record.end - found.record.start
            if size >= pace.batch_bytes or len(entries) >= pace.batch_rows:
                yield Batch(self.name, entries)
                entries, size = [], 0
        if entries:
            yield Batch(self.name, entries)

    def _deliver(self, batch: Batch, *, doubtful: bool = False) -> None:
        if not batch.entries:
            return
        try:
            self.delivery.insert(batch, doubtful=doubtful)
        except Refused as error:
            if len(batch.entries) == 1:
                self._put_aside(batch.entries[0].record, str(error))
                return
            for half in batch.halves(error.left):
                self._plan(half)
                self._deliver(half, doubtful=doubtful)

    def _put_aside(self, record: Record, reason: str) -> None:
        self.delivery.quarantine(self.path, record.start, record.data[record.start : record.end], reason)

    def _plan(self, batch: Batch) -> None:
        if batch.lost:
            return  # found again by reading the whole segment, not by their range
        try:
            self.positions.plan(batch.start, batch.end)
        except OSError as error:
            # A full disk must not keep rows from leaving it. After a crash the ranges come out the same again, as long
            # as the pace is the same and nothing was refused.
            logger.warning("The position in %s cannot be written: %s", self.name, error)
