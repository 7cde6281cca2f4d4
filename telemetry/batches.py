"""From records in a segment to rows on their way to a back end: a batch, and what may become of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from telemetry.segments import Record
from telemetry.trace import COLUMNS, Row, filled, lost_row

ID, ORGANIZATION, CREATED = (COLUMNS.index(name) for name in ("id", "organization_id", "created_at"))


class Away(Exception):
    """The back end does not answer, or cannot take anything now: the same batch again, later.

    `retry_after`: seconds for which it asked not to be asked again.
    """

    def __init__(self, message: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """Something in the batch cannot be stored: again in halves, into the tables that did not take it (`left`)."""

    def __init__(self, message: str, left: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.left = left


class Entry(NamedTuple):
    """One row on its way, with the record it came from. `payloads`: in the order of PAYLOAD_COLUMNS, or none."""

    record: Record
    row: Row
    payloads: Sequence[bytes]

    def named(self) -> dict[str, Any]:
        return dict(zip(COLUMNS, self.row, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are sent together. `token` says which rows these are, whoever sends them how often."""

    name: str
    entries: Sequence[Entry]
    lost: bool = False
    tables: frozenset[str] = frozenset()  # of the back end, those that are to take it; empty: all
    again: bool = False  # known to be missing: not to be taken for what the back end only remembers

    @property
    def start(self) -> int:
        return self.entries[0].record.start

    @property
    def end(self) -> int:
        return self.entries[-1].record.end

    @property
    def token(self) -> str:
        return f"{self.name}:{'lost:' if self.lost else ''}{self.start}:{self.end}"

    @property
    def query_prefix(self) -> str:
        return f"ship:{self.token}:"

    def halves(self, tables: frozenset[str]) -> Iterator[Batch]:
        middle = len(self.entries) // 2
        yield Batch(self.name, self.entries[:middle], self.lost, tables)
        yield Batch(self.name, self.entries[middle:], self.lost, tables)


def entry(record: Record) -> Entry:
    """ValueError when the record is none of ours."""
    lengths, row, _ = record.parse()
    if len(row) > len(COLUMNS):
        raise ValueError("written by a newer version: start the shipper of that version")
    return Entry(record, filled(row), record.payloads(lengths))


def lost_entries(found: Iterable[Record]) -> list[Entry]:
    """The calls that were begun and not ended, of a segment whose writer is dead."""
    begun: dict[str, tuple[Record, Row, Row]] = {}
    for record in found:
        _, row, estimated = record.parse()
        if record.is_end:
            begun.pop(row[ID], None)
        else:
            begun[row[ID]] = (record, row, estimated)
    return [Entry(record, lost_row(row, estimated), ()) for record, row, estimated in begun.values()]
