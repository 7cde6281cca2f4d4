"""PostgreSQL: single calls with what was said, for installations that have no ClickHouse, or want both."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import orjson
from django.db import DataError, Error, IntegrityError, connection

from core.db import release_connection
from core.time import now
from telemetry.batches import Away, Batch, Entry, Refused
from telemetry.models import StoredTrace
from telemetry.queries import Trace, TraceRow
from telemetry.trace import COLUMNS, DEFAULTS

INSERT = Path(__file__).with_suffix(".sql").read_text()
NAMED = ("id", "organization_id", "agent_id", "identity_id", "run_id", "step_id", "created_at")
SAID = ("request", "response", "config")
MISSING = dict(zip(COLUMNS, DEFAULTS, strict=True))
EXPIRE_ROWS = 2_000
# Twice as fast as PostgreSQL's own compression of large values, and half the size.
QUICK = 1


class Postgres:
    """Uses Django's own connection of the thread."""

    name = "postgres"

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        """One statement, so all of the batch or nothing; `doubtful` is nothing to it: a call's id is its key."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(INSERT, _columns(batch.entries))
        except (DataError, IntegrityError) as error:
            raise Refused(_said(error)) from error
        except Error as error:
            self.close()
            raise Away(_said(error)) from error

    def close(self) -> None:
        release_connection()

    def wrong(self) -> Sequence[str]:
        return ()

    def probe(self) -> str:
        try:
            StoredTrace.objects.values("pk").first()
        except Error as error:
            raise Away(_said(error)) from error
        return "answers"

    def call(self, organization_id: str | None, call_id: str) -> Trace | None:
        if "\x00" in call_id:
            return None  # PostgreSQL would refuse to look for it
        found = StoredTrace.objects.filter(pk=call_id)
        return _trace((found if organization_id is None else found.filter(organization_id=organization_id)).first())

    def call_of_step(self, organization_id: str, step_id: str) -> Trace | None:
        found = StoredTrace.objects.filter(organization_id=organization_id, step_id=step_id)
        return _trace(found.order_by("-created_at", "-pk").first())

    def calls_of_run(self, organization_id: str, run_id: str, limit: int) -> Sequence[TraceRow]:
        found = StoredTrace.objects.filter(organization_id=organization_id, run_id=run_id)
        return [_row(stored) for stored in found.order_by("created_at", "pk").values_list("row", flat=True)[:limit]]


def expire(trace_days: int, payload_days: int) -> tuple[int, int]:
    """Drop what was said, and then whole calls, that are older; in small pieces. Returns how many of each."""
    at = now()
    said = StoredTrace.objects.filter(created_at__lt=at - timedelta(days=payload_days), request__isnull=False)
    calls = StoredTrace.objects.filter(created_at__lt=at - timedelta(days=trace_days))
    dropped = _in_pieces(calls.values("pk"), lambda some: some.delete()[0])
    emptied = _in_pieces(said.values("pk"), lambda some: some.update(request=None, response=None, config=None))
    return emptied, dropped


def _in_pieces(wanted: Any, do: Any) -> int:
    done = 0
    while some := do(StoredTrace.objects.filter(pk__in=wanted[:EXPIRE_ROWS])):
        done += some
    return done


def _columns(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (*NAMED, "row", *SAID)}
    for entry in entries:
        row = entry.named()
        for name in NAMED:
            columns[name].append(row[name])
        columns["row"].append(orjson.dumps({name: _storable(value) for name, value in row.items()}).decode())
        said = entry.payloads if any(entry.payloads) else (None, None, None)
        for name, value in zip(SAID, said, strict=True):
            columns[name].append(None if value is None else zlib.compress(value, QUICK))
    return columns


def _storable(value: Any) -> Any:
    """PostgreSQL's text has no NUL; an error message may."""
    return value.replace("\x00", "\ufffd") if isinstance(value, str) else value


def _trace(stored: StoredTrace | None) -> Trace | None:
    if stored is None:
        return None
    return Trace(_row(stored.row), _text(stored.request), _text(stored.response), _text(stored.config))


def _row(stored: dict[str, Any]) -> TraceRow:
    """A row of an older version is filled up as the spool's are."""
    known = MISSING | stored
    return TraceRow(**{name: _read(name, known[name]) for name in _hints()})


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "created_at":
        return datetime.fromtimestamp(value / 1000, UTC)
    return Decimal(value) if Decimal in _hints()[name] else value


@cache
def _hints() -> dict[str, tuple[Any, ...]]:
    """For each field of a row the types that its value may have."""
    hints = get_type_hints(TraceRow)
    return {f.name: getattr(hints[f.name], "__args__", (hints[f.name],)) for f in fields(TraceRow)}


def _text(value: bytes | memoryview | None) -> str:
    return zlib.decompress(value).decode("utf-8", "replace") if value else ""


def _said(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
