"""What a trace back end is, and which ones the settings name.

An installation may name its own class by its dotted path: it is made without arguments, reads its own settings, and is
used by one thread at a time for `write`, by any for reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from telemetry.batches import Batch
from telemetry.queries import Trace, TraceRow

BACKENDS = {
    "clickhouse": "telemetry.backends.clickhouse.ClickHouse",
    "postgres": "telemetry.backends.postgres.Postgres",
    "socket": "telemetry.backends.unix_socket.UnixSocket",
    "otlp": "telemetry.backends.otlp.Otlp",
}


class TraceBackend(Protocol):
    """A place that traces go to. `name`: small letters, digits and underscores; files are called by it."""

    name: str

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        """Take all of the batch, or raise Away (again, later) or Refused (never as it is).

        `doubtful`: it may have been sent before, wholly or in part; afterwards each call should be there once.
        """

    def close(self) -> None:
        """Let go of connections; what is written later makes new ones."""

    def wrong(self) -> Sequence[str]:
        """What is wrong with its settings: sentences that say the mend."""

    def probe(self) -> str:
        """In a few words, that it takes traces. Raises Away with the reason when it does not."""


@runtime_checkable
class ReadableBackend(Protocol):
    """A back end that can tell what it has. Raises TelemetryUnavailable when it does not answer."""

    def call(self, organization_id: str | None, call_id: str) -> Trace | None:
        """None: of any organization, for superusers."""

    def call_of_step(self, organization_id: str, step_id: str) -> Trace | None:
        """The newest call of the step: the attempt that counted."""

    def calls_of_run(self, organization_id: str, run_id: str, limit: int) -> Sequence[TraceRow]:
        """Every call of the run, the oldest first."""


def make(name: str) -> TraceBackend:
    """ImproperlyConfigured, with the mend, when there is none of this name."""
    path = BACKENDS.get(name, name)
    mend = f"PROVIDER_TRACE_BACKENDS names back ends out of {', '.join(BACKENDS)}, or classes by their dotted path."
    if "." not in path:
        raise ImproperlyConfigured(f"There is no trace back end {name!r}. {mend}")
    try:
        found = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"The trace back end {name!r} cannot be imported: {error}. {mend}") from error
    backend: TraceBackend = found()
    return backend


def configured() -> list[TraceBackend]:
    """In the order of the setting: what is read comes from the first that can tell."""
    return [make(name) for name in settings.PROVIDER_TRACE_BACKENDS]
