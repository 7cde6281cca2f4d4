"""Makes the file of an export: page after page from ClickHouse, in bounded memory, by whichever worker is rung.

A worker that dies loses its lease; the next one begins anew, and the file appears whole or not at all.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages
from django.db.models import F, Q

from core.db import release_connection
from core.errors import AppError
from core.time import now
from telemetry.calls import list_calls
from telemetry.client import TelemetryUnavailable
from telemetry.exports import actions
from telemetry.exports.writers import WRITERS, Values, columns, value_of
from telemetry.filters import TraceFilters, wanted_by
from telemetry.models.export import UNFINISHED, Export, ExportState
from telemetry.queries import TraceRow
from telemetry.select import select
from telemetry.trace import PAYLOAD_COLUMNS, epoch_ms

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
RING_AGAIN = timedelta(seconds=30)
MOST_ATTEMPTS = 5
PAGE = 5_000
PAGE_WITH_PAYLOADS = 250


class Overtaken(Exception):
    """It was cancelled, or another worker has it."""


def run(export_id: str) -> None:
    """Make it, if nobody else does."""
    export = _claim(export_id)
    if export is None:
        return
    try:
        _make(export)
    except Overtaken:
        log.info("%s was cancelled or taken over", export_id)
    except TelemetryUnavailable as error:
        _wait(export, error)
    except AppError as error:
        _fail(export, error.message)
    except Exception:
        _fail(export, "The server failed; its log says how.")
        raise
    finally:
        release_connection()


def sweep() -> int:
    """Ring for exports that nobody is at."""
    idle = Q(lease_until__lt=now()) | Q(lease_until=None, created_at__lt=now() - RING_AGAIN)
    found = list(Export.objects.filter(idle, state__in=UNFINISHED).values_list("pk", flat=True)[:100])
    for export_id in found:
        actions.ring(str(export_id))
    return len(found)


def _claim(export_id: str) -> Export | None:
    free = Q(lease_until=None) | Q(lease_until__lt=now())
    claimed = Export.objects.filter(free, pk=export_id, state__in=UNFINISHED).update(
        state=ExportState.RUNNING,
        attempt=F("attempt") + 1,
        lease_until=now() + LEASE,
        started_at=now(),
        rows=0,
        progress=0,
    )
    export = Export.objects.filter(pk=export_id).first() if claimed else None
    if export is not None and export.attempt > MOST_ATTEMPTS:
        _fail(export, f"{MOST_ATTEMPTS} workers died while they made it: ask for less at once.")
        return None
    return export


def _note(export: Export, **changes: Any) -> None:
    """Write only as long as it is ours. Raises Overtaken."""
    ours = Export.objects.filter(pk=export.pk, attempt=export.attempt, state=ExportState.RUNNING)
    if not ours.update(**changes):
        raise Overtaken


def _make(export: Export) -> None:
    filters = actions.filters_of(export)
    folder = Path(settings.EXPORTS_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="draft-", dir=folder) as draft:
        path = Path(draft) / "export"
        rows = _fill(export, filters, path)
        size = path.stat().st_size
        _note(export, lease_until=now() + LEASE)
        with path.open("rb") as file:
            name = storages["exports"].save(f"{export.pk}.{export.format}", File(file))
    try:
        ended = {"state": ExportState.DONE, "finished_at": now(), "lease_until": None}
        _note(export, **ended, progress=100, rows=rows, size_bytes=size, file=name)
    except Overtaken:
        storages["exports"].delete(name)
        raise


def _fill(export: Export, filters: TraceFilters, path: Path) -> int:
    shape = columns(with_payloads=export.with_payloads)
    writer = WRITERS[export.format](path, shape)
    written = 0
    try:
        for page in _pages(str(export.organization_id), filters, export.with_payloads):
            writer.write(page)
            written += len(page)
            if page:
                done = _percent(filters, page[-1]["created_at"])
                _note(export, rows=written, progress=done, lease_until=now() + LEASE)
            release_connection()
    finally:
        writer.close()
    return written


def _pages(organization_id: str, filters: TraceFilters, with_payloads: bool) -> Iterator[list[Values]]:
    names, cursor, wanted = TraceRow.__annotations__, "", wanted_by(organization_id, filters)
    while True:
        page = list_calls(wanted, cursor, PAGE_WITH_PAYLOADS if with_payloads else PAGE)
        values: list[Values] = [{name: value_of(row, name) for name in names} for row in page.rows]
        yield _with_payloads(organization_id, page.rows, values) if with_payloads and values else values
        cursor = page.cursor
        if not cursor:
            return


def _with_payloads(organization_id: str, rows: Sequence[TraceRow], values: Sequence[Values]) -> list[Values]:
    first, last = epoch_ms(rows[-1].created_at), epoch_ms(rows[0].created_at)
    found = select("payloads_between", organization_id, first=first, last=last, ids=[row.id for row in rows])
    said = {row[0]: row[1:] for row in found}
    nothing = (None,) * len(PAYLOAD_COLUMNS)
    return [{**one, **dict(zip(PAYLOAD_COLUMNS, said.get(one["id"], nothing), strict=True))} for one in values]


def _percent(filters: TraceFilters, reached: Any) -> int:
    """Calls come newest first: how much of the time is behind us."""
    assert filters.start is not None
    assert filters.end is not None
    whole = (filters.end - filters.start).total_seconds()
    return min(99, max(0, round(100 * (filters.end - reached).total_seconds() / whole))) if whole > 0 else 99


def _wait(export: Export, error: TelemetryUnavailable) -> None:
    """ClickHouse is away: again when the lease has run out, and it does not count as an attempt."""
    log.warning("%s waits: %s", export.pk, error.message)
    again = Export.objects.filter(pk=export.pk, attempt=export.attempt, state=ExportState.RUNNING)
    again.update(
        state=ExportState.QUEUED, error=error.message, lease_until=now() + RING_AGAIN, attempt=F("attempt") - 1
    )


def _fail(export: Export, message: str) -> None:
    ours = Export.objects.filter(pk=export.pk, attempt=export.attempt, state__in=UNFINISHED)
    ours.update(state=ExportState.FAILED, error=message, finished_at=now(), lease_until=None)
