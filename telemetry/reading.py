"""The door to single calls: one, a step's, a run's, from the first back end of the setting that can tell.

Every function raises TelemetryUnavailable when that one does not answer; no other is asked in its place, since it may
have less. Corrections of costs are ClickHouse's alone: a single call comes with them where it answers, else says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from telemetry.backends.base import ReadableBackend, make
from telemetry.backends.clickhouse import ClickHouse
from telemetry.client import TelemetryUnavailable
from telemetry.queries import Trace, TraceRow, corrected

MOST = 1000


def call(organization_id: str | None, call_id: str) -> Trace | None:
    """None: of any organization, for superusers."""
    return _corrected(_first().call(organization_id, call_id))


def call_of_step(organization_id: str, step_id: str) -> Trace | None:
    """The newest call of the step: the attempt that counted."""
    return _corrected(_first().call_of_step(organization_id, step_id))


def calls_of_run(organization_id: str, run_id: str, limit: int = MOST) -> Sequence[TraceRow]:
    """Every call of the run, the oldest first."""
    return _first().calls_of_run(organization_id, run_id, limit)


def is_clickhouse() -> bool:
    """Whether calls are read from where they are searched: then what is beside a call is found by `telemetry.calls`."""
    return isinstance(_first(), ClickHouse)


def around(row: TraceRow) -> tuple[Sequence[TraceRow], Sequence[TraceRow]]:
    """The calls before and after this one in its run."""
    rows = calls_of_run(row.organization_id, row.run_id) if row.run_id else []
    at = next((number for number, one in enumerate(rows) if one.id == row.id), None)
    return ([], []) if at is None else (rows[:at], rows[at + 1 :])


def _corrected(found: Trace | None) -> Trace | None:
    if found is None or found.is_corrected:
        return found
    try:
        return corrected(found)
    except TelemetryUnavailable:
        return found


def _first() -> ReadableBackend:
    found = _first_of(tuple(settings.PROVIDER_TRACE_BACKENDS))
    if found is None:
        mend = "add clickhouse or postgres to PROVIDER_TRACE_BACKENDS."
        raise TelemetryUnavailable(f"No trace back end can be read: {mend}")
    return found


@lru_cache(maxsize=4)
def _first_of(names: tuple[str, ...]) -> ReadableBackend | None:
    return next((backend for name in names if isinstance(backend := make(name), ReadableBackend)), None)
