"""Batches into ClickHouse's tables: one batch, two tables, one token."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, NetworkError, SocketTimeoutError

from telemetry.batches import CREATED, ID, ORGANIZATION, Away, Batch, Refused
from telemetry.client import connect
from telemetry.trace import COLUMNS, PAYLOAD_COLUMNS

INSERT_TRACES = f"INSERT INTO llm_traces ({', '.join(COLUMNS)}) VALUES"
INSERT_PAYLOADS = f"INSERT INTO llm_payloads (id, organization_id, created_at, {', '.join(PAYLOAD_COLUMNS)}) VALUES"
TRACES, PAYLOADS = "llm_traces", "llm_payloads"
TABLES = frozenset((TRACES, PAYLOADS))
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


class Inserter:
    """A connection for each table, so that both are filled at once; payloads go as bytes, which is faster."""

    def __init__(self, url: str) -> None:
        self._traces = connect(url)
        self._payloads = connect(url, settings={"strings_as_bytes": True})
        self._beside = ThreadPoolExecutor(1, "telemetry-payloads")

    def insert(self, batch: Batch) -> None:
        """Both tables, or an error that says what is left to do. Sending a batch again is harmless."""
        tables = batch.tables or TABLES
        beside = self._beside.submit(self._insert_payloads, batch) if PAYLOADS in tables else None
        errors: dict[str, Away | Refused] = {}
        try:
            if TRACES in tables:
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
