"""The segments that wait in a spool directory, and which back ends have taken each of them.

One process at a time ships a directory (the shipper holds its lock); its threads, one for each back end, share this.
A segment goes when every back end of the setting has taken it. One that is no longer in the setting is not waited for,
and one that is new there begins with what is there.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from telemetry import segments
from telemetry.segments import Positions

logger = logging.getLogger(__name__)

QUARANTINE = "dead"
DRAFT_AGE_S = 60.0
MEASURE_EVERY_S = 5.0
# Of the directory's limit. Beyond the whole of it new calls are written without their payloads.
GIVE_UP_AT = 0.9


class Spooled:
    def __init__(self, directory: Path, backends: Sequence[str], limit_bytes: int) -> None:
        self.directory = directory
        self.given_up: Counter[str] = Counter()  # segments, by the back end that never took them
        self._backends = backends
        self._limit = limit_bytes * GIVE_UP_AT
        self._lock = threading.Lock()
        self._measured_at = -MEASURE_EVERY_S

    def waiting(self, backend: str) -> list[Path]:
        """What this back end has not taken yet, oldest first."""
        mark = f".{backend}{segments.DONE}"
        found = segments.listed(self.directory, segments.SEALED, segments.DEAD, mark)
        taken = {segments.name_of(path) for path in found if path.name.endswith(mark)}
        return [path for path in found if not path.name.endswith(mark) and segments.name_of(path) not in taken]

    def is_empty(self) -> bool:
        return not segments.listed(self.directory, segments.SEALED, segments.DEAD)

    def taken(self, segment: Path, backend: str) -> None:
        """This back end needs the segment no more."""
        with self._lock:
            others = [segments.mark_of(segment, other) for other in self._backends if other != backend]
            if all(mark.exists() for mark in others) or not segment.exists():
                self._remove(segment)
            else:
                segments.mark_of(segment, backend).touch(mode=0o600)

    def _remove(self, segment: Path) -> None:
        """The segment first: what is left beside it by a crash is a leftover."""
        segment.unlink(missing_ok=True)
        for backend in self._backends:
            Positions(segment, backend).remove()
            segments.mark_of(segment, backend).unlink(missing_ok=True)

    def adopt_the_dead(self) -> None:
        """Give the segments of dead writers the names that say so."""
        with self._lock:
            for path in segments.listed(self.directory, segments.OPEN):
                self._adopt(path)

    def _adopt(self, path: Path) -> None:
        lock = segments.lock_of_the_dead(path)
        if lock is None:
            return
        # Listed again under the lock: the writer is dead now, and may have gone on in a newer segment before.
        mine = segments.writer_of(path.name)
        states = (segments.OPEN, segments.SEALED, segments.DEAD)
        family = [p for p in segments.listed(self.directory, *states) if segments.writer_of(p.name) == mine]
        newest = max(family, key=lambda p: segments.sequence_of(p.stem))
        path.rename(path.with_suffix(segments.DEAD if newest == path else segments.SEALED))
        os.close(lock)

    def make_room(self) -> None:
        """Near the limit of the directory, what the first back end has is kept for the others no longer.

        Else one that is away for weeks would cost all others the payloads of new calls.
        """
        if len(self._backends) == 1 or time.monotonic() - self._measured_at < MEASURE_EVERY_S:
            return
        with self._lock:
            excess = segments.total_bytes(self.directory) - self._limit
            self._measured_at = time.monotonic()
            for path in segments.listed(self.directory, segments.SEALED, segments.DEAD) if excess > 0 else ():
                if excess <= 0:
                    break
                if segments.mark_of(path, self._backends[0]).exists():
                    excess -= segments.size_of(path) or 0
                    self._give_up(path)

    def _give_up(self, segment: Path) -> None:
        missed = [name for name in self._backends if not segments.mark_of(segment, name).exists()]
        self.given_up.update(missed)
        logger.error("The spool %s is full: %s is given up for %s", self.directory, segment.name, ", ".join(missed))
        self._remove(segment)

    def quarantine(self, segment: Path, backend: str, start: int, frames: bytes, reason: str) -> None:
        """Aside, with the reason: `retry_quarantined` brings it back."""
        name = f"{segments.name_of(segment)}-{start}.{backend}"
        logger.error("A telemetry record was put aside as %s: %s", name, reason)
        directory = self.directory / QUARANTINE
        directory.mkdir(mode=0o700, exist_ok=True)
        (directory / f"{name}.txt").write_text(reason)
        draft = directory / (name + segments.DRAFT)
        draft.write_bytes(frames)
        draft.rename(directory / (name + segments.SEALED))

    def tidy(self) -> None:
        """What a crash, an older version or a changed setting left."""
        for path in segments.listed(self.directory, segments.POSITION):
            if path.name.count(".") == 1:  # of a version that knew one back end
                path.rename(path.with_suffix(f".clickhouse{segments.POSITION}"))
        waiting = segments.listed(self.directory, segments.SEALED, segments.DEAD)
        names = {segments.name_of(path) for path in waiting}
        for path in segments.listed(self.directory, segments.POSITION, segments.DONE):
            if segments.name_of(path) not in names:
                path.unlink(missing_ok=True)
        for path in waiting:
            if all(segments.mark_of(path, name).exists() for name in self._backends):
                self._remove(path)
        for path in segments.listed(self.directory, segments.DRAFT):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > DRAFT_AGE_S:
                    path.unlink()


def megabytes_waiting(directory: Path, backend: str) -> int:
    return sum(segments.size_of(path) or 0 for path in Spooled(directory, [backend], 0).waiting(backend)) >> 20


def retry_quarantined(directory: Path, backends: Sequence[str]) -> int:
    """Bring back what was put aside, to be tried again by the back end that refused it; returns how many files."""
    found = segments.listed(directory / QUARANTINE, segments.SEALED)
    for path in found:
        refused_by = path.stem.partition(".")[2] or "clickhouse"
        target = directory / (segments.new_name(segments.new_writer(), 0) + segments.SEALED)
        for other in backends:
            if other != refused_by:
                segments.mark_of(target, other).touch(mode=0o600)
        path.rename(target)
        path.with_suffix(".txt").unlink(missing_ok=True)
    return len(found)
