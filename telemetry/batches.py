"""From records in a segment to rows in ClickHouse: one batch, two tables, one token."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, NetworkError, SocketTimeoutError

from telemetry.client import connect
from telemetry.segments import Record
from telemetry.trace import COLUMNS, PAYLOAD_COLUMNS, Row, filled, lost_row

INSERT_TRACES = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES"
INSERT_PAYLOADS = f"INSERT INTO llm_payloads (id, organization_id, created_at, {', '.join(PAYLOAD_COLUMNS)}) VALUES"
TRACES, PAYLOADS = "llm_traces", "llm_payloads"
ID, ORGANIZATION, CREATED = (COLUMNS.index(name) for name in ("id", "organization_id", "created_at"))
# Exactly once: the token names the batch, and the roll-ups behind the table follow the same rule.
INSERT_SETTINGS = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "parallel_view_processing": 1,
}
# The server read the rows and refuses what is in them. Every other refusal is about the server and passes.
DATA_ERRORS = {
    ErrorCodes.CANNOT_PARSE_TEXT,
    ErrorCodes.CANNOT_PARSE_QUOTED_STRING,
    ErrorCodes.CANNOT_PARSE_DATE,
    ErrorCodes.CANNOT_PARSE_DATETIME,
    ErrorCodes.TYPE_MISMATCH,
    ErrorCodes.ARGUMENT_OUT_OF_BOUND,
    ErrorCodes.CANNOT_CONVERT_TYPE,
    ErrorCodes.CANNOT_PARSE_NUMBER,
    ErrorCodes.INCORRECT_DATA,
    ErrorCodes.TOO_LARGE_STRING_SIZE,
    ErrorCodes.TOO_LARGE_ARRAY_SIZE,
    ErrorCodes.VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE,
    ErrorCodes.CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
    407,  # DECIMAL_OVERFLOW, which the driver has no name for
    469,  # VIOLATED_CONSTRAINT
}


class Away(Exception):
    """ClickHouse does not answer, or cannot take anything now: the same batch again, later."""


class Refused(Exception):
    """Something in the batch cannot be stored: again in halves, into the tables that did not take it (`left`)."""

    def __init__(self, message: str, left: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.left = left


@dataclass(frozen=True, slots=True)
class Entry:
    """One row on its way, with the record it came from."""

    record: Record
    row: Row
    payloads: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are sent together. `token` says to ClickHouse which rows these are, whoever sends them how often."""

    name: str
    entries: Sequence[Entry]
    lost: bool = False
    tables: frozenset[str] = frozenset((TRACES, PAYLOADS))
    again: bool = False  # known to be missing: not to be taken for what ClickHouse only remembers

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


class Inserter:
    """A connection for each table, so that both are filled at once; payloads go as bytes, which is faster."""

    def __init__(self, url: str) -> None:
        self._traces = connect(url)
        self._payloads = connect(url, settings={"strings_as_bytes": True})
        self._beside = ThreadPoolExecutor(1, "telemetry-payloads")

    def insert(self, batch: Batch) -> None:
        """Both tables, or an error that says what is left to do. Sending a batch again is harmless."""
        beside = self._beside.submit(self._insert_payloads, batch) if PAYLOADS in batch.tables else None
        errors: dict[str, Away | Refused] = {}
        try:
            if TRACES in batch.tables:
                _insert(self._traces, INSERT_TRACES, trace_columns(batch), batch)
        except (Away, Refused) as error:
            errors[TRACES] = error
        try:
            if beside is not None:
                beside.result()
        except (Away, Refused) as error:
            errors[PAYLOADS] = error
        for failure in errors.values():
            if isinstance(failure, Away):
                raise failure
        if errors:
            raise Refused("; ".join(map(str, errors.values())), frozenset(errors))

    def _insert_payloads(self, batch: Batch) -> None:
        columns = payload_columns(batch)
        if columns:
            _insert(self._payloads, INSERT_PAYLOADS, columns, batch)

    def disconnect(self) -> None:
        self._traces.disconnect()
        self._payloads.disconnect()


def _insert(client: Client, sql: str, columns: list[list[Any]], batch: Batch) -> None:
    chance = os.urandom(6).hex()
    token = f"{batch.token}:{chance}" if batch.again else batch.token
    settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
    try:
        with away_on_error(client):
            client.execute(sql, columns, columnar=True, settings=settings, query_id=batch.query_prefix + chance)
    except Away:
        raise
    except Error as error:
        raise Refused(str(error)) from error
    except Exception as error:
        # Whatever the driver trips over while it packs values: one bad row must not stop all others.
        client.disconnect()
        raise Refused(f"{type(error).__name__}: {error}") from error


@contextlib.contextmanager
def away_on_error(client: Client) -> Iterator[None]:
    """Errors about the server and the way to it become Away; those about data pass."""
    try:
        yield
    except (NetworkError, SocketTimeoutError, OSError, EOFError) as error:
        client.disconnect()
        raise Away(str(error)) from error
    except Error as error:
        client.disconnect()
        if error.code in DATA_ERRORS:
            raise
        raise Away(str(error)) from error


def trace_columns(batch: Batch) -> list[list[Any]]:
    return [list(column) for column in zip(*(e.row for e in batch.entries), strict=True)]


def payload_columns(batch: Batch) -> list[list[Any]]:
    """Empty when no call of the batch has any payload: it was dropped, or its worker was lost."""
    rows = [
        (e.row[ID].encode(), e.row[ORGANIZATION].encode(), e.row[CREATED], *e.payloads)
        for e in batch.entries
        if any(e.payloads)
    ]
    return [list(column) for column in zip(*rows, strict=True)]
