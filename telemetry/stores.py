"""Where traces are kept and can be deleted from: ClickHouse, PostgreSQL, and back ends of an installation's own.

A store plans pieces (a table's partition each), deletes one at a time, and counts what is left. All of it may be
repeated: that is what makes a deletion safe to kill. What was handed on (socket, otlp) is deleted by who has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from clickhouse_driver import Client
from django.conf import settings
from django.contrib.postgres.aggregates import BitXor
from django.db.models import BigIntegerField, Count, F, Func, QuerySet, Value
from django.db.models.functions import TruncMonth

from telemetry.backends.base import configured
from telemetry.client import CLIENT_ERRORS, TelemetryUnavailable, connect
from telemetry.erasure import Month, erase, waiting
from telemetry.models import StoredTrace
from telemetry.models.deletion import Scope
from telemetry.settle import DETAIL
from telemetry.trace import epoch_ms

TRACES, PAYLOADS, REPRICINGS = "llm_traces", "llm_payloads", "llm_repricings"
# A mutation waits for the parts of one partition to be written anew; it goes on when we stop waiting.
WAIT_S = 900
DONE_WHEN_IT_RETURNS = {"lightweight_deletes_sync": 2, "mutations_sync": 2}
ROWS_AT_A_TIME = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose traces, up to which time. `target_id`: the agent's, or the end user's."""

    organization_id: str
    scope: str
    target_id: str
    cut_off: datetime

    @property
    def everything(self) -> bool:
        return self.scope == Scope.ORGANIZATION


@dataclass(frozen=True, slots=True)
class Piece:
    """`ids`: the checksum of the ids in it, "" where rows have none."""

    backend: str
    table: str
    partition: str
    found: int
    ids: str


@runtime_checkable
class Store(Protocol):
    """What a back end offers, beside writing, so that deletions reach it. Raises TelemetryUnavailable when away."""

    name: str

    def plan(self, wanted: Wanted) -> Sequence[Piece]:
        """In the order in which they must be deleted."""

    def delete(self, wanted: Wanted, piece: Piece) -> None: ...

    def finish(self, wanted: Wanted, pieces: Sequence[Piece]) -> int:
        """Last of all, when no more comes in: leave nothing on disk. Returns how many rows are left."""


def stores() -> list[Store]:
    """Each that may hold traces, also one that is in the setting no longer."""
    own = [backend for backend in configured() if isinstance(backend, Store)]
    found: list[Store] = [ClickHouseStore(settings.CLICKHOUSE_URL)] if settings.CLICKHOUSE_URL else []
    return [*found, PostgresStore(), *own]


def not_reached() -> list[str]:
    """Back ends of the setting that keep nothing themselves: they hand on."""
    reached = {store.name for store in stores()}
    return sorted(backend.name for backend in configured() if backend.name not in reached)


class ClickHouseStore:
    """Lightweight deletes, partition by partition; in the end the parts are written anew without what was deleted.

    Payloads go before traces: only their traces say whose they are. Sums hold no content and stay, under no name, but
    where all of an organization goes.
    """

    name = "clickhouse"

    def __init__(self, url: str) -> None:
        self.url = url

    def plan(self, wanted: Wanted) -> list[Piece]:
        with self.connected() as client:
            return [piece for table in self._tables(client, wanted) for piece in self._pieces(client, table, wanted)]

    def delete(self, wanted: Wanted, piece: Piece) -> None:
        with self.connected() as client:
            where = f"IN PARTITION ID %(partition)s WHERE {_where(piece.table, wanted, piece.partition)}"
            values = {**_values(wanted, piece.partition), "partition": piece.partition}
            client.execute(f"DELETE FROM {piece.table} {where}", values, settings=DONE_WHEN_IT_RETURNS)  # noqa: S608

    def finish(self, wanted: Wanted, pieces: Sequence[Piece]) -> int:
        with self.connected() as client:
            if not wanted.everything:
                self._delete_orphans(client, wanted, pieces)
            months = [] if wanted.everything else _months(client, wanted)
            for month in months:
                erase(client, month)
            written = {(p.table, p.partition) for p in pieces if p.backend == self.name}
            for table, partition in sorted(written | {(DETAIL.table, month.partition) for month in months}):
                self.rewrite(client, table, partition)
            left = sum(p.found for t in self._tables(client, wanted) for p in self._pieces(client, t, wanted))
            return left + sum(len(waiting(client, month)) for month in months)

    def rewrite(self, client: Client, table: str, partition: str) -> None:
        """What was deleted leaves the disk now and not at some later merge."""
        marked = (
            "SELECT count() FROM system.parts WHERE database = currentDatabase() AND active AND has_lightweight_delete"
            " AND table = %(table)s AND partition_id = %(partition)s"
        )
        values = {"table": table, "partition": partition}
        if client.execute(marked, values)[0][0]:
            sql = f"ALTER TABLE {table} APPLY DELETED MASK IN PARTITION ID %(partition)s"
            client.execute(sql, values, settings=DONE_WHEN_IT_RETURNS)

    def _tables(self, client: Client, wanted: Wanted) -> list[str]:
        found = [PAYLOADS, REPRICINGS, TRACES]
        if wanted.everything:
            sql = (
                "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = 'organization_id'"
                " AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase()"
                " AND engine LIKE '%%MergeTree') ORDER BY table"
            )
            found += [table for (table,) in client.execute(sql, {"": ""}) if table not in found]
        return found

    def _pieces(self, client: Client, table: str, wanted: Wanted) -> list[Piece]:
        ids = "hex(groupBitXor(cityHash64(id)))" if table in (TRACES, PAYLOADS) else "''"
        sql = (
            f"SELECT _partition_id, count(), {ids} FROM {table} WHERE {_where(table, wanted)}"  # noqa: S608
            " GROUP BY _partition_id ORDER BY _partition_id"
        )
        return [Piece(self.name, table, *row) for row in client.execute(sql, _values(wanted))]

    def _delete_orphans(self, client: Client, wanted: Wanted, pieces: Sequence[Piece]) -> None:
        """A payload that came in just behind its trace's deletion. In the same weeks, before the cut-off, of this
        organization alone: what has no trace there cannot be found by anybody."""
        weeks = {p.partition for p in pieces if p.table == PAYLOADS} | {
            week for p in pieces if p.table == TRACES for week in _weeks_of(p.partition)
        }
        for week in sorted(weeks):
            values = {**_values(wanted, week), "partition": week}
            count = f"SELECT count() FROM {PAYLOADS} WHERE _partition_id = %(partition)s AND {ORPHAN}"  # noqa: S608
            if client.execute(count, values)[0][0]:
                sql = f"DELETE FROM {PAYLOADS} IN PARTITION ID %(partition)s WHERE {ORPHAN}"  # noqa: S608
                client.execute(sql, values, settings=DONE_WHEN_IT_RETURNS)
                self.rewrite(client, PAYLOADS, week)

    @contextmanager
    def connected(self) -> Iterator[Client]:
        client = connect(self.url, send_receive_timeout=WAIT_S)
        try:
            yield client
        except CLIENT_ERRORS as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TelemetryUnavailable(f"ClickHouse did not answer: {said[:300]}") from error
        finally:
            client.disconnect()


BEFORE_CUT_OFF = "created_at < fromUnixTimestamp64Milli(%(cut)s, 'UTC')"
IN_PARTITION = (
    "created_at >= fromUnixTimestamp64Milli(%(start)s, 'UTC') AND created_at < fromUnixTimestamp64Milli(%(end)s, 'UTC')"
)
ORPHAN = (
    f"organization_id = %(org)s AND {BEFORE_CUT_OFF} AND id NOT IN "  # noqa: S608
    f"(SELECT id FROM {TRACES} WHERE organization_id = %(org)s AND {IN_PARTITION})"
)


def _where(table: str, wanted: Wanted, partition: str = "") -> str:
    """Made of constants alone; values are bound. Sums have no time of call: all of an organization's go."""
    if table not in (TRACES, PAYLOADS, REPRICINGS):
        return "organization_id = %(org)s"
    mine = f"organization_id = %(org)s AND {BEFORE_CUT_OFF}"
    if wanted.everything:
        return mine
    theirs = f"{mine} AND {_column(wanted)} = %(target)s"
    if table in (TRACES, REPRICINGS):
        return theirs
    if partition:
        theirs += f" AND {IN_PARTITION}"
    return f"{mine} AND id IN (SELECT id FROM {TRACES} WHERE {theirs})"  # noqa: S608


def _column(wanted: Wanted) -> str:
    return "agent_id" if wanted.scope == Scope.AGENT else "identity_id"


def _months(client: Client, wanted: Wanted) -> list[Month]:
    """In which there are sums of theirs, also of calls that have expired."""
    theirs = f"organization_id = %(org)s AND {_column(wanted)} = %(target)s"
    sql = f"SELECT DISTINCT _partition_id FROM {DETAIL.table} WHERE {theirs} ORDER BY 1"  # noqa: S608
    found = []
    for (partition,) in client.execute(sql, _values(wanted)):
        start, end = _bounds(partition)
        found.append(
            Month(
                organization_id=wanted.organization_id,
                column=_column(wanted),
                target_id=wanted.target_id,
                cut_ms=epoch_ms(wanted.cut_off),
                partition=partition,
                start=start,
                end=end,
            )
        )
    return found


def _values(wanted: Wanted, partition: str = "") -> dict[str, Any]:
    start, end = _bounds(partition)
    return {
        "org": wanted.organization_id,
        "target": wanted.target_id,
        "cut": epoch_ms(wanted.cut_off),
        "start": epoch_ms(start),
        "end": epoch_ms(end),
    }


def _bounds(partition: str) -> tuple[datetime, datetime]:
    """A week of payloads by its Monday (20260504), or a month of traces (202605)."""
    if len(partition) == 8:
        monday = datetime.strptime(partition, "%Y%m%d").replace(tzinfo=UTC)
        return monday, monday + timedelta(days=7)
    if len(partition) == 6:
        first = datetime.strptime(partition, "%Y%m").replace(tzinfo=UTC)
        return first, (first + timedelta(days=32)).replace(day=1)
    return datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def _weeks_of(month: str) -> list[str]:
    start, end = _bounds(month)
    monday = start - timedelta(days=start.weekday())
    return [f"{monday + timedelta(days=7 * n):%Y%m%d}" for n in range(6) if monday + timedelta(days=7 * n) < end]


class PostgresStore:
    """Rows of `StoredTrace`, a month of them as a piece, some thousand at a time."""

    name = "postgres"
    table = "stored_trace"

    def plan(self, wanted: Wanted) -> list[Piece]:
        hashed = Func(F("pk"), Value(0), function="hashtextextended", output_field=BigIntegerField())
        months = (
            self._rows(wanted)
            .annotate(month=TruncMonth("created_at", tzinfo=UTC))
            .order_by("month")
            .values("month")
            .annotate(rows=Count("pk"), ids=BitXor(hashed))
        )
        return [
            Piece(self.name, self.table, f"{m['month']:%Y-%m}", m["rows"], f"{m['ids'] % 2**64:016X}") for m in months
        ]

    def delete(self, wanted: Wanted, piece: Piece) -> None:
        year, month = map(int, piece.partition.split("-"))
        rows = self._rows(wanted).filter(created_at__gte=datetime(year, month, 1, tzinfo=UTC))
        delete_some(rows.filter(created_at__lt=datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)))

    def finish(self, wanted: Wanted, pieces: Sequence[Piece]) -> int:
        return self._rows(wanted).count()

    def _rows(self, wanted: Wanted) -> QuerySet[StoredTrace]:
        rows = StoredTrace.objects.filter(organization_id=wanted.organization_id, created_at__lt=wanted.cut_off)
        if wanted.scope == Scope.AGENT:
            return rows.filter(agent_id=wanted.target_id)
        return rows if wanted.everything else rows.filter(identity_id=wanted.target_id)


def delete_some(rows: QuerySet[StoredTrace]) -> int:
    """All of them, in pieces that hold no lock for long."""
    deleted = 0
    while True:
        keys = list(rows.values_list("pk", flat=True)[:ROWS_AT_A_TIME])
        if not keys:
            return deleted
        deleted += StoredTrace.objects.filter(pk__in=keys).delete()[0]
