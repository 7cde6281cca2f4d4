"""From the spool to ClickHouse, each row exactly once. One shipper for each host and spool directory.

Why it is exactly once: a range of a segment is written down before it is sent, its token is made from the range alone,
and ClickHouse drops a block whose token it knows. Whoever is killed when, the same range is sent again under the same
name, and then looked for (telemetry/settle.py). A segment is removed only when all of it was accepted.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from telemetry import segments
from telemetry.batches import Away, Batch, Entry, Inserter, Refused, entry, lost_entries
from telemetry.segments import Positions, Record
from telemetry.settle import Settler

logger = logging.getLogger(__name__)

QUARANTINE = "dead"
DRAFT_AGE_S = 60.0


@dataclass(frozen=True, slots=True)
class Pace:
    batch_bytes: int = 8 << 20
    batch_rows: int = 5_000
    idle_s: float = 0.2
    first_retry_s: float = 0.2
    last_retry_s: float = 10.0


@dataclass(slots=True)
class Condition:
    """What the shipper knows of itself. `away`: why ClickHouse took nothing at the last try, "" when it did."""

    rows: int = 0
    quarantined: int = 0
    away: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)


class Stopped(Exception):
    """Asked to stop while waiting for ClickHouse."""


class Shipper:
    def __init__(self, directory: Path, url: str, pace: Pace | None = None) -> None:
        self.directory = Path(directory)
        self.pace = pace or Pace()
        self.condition = Condition()
        self._inserter = Inserter(url)
        self._settler = Settler(url, self._inserter)
        self._lock: int | None = None

    def stop(self) -> None:
        """Ends `run` and `drain` after the batch in hand; safe from a signal handler."""
        self.condition.stopped.set()

    def run(self) -> None:
        """Ship until `stop`. Waits while another shipper has the directory."""
        try:
            while not self.condition.stopped.is_set():
                pause = self._pause_after_pass()
                self.condition.stopped.wait(pause)
        except Stopped:
            pass
        finally:
            self._release()

    def _pause_after_pass(self) -> float:
        try:
            return 0 if self._acquire() and self._pass() else self.pace.idle_s
        except OSError as error:  # of the spool's disk: whoever mends it need not know of this process
            logger.error("The spool %s cannot be read: %s", self.directory, error)
            return self.pace.last_retry_s

    def drain(self) -> bool:
        """Ship what is there (or wait until another shipper has); False when stopped before the end."""
        try:
            while not self.condition.stopped.is_set():
                if self._acquire():
                    self._pass()
                if not segments.listed(self.directory, segments.SEALED, segments.DEAD):
                    return True
                if self._lock is None:
                    self.condition.stopped.wait(self.pace.idle_s)
        except Stopped:
            pass
        finally:
            self._release()
        return False

    def ship_once(self) -> int:
        """What is there now, calls of dead workers among it; returns the rows."""
        try:
            return self._pass() if self._acquire() else 0
        finally:
            self._release()

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
            self._remove_leftovers()
        return True

    def _release(self) -> None:
        self._inserter.disconnect()
        self._settler.disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _pass(self) -> int:
        """Once over the directory; returns the rows that were shipped."""
        self._adopt_the_dead()
        before = self.condition.rows
        for path in segments.listed(self.directory, segments.SEALED, segments.DEAD):
            self._ship_segment(path)
            if self.condition.stopped.is_set():
                break
        return self.condition.rows - before

    def _adopt_the_dead(self) -> None:
        for path in segments.listed(self.directory, segments.OPEN):
            lock = segments.lock_of_the_dead(path)
            if lock is None:
                continue
            # Listed again under the lock: the writer is dead now, and may have gone on in a newer segment before.
            mine = segments.writer_of(path.name)
            states = (segments.OPEN, segments.SEALED, segments.DEAD)
            family = [p for p in segments.listed(self.directory, *states) if segments.writer_of(p.name) == mine]
            newest = max(family, key=lambda p: segments.sequence_of(p.stem))
            path.rename(path.with_suffix(segments.DEAD if newest == path else segments.SEALED))
            os.close(lock)

    def _ship_segment(self, path: Path) -> None:
        data = path.read_bytes()
        positions = Positions(path)
        torn = _Shipment(self, path, data, positions).send()
        if torn < len(data) and path.suffix == segments.SEALED:
            self._quarantine(path.stem, torn, data[torn:], "a torn record in a sealed segment, and all behind it")
        path.unlink()
        positions.remove()

    def insert(self, batch: Batch, *, doubtful: bool = False) -> None:
        """Until it is accepted; Refused when it never will be, Stopped when there is no time to wait.

        `doubtful`: it may have been sent before. Then it is looked at whether all of it is there.
        """
        pause = self.pace.first_retry_s
        while True:
            try:
                self._inserter.insert(batch)
                if doubtful:
                    self._settler.settle(batch)
            except Away as error:
                doubtful = True
                if not self.condition.away:
                    logger.warning("ClickHouse takes no traces, they wait in %s: %s", self.directory, error)
                self.condition.away = str(error) or "no answer"
                if self.condition.stopped.wait(pause):
                    raise Stopped from error
                pause = min(pause * 2, self.pace.last_retry_s)
            else:
                break
        if self.condition.away:
            logger.warning("ClickHouse takes traces again")
            self.condition.away = ""
        self.condition.rows += len(batch.entries)

    def quarantine(self, name: str, record: Record, reason: str) -> None:
        self._quarantine(name, record.start, record.data[record.start : record.end], reason)

    def _quarantine(self, name: str, start: int, frames: bytes, reason: str) -> None:
        """Aside, with the reason: `retry_quarantined` brings it back."""
        logger.error("A telemetry record of %s was put aside: %s", name, reason)
        directory = self.directory / QUARANTINE
        directory.mkdir(mode=0o700, exist_ok=True)
        target = directory / f"{name}-{start}"
        target.with_suffix(".txt").write_text(reason)
        draft = target.with_suffix(segments.DRAFT)
        draft.write_bytes(frames)
        draft.rename(target.with_suffix(segments.SEALED))
        self.condition.quarantined += 1

    def _remove_leftovers(self) -> None:
        for path in segments.listed(self.directory, segments.POSITION):
            if not any(path.with_suffix(state).exists() for state in (segments.SEALED, segments.DEAD)):
                path.unlink()
        for path in segments.listed(self.directory, segments.DRAFT):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DRAFT_AGE_S:
                    path.unlink()


class _Shipment:
    """One segment on its way."""

    def __init__(self, shipper: Shipper, path: Path, data: bytes, positions: Positions) -> None:
        self.shipper = shipper
        self.path = path
        self.name = path.stem
        self.data = data
        self.positions = positions
        self.whole = 0  # where the last whole record ends

    def send(self) -> int:
        """Send what was not accepted yet; returns where the whole records end."""
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
                    self.shipper.quarantine(self.name, record, str(error))

    def _batches(self, start: int) -> Iterator[Batch]:
        pace, entries, size = self.shipper.pace, [], 0
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
            self.shipper.insert(batch, doubtful=doubtful)
        except Refused as error:
            if len(batch.entries) == 1:
                self.shipper.quarantine(self.name, batch.entries[0].record, str(error))
                return
            for half in batch.halves(error.left):
                self._plan(half)
                self._deliver(half, doubtful=doubtful)

    def _plan(self, batch: Batch) -> None:
        if batch.lost:
            return  # found again by reading the whole segment, not by their range
        try:
            self.positions.plan(batch.start, batch.end)
        except OSError as error:
            # A full disk must not keep rows from leaving it. After a crash the ranges come out the same again, as long
            # as the pace is the same and nothing was refused.
            logger.warning("The position in %s cannot be written: %s", self.name, error)


def retry_quarantined(directory: Path) -> int:
    """Bring back what was put aside, to be tried again; returns how many files."""
    found = segments.listed(directory / QUARANTINE, segments.SEALED)
    for path in found:
        path.rename(directory / (segments.new_name(segments.new_writer(), 0) + segments.SEALED))
        path.with_suffix(".txt").unlink(missing_ok=True)
    return len(found)
