"""After a batch whose fate was in doubt: is each row there once, and in each sum once? If not, mend it.

Why tokens are not enough: ClickHouse writes a token down a moment before (or, in other versions, after) it commits the
rows. Killed in between, it remembers a batch that it does not have, and drops the retry; or has it and takes it again.
So after every doubt (an answer that never came, a range that an earlier shipper had planned) the rows are looked for
by id. In the sums a checksum of ids tells whether exactly this batch is missing or doubled; nothing else is touched,
so that other shippers may insert meanwhile.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from telemetry.batches import CREATED, ID, ORGANIZATION, Batch
from telemetry.client import connect
from telemetry.inserter import TABLES, TRACES, Inserter, away_on_error
from telemetry.select import SQL, SUM_NAMES

logger = logging.getLogger(__name__)

RUNNING_TRIES, TRIES, PAUSE_S = 120, 40, 0.25
UINT64 = 2**64
COARSE = ("provider", "model", "is_byok", "call_type")
FINE = (
    *("project_id", "agent_id", "agent_tags", "provider", "provider_name", "model", "provider_key_id", "is_byok"),
    *("call_type", "api_key_id", "identity_id", "error_type", "price_source"),
)
CHECKSUM = -1
COLUMNS = (*SUM_NAMES, "request_bytes", "response_bytes", "id_checksum")


@dataclass(frozen=True, slots=True)
class Roll:
    """One kind of sums: its table, the column and type of its period, which period a call falls into, and what else
    is its key. `lists`: columns that hold a value of each call, as SQL over calls."""

    table: str
    column: str
    type: str
    period: str
    text: str  # a period as a parameter
    key: tuple[str, ...] = COARSE
    lists: tuple[tuple[str, str], ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        return ("organization_id", self.column, *self.key)

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(tuple(part) if isinstance(part, list) else part for part in row[: len(self.keys)])

    def text_of(self, created_ms: int) -> str:
        return datetime.fromtimestamp(created_ms / 1000, UTC).strftime(self.text)


HOUR = ("hour", "DateTime('UTC')", "toStartOfHour(t.created_at)", "%Y-%m-%d %H:00:00")
DETAIL = Roll(
    "llm_usage_detail",
    *HOUR,
    FINE,
    lists=(
        ("latencies", "groupArrayIf(t.latency_ms, t.is_error = 0)"),
        ("first_tokens", "groupArrayIf(assumeNotNull(t.ttft_ms), t.is_error = 0 AND isNotNull(t.ttft_ms))"),
    ),
)
# The finest first: what is added to one is passed on to the next.
ROLLS = (
    DETAIL,
    Roll("llm_usage_hourly", *HOUR),
    Roll("llm_usage_daily", "day", "Date", "toDate(t.created_at)", "%Y-%m-%d"),
)


class Settler:
    def __init__(self, url: str, inserter: Inserter) -> None:
        self._client = connect(url, settings={"server_side_params": True})
        self._writer = connect(url)
        self._inserter = inserter

    def settle(self, batch: Batch) -> None:
        """Raises Away when ClickHouse goes away again: then insert the batch again, and settle it again."""
        with away_on_error(self._client), away_on_error(self._writer):
            self._wait_for_running(batch)
            tables = batch.tables or TABLES
            for table in sorted(tables):
                self._settle_rows(table, batch)
            if TRACES in tables:
                for roll in ROLLS:
                    self._settle_sums(roll, batch)

    def disconnect(self) -> None:
        self._client.disconnect()
        self._writer.disconnect()

    def _wait_for_running(self, batch: Batch) -> None:
        """A killed shipper's insert may still be running: what it has not finished is not missing."""
        for _ in range(RUNNING_TRIES):
            [(running,)] = self._client.execute(sql("running", None), {"prefix": batch.query_prefix})
            if not running:
                return
            time.sleep(PAUSE_S)

    def _settle_rows(self, table: str, batch: Batch) -> None:
        wanted = batch if table == TRACES else replace(batch, entries=[e for e in batch.entries if any(e.payloads)])
        for _ in range(TRIES):
            if not wanted.entries:
                return
            found: dict[str, list[tuple[str, int]]] = {}
            for call_id, part, offset in self._client.execute(sql("rows", table), _place(wanted)):
                found.setdefault(call_id, []).append((part, offset))
            missing = [e for e in wanted.entries if e.row[ID] not in found]
            extra = [place for places in found.values() for place in places[1:]]
            if not missing and not extra:
                return
            logger.warning("ClickHouse lost %d rows of %s and doubled %d: mended", len(missing), table, len(extra))
            if missing:
                self._inserter.insert(replace(wanted, entries=missing, tables=frozenset((table,)), again=True))
            self._delete(table, extra)
        logger.error("%s of %s could not be mended", table, batch.token)

    def _delete(self, table: str, places: Sequence[tuple[str, int]]) -> None:
        """By place: copies of a row cannot be told apart by what is in them."""
        by_part: dict[str, list[int]] = {}
        for part, offset in places:
            by_part.setdefault(part, []).append(offset)
        for part, offsets in by_part.items():
            query = f"DELETE FROM {table} WHERE _part = %(part)s AND _part_offset IN %(offsets)s"  # noqa: S608
            self._writer.execute(query, {"part": part, "offsets": offsets}, settings={"lightweight_deletes_sync": 2})

    def _settle_sums(self, roll: Roll, batch: Batch) -> None:
        place = _place(batch)
        ours = {roll.key_of(row): row[len(roll.keys) :] for row in self._client.execute(sql("batch", roll), place)}
        periods = sorted({roll.text_of(e.row[CREATED]) for e in batch.entries})
        wanted = {"organizations": place["organizations"], "periods": periods}
        for _ in range(TRIES):
            found = {roll.key_of(row): row for row in self._client.execute(sql("sums", roll), wanted)}
            wrong = {key: row for key, row in found.items() if key in ours}
            if not wrong:
                return
            if all(_is_multiple(row[CHECKSUM], ours[key][CHECKSUM]) for key, row in wrong.items()):
                logger.warning("ClickHouse lost or doubled %d sums of %s: mended", len(wrong), roll.table)
                names = ", ".join((*roll.keys, *COLUMNS, *(name for name, _ in roll.lists)))
                once = {"insert_deduplication_token": f"mend:{os.urandom(8).hex()}"}
                rows = [_correction(roll, row, ours[key]) for key, row in wrong.items()]
                self._writer.execute(f"INSERT INTO {roll.table} ({names}) VALUES", rows, settings=once)
            time.sleep(PAUSE_S)  # else another shipper's rows are on their way
        logger.error("The sums of %s differ from the rows around %s, and not by this batch", roll.table, batch.token)


def _is_multiple(difference: int, checksum: int) -> bool:
    """This batch is missing once, or is there too often: every mending that was cut short may have fed it again."""
    return any((difference - times * checksum) % UINT64 == 0 for times in range(-8, 2))


def _correction(roll: Roll, row: Sequence[Any], ours: Sequence[Any]) -> tuple[Any, ...]:
    """A difference as a row to add. Sums are unsigned and wrap round, so less is added as so much more.

    Lists cannot be taken from: they are added where the batch is missing, else they stay.
    """
    sums = (value % UINT64 if isinstance(value, int) else value for value in row[len(roll.keys) :])
    missing = (row[CHECKSUM] - ours[CHECKSUM]) % UINT64 == 0
    return (*row[: len(roll.keys)], *sums, *(values if missing else [] for values in ours[:CHECKSUM]))


def _place(batch: Batch) -> dict[str, Any]:
    times = [e.row[CREATED] for e in batch.entries]
    return {
        "organizations": sorted({e.row[ORGANIZATION] for e in batch.entries}),
        "first": min(times),
        "last": max(times),
        "ids": [e.row[ID] for e in batch.entries],
    }


@cache
def sql(name: str, about: Roll | str | None) -> str:
    """The file, with the constants of a table or of a kind of sums filled in."""
    text = (SQL / f"settle_{name}.sql").read_text()
    if isinstance(about, str):
        return text.replace("{table}", about)
    if about is None:
        return text
    constants = {
        "{table}": about.table,
        "{column}": about.column,
        "{type}": about.type,
        "{period}": about.period,
        "{keys}": ", ".join(about.keys),
        "{key}": ", ".join(about.key),
        "{lists}": "".join(f"{values} AS {name}, " for name, values in about.lists),
        "{differences}": ", ".join(f"sum(d.{c}) AS {c}" for c in COLUMNS),
        "{rows}": ", ".join(f"{signed('r', c)} AS {c}" for c in COLUMNS),
        "{sums}": ", ".join(f"-{signed('u', c)} AS {c}" for c in COLUMNS),
    }
    for constant, value in constants.items():
        text = text.replace(constant, value)
    return text


def signed(table: str, column: str) -> str:
    return f"{table}.{column}" if column == "cost_usd" else f"toInt64({table}.{column})"
