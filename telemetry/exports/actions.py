"""What is done to exports: asked for, cancelled, fetched, removed when they are old."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import storages
from django.db import transaction

from accounts.audit import Deed, note
from core.errors import Conflict, LimitExceeded, NotFound
from core.time import now
from telemetry.filters import TraceFilters
from telemetry.models.export import UNFINISHED, Export, ExportState

RUN = "telemetry.run_export"
MOST_AT_ONCE = 3
BY_DEFAULT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`format`: csv, jsonl or parquet. Filters without a start begin 30 days before their end; the end is now."""

    format: str
    with_payloads: bool = False
    filters: TraceFilters = field(default_factory=TraceFilters)


@transaction.atomic
def request_export(organization_id: str, actor_id: str, wanted: Wanted) -> Export:
    """Queue one. Raises LimitExceeded where the organization waits for several already."""
    waiting = Export.objects.select_for_update().filter(organization_id=organization_id, state__in=UNFINISHED)
    if len(waiting) >= MOST_AT_ONCE:
        raise LimitExceeded(f"{MOST_AT_ONCE} exports are being made for this organization: wait for one, or cancel it.")
    end = wanted.filters.end or now()
    times = {"start": wanted.filters.start or end - BY_DEFAULT, "end": end}
    filters = {name: value for name, value in asdict(wanted.filters).items() if value not in ("", None)}
    export = Export.objects.create(
        organization_id=organization_id,
        format=wanted.format,
        with_payloads=wanted.with_payloads,
        filters=filters | {name: at.isoformat() for name, at in times.items()},
        requested_by_id=actor_id,
    )
    after = {"format": export.format, "with_payloads": export.with_payloads, "filters": export.filters}
    note(organization_id, actor_id, Deed(action="traces.export", target=str(export.pk), after=after))
    transaction.on_commit(partial(ring, str(export.pk)))
    return export


def ring(export_id: str) -> None:
    """A lost ring is rung again by `sweep`."""
    current_app.send_task(RUN, args=[export_id])


def filters_of(export: Export) -> TraceFilters:
    given: dict[str, Any] = dict(export.filters)
    for name in ("start", "end"):
        given[name] = datetime.fromisoformat(given[name])
    return TraceFilters(**given)


def cancel(export: Export) -> None:
    """Raises Conflict where it has ended already."""
    changed = Export.objects.filter(pk=export.pk, state__in=UNFINISHED).update(
        state=ExportState.CANCELLED, finished_at=now(), lease_until=None
    )
    if not changed:
        raise Conflict("This export has ended already: there is nothing to cancel.")


def remove(export: Export) -> None:
    """The row and its file; one that is being made is cancelled by it."""
    if export.file:
        storages["exports"].delete(export.file)
    export.delete()


def opened(export: Export) -> File:
    """The file of one that is done. Raises Conflict, NotFound."""
    if export.state != ExportState.DONE:
        raise Conflict(f"This export is {export.state}: its file is there when it is done.")
    try:
        return storages["exports"].open(export.file)
    except FileNotFoundError:
        raise NotFound("The file of this export is gone: ask for it again.") from None


def prune() -> int:
    """Remove exports after EXPORT_DAYS."""
    old = list(Export.objects.filter(created_at__lt=now() - timedelta(days=settings.EXPORT_DAYS))[:1000])
    for export in old:
        remove(export)
    return len(old)
