"""Spool files: their names, their locks and the records in them. No Django, no ClickHouse.

A segment belongs to one process at a time and says by its suffix what state it is in:

    NAME.open   being written; its writer holds a flock on it, so a free lock means that the writer is dead
    NAME.seg    complete: every record in it that is an end can be shipped
    NAME.dead   the last segment of a dead writer: its starts without an end are calls that were lost
    NAME.BACKEND.pos    the ranges of NAME that were sent to that back end, the last of them perhaps without success
    NAME.BACKEND.done   that back end has taken all of NAME, and others have not yet

NAME is `<created, ms>-<writer>-<sequence>`: a writer is named by chance, never by its pid, which the system recycles.
A record is u32 length, u32 crc32, then as many bytes: u32 header length, header (JSON), payloads as they are.
The header is [kind, [payload lengths], row, estimates].
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from telemetry.trace import dump

OPEN, SEALED, DEAD, POSITION, DONE = ".open", ".seg", ".dead", ".pos", ".done"
DRAFT = ".draft"
START, END = "s", "e"

_FRAME = struct.Struct("<III")
_OUTER = 8  # bytes of a frame that its own length does not count
_POSITION = struct.Struct("<QQI")


def new_writer() -> str:
    return os.urandom(6).hex()


def new_name(writer: str, sequence: int) -> str:
    return f"{time.time_ns() // 1_000_000:013d}-{writer}-{sequence:08d}"


def name_of(path: Path) -> str:
    """NAME, of any file about it."""
    return path.name.partition(".")[0]


def mark_of(segment: Path, backend: str) -> Path:
    """The file that says that this back end has taken all of the segment."""
    return segment.with_suffix(f".{backend}{DONE}")


def writer_of(name: str) -> str:
    return name.split("-")[1]


def sequence_of(name: str) -> int:
    return int(name.split("-")[2])


def frame(kind: str, row: Sequence[Any], payloads: Sequence[bytes] = (), estimates: Sequence[Any] = ()) -> list[bytes]:
    """A record as buffers for `os.writev`: payloads are not copied."""
    header = dump((kind, [len(p) for p in payloads], row, estimates))
    crc = zlib.crc32(header, len(header))
    length = 4 + len(header)
    for payload in payloads:
        crc = zlib.crc32(payload, crc)
        length += len(payload)
    return [_FRAME.pack(length, crc, len(header)), header, *payloads]


class Record(NamedTuple):
    """One record and the range of the segment that it takes."""

    data: bytes
    start: int
    header_end: int
    end: int

    @property
    def header(self) -> bytes:
        return self.data[self.start + _FRAME.size : self.header_end]

    @property
    def is_end(self) -> bool:
        at = self.start + _FRAME.size
        return self.data[at : at + 4] == b'["e"'

    def parse(self) -> tuple[list[int], list[Any], list[Any]]:
        """Payload lengths, row, estimates."""
        _, lengths, row, estimates = orjson.loads(self.header)
        return lengths, row, estimates

    def payloads(self, lengths: Sequence[int]) -> list[bytes]:
        at, parts = self.header_end, []
        for length in lengths:
            parts.append(self.data[at : at + length])
            at += length
        return parts


def records(data: bytes, start: int = 0) -> Iterator[Record]:
    """The whole records from `start` on; stops at the first torn one, which begins where the last whole one ended."""
    size, view = len(data), memoryview(data)
    while start + _FRAME.size <= size:
        length, crc, header_length = _FRAME.unpack_from(data, start)
        end = start + _OUTER + length
        header_end = start + _FRAME.size + header_length
        if end > size or header_end > end:
            return
        if zlib.crc32(view[start + _FRAME.size : end], header_length) != crc:
            return
        yield Record(data, start, header_end, end)
        start = end


def create(directory: Path, name: str, head: Sequence[bytes]) -> tuple[int, int]:
    """A new segment that begins with `head`: descriptor and size. It is locked before its name can be seen."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / (name + DRAFT)
    fd = os.open(draft, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = b"".join(head)
        if data and os.write(fd, data) != len(data):
            raise OSError(f"{draft} could not be written whole")
        os.rename(draft, directory / (name + OPEN))
    except BaseException:
        os.close(fd)
        draft.unlink(missing_ok=True)
        raise
    return fd, len(data)


def lock_of_the_dead(path: Path) -> int | None:
    """A descriptor holding the lock of `path`, or None while its writer lives (or the file went away meanwhile)."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A writer renames before it unlocks: the lock counts only for a file that still has this name.
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def listed(directory: Path, *suffixes: str) -> list[Path]:
    """Segments in these states, oldest first."""
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(e.path) for e in entries if e.name.endswith(suffixes))
    except FileNotFoundError:
        return []


class Positions:
    """The ranges of one segment that were planned for one back end, in a file beside it: written before one is sent.

    After a crash the last one is sent again, the same to the byte and under the same name, so that who has it can tell.
    """

    def __init__(self, segment: Path, backend: str) -> None:
        self.path = segment.with_suffix(f".{backend}{POSITION}")

    def last(self) -> tuple[int, int] | None:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        found = None
        for at in range(0, len(data) - _POSITION.size + 1, _POSITION.size):
            start, end, crc = _POSITION.unpack_from(data, at)
            if crc != zlib.crc32(data[at : at + 16]):
                break
            found = (start, end)
        return found

    def plan(self, start: int, end: int) -> None:
        """OSError when the disk is full."""
        entry = struct.pack("<QQ", start, end)
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(fd).st_size
            if size % _POSITION.size:  # the tail of a write that was cut
                os.ftruncate(fd, size - size % _POSITION.size)
            os.write(fd, entry + struct.pack("<I", zlib.crc32(entry)))
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be shipped, for gauges and health checks."""

    segments: int
    bytes: int
    dead_records: int


def backlog(directory: Path) -> Backlog:
    waiting = listed(directory, SEALED, DEAD)
    sizes = [size for path in waiting if (size := size_of(path)) is not None]
    quarantined = len(listed(directory / "dead", SEALED))
    return Backlog(len(waiting), sum(sizes), quarantined)


def size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def total_bytes(directory: Path) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(size for e in entries if (size := size_of(Path(e.path))) is not None)
    except FileNotFoundError:
        return 0
