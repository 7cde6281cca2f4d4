"""The door to single calls: one, a step's, a run's, from the first back end of the setting that can tell.

Every function raises TelemetryUnavailable when that one does not answer; no other is asked in its place, since it may
have less.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from django.conf import settings

from telemetry.backends.base import ReadableBackend, make
from telemetry.client import TelemetryUnavailable
from telemetry.queries import Trace, TraceRow

MOST = 1000


def call(organization_id: str, call_id: str) -> Trace | None:
    return _first().call(organization_id, call_id)


def call_of_step(organization_id: str, step_id: str) -> Trace | None:
    """The newest call of the step: the attempt that counted."""
    return _first().call_of_step(organization_id, step_id)


def calls_of_run(organization_id: str, run_id: str, limit: int = MOST) -> Sequence[TraceRow]:
    """Every call of the run, the oldest first."""
    return _first().calls_of_run(organization_id, run_id, limit)


def _first() -> ReadableBackend:
    found = _first_of(tuple(settings.PROVIDER_TRACE_BACKENDS))
    if found is None:
        mend = "add clickhouse or postgres to PROVIDER_TRACE_BACKENDS."
        raise TelemetryUnavailable(f"No trace back end can be read: {mend}")
    return found


@lru_cache(maxsize=4)
def _first_of(names: tuple[str, ...]) -> ReadableBackend | None:
    return next((backend for name in names if isinstance(backend := make(name), ReadableBackend)), None)
