"""Sums that name an agent or an end user whose traces were deleted: the amounts stay, under no name.

What is moved is the difference between the sums and the calls that are left, in one insert of both sides, which
ClickHouse takes wholly or not at all. So the sums are right at every moment, and whoever dies here is followed by
somebody who moves what is still to be moved: nothing, where all was. Only then the emptied rows go.

A call that comes in meanwhile is in `llm_traces` a moment before it is in the sums: a row with calls is never dropped,
and what was moved too little or too much is moved again until nothing differs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from clickhouse_driver import Client

from telemetry.client import TelemetryUnavailable
from telemetry.ledger import ERASED
from telemetry.select import SQL
from telemetry.settle import COLUMNS, DETAIL, UINT64, signed

TRIES, PAUSE_S = 40, 0.25
# An insert is one block, and so whole or not there at all.
KEYS_AT_A_TIME = 500
LISTS = tuple(name for name, _ in DETAIL.lists)
THEIRS = (
    "organization_id = %(org)s AND {column} = %(target)s"
    " AND hour >= toDateTime(%(start)s, 'UTC') AND hour < toDateTime(%(end)s, 'UTC')"
    " AND hour <= toStartOfHour(fromUnixTimestamp64Milli(%(cut)s, 'UTC'))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One partition of the sums, for one agent or end user: `column` says which. Calls before `cut_ms` are gone."""

    organization_id: str
    column: str
    target_id: str
    cut_ms: int
    partition: str
    start: datetime
    end: datetime

    @property
    def values(self) -> dict[str, Any]:
        return {
            "org": self.organization_id,
            "target": self.target_id,
            "cut": self.cut_ms,
            "partition": self.partition,
            "start": int(self.start.timestamp()),
            "end": int(self.end.timestamp()),
        }


def erase(client: Client, month: Month) -> None:
    """Until no row of the month names them for calls that are gone. Raises TelemetryUnavailable."""
    ours = f"erase:{month.organization_id}:{month.column}:"
    for tries in range(TRIES):
        found = waiting(client, month)
        if not found:
            return
        if tries > 1:
            time.sleep(PAUSE_S)  # twice is the rule: move, then drop
        if _is_running(client, ours):
            continue  # of somebody before us: he was killed, his insert was not
        moves = [row for row in found if any(row[len(DETAIL.keys) : len(DETAIL.keys) + len(COLUMNS)])]
        for at in range(0, len(moves), KEYS_AT_A_TIME):
            _move(client, month, moves[at : at + KEYS_AT_A_TIME], f"{ours}{os.urandom(8).hex()}")
        if not moves:
            drop = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
            client.execute(_sql("rows", month.column), month.values, settings=drop)
    raise TelemetryUnavailable(
        "The sums of what was deleted do not come to rest: calls of it come in. It goes on later."
    )


def waiting(client: Client, month: Month) -> Sequence[Sequence[Any]]:
    """Sums that may not stay: their key, what is too much in them, numbers of rows and of calls' keys, and lists."""
    rows: Sequence[Sequence[Any]] = client.execute(_sql("sums", month.column), month.values)
    return rows


def _is_running(client: Client, prefix: str) -> bool:
    sql = "SELECT count() FROM system.processes WHERE startsWith(query_id, %(prefix)s)"
    return bool(client.execute(sql, {"prefix": prefix})[0][0])


def _move(client: Client, month: Month, found: Sequence[Sequence[Any]], query_id: str) -> None:
    """Sums are unsigned and wrap round: less is added as so much more. Lists are copied; old ones go with their row."""
    keys, place = len(DETAIL.keys), DETAIL.keys.index(month.column)
    rows = []
    for row in found:
        key, sums, lists = row[:keys], row[keys : keys + len(COLUMNS)], row[-len(LISTS) :]
        nobody = (*key[:place], ERASED, *key[place + 1 :])
        rows.append((*nobody, *map(_wrapped, sums), *lists))
        rows.append((*key, *(_wrapped(-value) for value in sums), *([] for _ in LISTS)))
    names = ", ".join((*DETAIL.keys, *COLUMNS, *LISTS))
    once = {"insert_deduplication_token": query_id}
    client.execute(f"INSERT INTO {DETAIL.table} ({names}) VALUES", rows, settings=once, query_id=query_id)


def _wrapped(value: Any) -> Any:
    return value % UINT64 if isinstance(value, int) else value


@cache
def _sql(name: str, column: str) -> str:
    text = (SQL / f"erase_{name}.sql").read_text()
    constants = {
        "{theirs}": THEIRS.replace("{column}", column),
        "{table}": DETAIL.table,
        "{keys}": ", ".join(DETAIL.keys),
        "{differences}": ", ".join(f"sum(d.{c}) AS {c}" for c in COLUMNS),
        "{sums}": ", ".join(f"{signed('u', c)} AS {c}" for c in COLUMNS),
        "{rows}": ", ".join(f"-{signed('r', c)} AS {c}" for c in COLUMNS),
    }
    for constant, value in constants.items():
        text = text.replace(constant, value)
    return text
