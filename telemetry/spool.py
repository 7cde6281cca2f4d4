"""Where a model call is written down before and after it happens: files that outlive the process. No Django.

The write is done at once, by the caller, because a record must survive `kill -9` at any moment; it costs about 30 µs.
What the disk refuses is kept in memory, bounded, and written later: a full disk never breaks a run.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from telemetry import segments
from telemetry.trace import CallEnd, CallStart, Row, dump, end_row, estimates, start_row

logger = logging.getLogger(__name__)

NO_PAYLOADS = (b"", b"", b"")
LOG_EVERY_S = 60.0
MEASURE_EVERY_S = 5.0
# With so many segments waiting, ClickHouse is away: larger segments then, so that there are fewer files.
BACKLOG_SEGMENTS, BACKLOG_AGE_S = 64, 15.0
# The thread behind seals full segments; when it falls behind (a slow disk), the caller goes on in a new one by itself.
OVERFULL = 4


@dataclass(frozen=True, slots=True)
class Limits:
    segment_bytes: int = 16 << 20
    segment_age_s: float = 1.0  # counted from the first ended call in it
    sync_every_s: float = 0.05  # what a power cut may cost
    total_bytes: int = 20 << 30  # of the whole directory; beyond it payloads are dropped, costs never
    call_bytes: int = 32 << 20  # of one call's payloads
    memory_bytes: int = 64 << 20  # of ended calls that the disk refused


@dataclass(frozen=True, slots=True)
class Stats:
    """Counted since the process began. `kept`: ended calls in memory because the disk refuses them."""

    failures: int = 0
    kept: int = 0
    lost: int = 0
    payloads_dropped: int = 0


class OpenCall:
    """A call that has begun. `finish` it once; what comes after the first time is ignored."""

    __slots__ = ("_spool", "done", "row", "start", "writer")

    def __init__(self, spool: Spool, start: CallStart, row: Row, writer: str) -> None:
        self._spool = spool
        self.start = start
        self.row = row
        self.writer = writer
        self.done = False

    def finish(self, end: CallEnd) -> None:
        self._spool._finish(self, end)


class Spool:
    """One process's end of the spool directory. Thread safe; a forked child makes segments of its own."""

    def __init__(self, directory: Path, limits: Limits | None = None) -> None:
        self.directory = Path(directory)
        self.limits = limits or Limits()
        self._begin_anew()
        _spools.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._writer = segments.new_writer()
        self._sequence = 0
        self._fd: int | None = None
        self._path = self.directory
        self._size = 0
        self._torn = False
        self._dirty = False
        self._ended_at: float | None = None  # when the first end came into this segment
        self._open: dict[str, bytes] = {}
        self._kept: deque[tuple[str, Row, Sequence[bytes]]] = deque()
        self._kept_bytes = 0
        self._stats = Stats()
        self._full = False
        self._age_s = self.limits.segment_age_s
        self._measured_at = 0.0
        self._logged_at = -LOG_EVERY_S
        self._full_segments: dict[int, Path] = {}  # to be sealed by the thread behind, with their descriptors
        self._sealing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._closing = False

    @property
    def stats(self) -> Stats:
        return self._stats

    def begin(self, start: CallStart) -> OpenCall:
        """Write down that a call is about to be made."""
        row = start_row(start)
        record = b"".join(segments.frame(segments.START, row, (), estimates(start)))
        with self._lock:
            self._write((record,))
            self._open[start.id] = record
            if self._thread is None:
                self._start_thread()
            return OpenCall(self, start, row, self._writer)

    def record(self, start: CallStart, end: CallEnd) -> None:
        """Write down a call that has ended and of which nothing is written yet: it was begun long ago, elsewhere."""
        with self._lock:
            call = OpenCall(self, start, start_row(start), self._writer)
            if self._thread is None:
                self._start_thread()
        call.finish(end)

    def _finish(self, call: OpenCall, end: CallEnd, payloads: Sequence[bytes] | None = None) -> None:
        """`payloads`: what of request, response and settings is to be kept; without them all of it is."""
        row = [*call.row, *end_row(end)]
        if payloads is None:
            payloads = (call.start.request_json, end.response_json, dump(call.start.llm_config))
        oversized = sum(map(len, payloads)) > self.limits.call_bytes
        if oversized or self._full:
            payloads = NO_PAYLOADS
        parts = segments.frame(segments.END, row, payloads)
        with self._lock:
            if call.done or call.writer != self._writer:
                return  # the parent of a fork ends the calls that it began
            call.done = True
            if payloads is NO_PAYLOADS:
                self._count(payloads_dropped=1)
            if self._kept or not self._write(parts):
                self._keep(call.start.id, row, payloads)
            else:
                self._ended(call.start.id)

    def _ended(self, call_id: str) -> None:
        self._open.pop(call_id, None)
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        if self._closing and not self._open:
            self._seal()

    def _write(self, parts: Sequence[bytes]) -> bool:
        """Append one record; False when the disk refuses it. The lock is held."""
        try:
            if self._fd is None:
                self._next_segment()
            elif self._torn:
                raise OSError("the segment has a torn record that could not be cut off")
            elif self._size >= OVERFULL * self.limits.segment_bytes:
                self._swap()
            assert self._fd is not None
            self._append(self._fd, parts)
        except OSError as error:
            self._failed(error)
            return False
        if not self._dirty:
            self._dirty = True
            self._wake.set()
        return True

    def _append(self, fd: int, parts: Sequence[bytes]) -> None:
        length = sum(map(len, parts))
        written = os.writev(fd, parts)
        if written != length:  # the disk is full: nothing may follow half a record
            self._torn = True
            os.ftruncate(fd, self._size)
            self._torn = False
            raise OSError(f"only {written} of {length} bytes could be written")
        self._size += length

    def _next_segment(self) -> None:
        """A new segment that begins with the calls still open, so that the newest one of a process holds them all."""
        name = segments.new_name(self._writer, self._sequence)
        fd, size = segments.create(self.directory, name, list(self._open.values()))
        self._sequence += 1
        self._fd, self._size, self._path = fd, size, self.directory / (name + segments.OPEN)
        self._torn, self._ended_at = False, None

    def _swap(self) -> None:
        """Go on in a new segment; the old one is to be sealed. The lock is held."""
        old, old_path = self._fd, self._path
        if old is None or (self._ended_at is None and not self._torn):
            return
        self._next_segment()
        self._full_segments[old] = old_path

    def _rotate(self) -> None:
        """Go on in a new segment and seal the old one. The lock is not held."""
        try:
            with self._lock:
                self._swap()
        except OSError as error:
            self._failed(error)
        with self._sealing:
            for fd, path in list(self._full_segments.items()):
                if self._hand_over(fd, path):
                    with self._lock:
                        del self._full_segments[fd]
                        os.close(fd)

    def _hand_over(self, fd: int, path: Path) -> bool:
        """Only what has its new name may be unlocked: else its writer would be taken for dead."""
        try:
            os.fdatasync(fd)
            os.rename(path, path.with_suffix(segments.SEALED))
        except OSError as error:
            self._failed(error)
            return False
        return True

    def _seal(self) -> None:
        """Seal the segment without a next one: nothing is open. The lock is held."""
        fd, self._fd = self._fd, None
        if fd is not None and self._ended_at is None:
            self._path.unlink(missing_ok=True)
            os.close(fd)
        elif fd is not None and self._hand_over(fd, self._path):
            os.close(fd)

    # What the disk refused

    def _keep(self, call_id: str, row: Row, payloads: Sequence[bytes]) -> None:
        self._kept.append((call_id, row, payloads))
        self._kept_bytes += _kept_size(payloads)
        if self._kept_bytes > self.limits.memory_bytes:
            self._shrink_kept()
        self._count(kept=len(self._kept) - self._stats.kept)

    def _shrink_kept(self) -> None:
        """Payloads go first; only then whole calls, the oldest before the others, and counted."""
        stripped = sum(1 for _, _, payloads in self._kept if payloads is not NO_PAYLOADS)
        self._kept = deque((call_id, row, NO_PAYLOADS) for call_id, row, _ in self._kept)
        self._kept_bytes = len(self._kept) * _kept_size(NO_PAYLOADS)
        lost = 0
        while self._kept_bytes > self.limits.memory_bytes:
            self._open.pop(self._kept.popleft()[0], None)
            self._kept_bytes -= _kept_size(NO_PAYLOADS)
            lost += 1
        self._count(payloads_dropped=stripped, lost=lost)

    def _write_kept(self) -> None:
        with self._lock:
            while self._kept:
                call_id, row, payloads = self._kept[0]
                if not self._write(segments.frame(segments.END, row, payloads)):
                    break
                self._kept.popleft()
                self._kept_bytes -= _kept_size(payloads)
                self._ended(call_id)
            self._count(kept=len(self._kept) - self._stats.kept)

    def _failed(self, error: OSError) -> None:
        self._count(failures=1)
        if time.monotonic() - self._logged_at >= LOG_EVERY_S:
            self._logged_at = time.monotonic()
            logger.error("The telemetry spool %s cannot be written: %s (%s)", self.directory, error, self._stats)

    def _count(self, **more: int) -> None:
        s = self._stats
        self._stats = replace(s, **{name: getattr(s, name) + n for name, n in more.items()})

    # The thread behind: sync to disk, seal by age and size, write what was kept, measure the directory

    def _start_thread(self) -> None:
        self._closing, self._stop = False, threading.Event()
        self._thread = threading.Thread(target=self._tend, args=(self._stop,), name="telemetry-spool", daemon=True)
        self._thread.start()

    def _tend(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                if self._dirty:
                    if self._size < self.limits.segment_bytes:
                        stop.wait(self.limits.sync_every_s)
                    self._sync()
                if self._kept:
                    self._write_kept()
                if self._is_due():
                    self._rotate()
                self._measure()
            except OSError as error:
                self._failed(error)

    def _pause(self) -> float:
        if self._ended_at is None:
            return 1.0
        return min(1.0, max(0.001, self._ended_at + self._age_s - time.monotonic()))

    def _is_due(self) -> bool:
        since, now = self._ended_at, time.monotonic()
        aged = since is not None and (now - since >= self._age_s or self._size >= self.limits.segment_bytes)
        return aged or self._torn

    def _sync(self) -> None:
        with self._lock:
            self._dirty = False
            fd = self._fd
        if fd is not None:
            try:
                os.fdatasync(fd)
            except OSError as error:
                if fd == self._fd:  # else it was sealed, and synced, meanwhile
                    self._failed(error)

    def _measure(self) -> None:
        now = time.monotonic()
        if now - self._measured_at < MEASURE_EVERY_S:
            return
        waiting = segments.backlog(self.directory)
        total = segments.total_bytes(self.directory)
        took = time.monotonic() - now
        self._measured_at = now + 20 * took  # a directory that is slow to list is listed less often
        self._full = total >= self.limits.total_bytes
        self._age_s = BACKLOG_AGE_S if waiting.segments > BACKLOG_SEGMENTS else self.limits.segment_age_s

    # The end

    def flush(self) -> None:
        """Hand everything that has ended to the shipper now."""
        self._write_kept()
        self._rotate()

    def close(self) -> None:
        """Flush and stop. Calls still open keep their segment locked: they may finish, or be found lost."""
        with self._lock:
            thread, self._thread, self._closing = self._thread, None, True
            self._stop.set()
            self._wake.set()
        if thread is not None:
            thread.join()
        self._write_kept()
        with self._lock:
            if not self._open:
                self._seal()
                return
        self._rotate()


def _kept_size(payloads: Sequence[bytes]) -> int:
    return 2_000 + sum(map(len, payloads))


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()


_forking: list[Spool] = []


def _before_fork() -> None:
    """No segment may be half made while its descriptors are copied."""
    _forking.extend(_spools)
    for spool in _forking:
        spool._lock.acquire()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop()._lock.release()


def _after_fork_in_child() -> None:
    """The parent's segments stay the parent's: a copy of their descriptors would keep them locked after its death."""
    while _forking:
        spool = _forking.pop()
        held = {*spool._full_segments, *(() if spool._fd is None else (spool._fd,))}
        spool._begin_anew()
        for fd in held:
            os.close(fd)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
