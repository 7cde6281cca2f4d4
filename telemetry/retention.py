"""Organizations that keep their traces for a shorter time than the installation: what is older goes each night.

The installation's own days are ClickHouse's TTL, which drops whole parts and costs nothing. Shorter days cannot be in
it: a TTL takes no look-up, and parts hold many organizations. So one delete for each table and partition that has
anything to delete, for all organizations at once; sums stay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q

from core.time import now
from telemetry.backends.postgres import expire
from telemetry.client import TelemetryUnavailable
from telemetry.models import StoredTrace
from telemetry.models.deletion import RetentionRun
from telemetry.models.policy import TracePolicy
from telemetry.stores import DONE_WHEN_IT_RETURNS, PAYLOADS, REPRICINGS, TRACES, ClickHouseStore, delete_some
from telemetry.trace import epoch_ms

log = logging.getLogger(__name__)

# In one statement; more organizations take turns in the order of their ids.
ORGANIZATIONS = 500
KEPT_RUNS = 400
CutOffs = Mapping[str, datetime]


def enforce() -> RetentionRun:
    """One night's work; its result is kept. Repeating it does no harm."""
    run = RetentionRun.objects.create()
    at = run.started_at
    traces, payloads = cut_offs(at)
    deleted: dict[str, int] = {}
    try:
        _in_postgres(traces, payloads, deleted)
        if settings.CLICKHOUSE_URL:
            _in_clickhouse(traces, payloads, deleted)
    except TelemetryUnavailable as error:
        run.error = f"{error.message} What was left is done the next night."[:500]
        log.warning("Retention stopped: %s", error.message)
    run.organizations = len(traces.keys() | payloads.keys())
    run.deleted, run.finished_at = deleted, now()
    run.save()
    old = RetentionRun.objects.order_by("-started_at").values_list("pk", flat=True)[KEPT_RUNS:]
    RetentionRun.objects.filter(pk__in=list(old)).delete()
    return run


def cut_offs(at: datetime) -> tuple[dict[str, datetime], dict[str, datetime]]:
    """Organization to the time before which its traces, and its payloads, go. A payload never outlives its trace."""
    traces, payloads = {}, {}
    rows = TracePolicy.objects.filter(Q(trace_days__isnull=False) | Q(payload_days__isnull=False))
    for organization_id, trace_days, payload_days in rows.values_list("organization_id", "trace_days", "payload_days"):
        days = trace_days or settings.TRACE_RETENTION_DAYS
        said_days = min(payload_days or settings.PAYLOAD_RETENTION_DAYS, days)
        if days < settings.TRACE_RETENTION_DAYS:
            traces[str(organization_id)] = at - timedelta(days=days)
        if said_days < settings.PAYLOAD_RETENTION_DAYS:
            payloads[str(organization_id)] = at - timedelta(days=said_days)
    return traces, payloads


def _in_postgres(traces: CutOffs, payloads: CutOffs, deleted: dict[str, int]) -> None:
    emptied, dropped = expire(settings.TRACE_RETENTION_DAYS, settings.PAYLOAD_RETENTION_DAYS)
    for organization_id, before in payloads.items():
        rows = StoredTrace.objects.filter(organization_id=organization_id, created_at__lt=before)
        emptied += rows.filter(request__isnull=False).update(request=None, response=None, config=None)
    for organization_id, before in traces.items():
        dropped += delete_some(StoredTrace.objects.filter(organization_id=organization_id, created_at__lt=before))
    deleted |= {"postgres.payloads": emptied, "postgres.traces": dropped}


def _in_clickhouse(traces: CutOffs, payloads: CutOffs, deleted: dict[str, int]) -> None:
    """Payloads first: they go earlier, and nothing of them is needed for the traces."""
    store = ClickHouseStore(settings.CLICKHOUSE_URL)
    for table, before in ((PAYLOADS, payloads), (REPRICINGS, traces), (TRACES, traces)):
        ordered = sorted(before.items())
        rows = 0
        for first in range(0, len(ordered), ORGANIZATIONS):
            rows += _delete(store, table, dict(ordered[first : first + ORGANIZATIONS]))
        deleted[f"clickhouse.{table}"] = rows


def _delete(store: ClickHouseStore, table: str, before: CutOffs) -> int:
    """The primary key begins with the organization: only its own rows are read to find what is old."""
    values: dict[str, Any] = {
        "organizations": list(before),
        "cuts": [epoch_ms(at) for at in before.values()],
        "last": max(epoch_ms(at) for at in before.values()),
    }
    old = (
        "organization_id IN %(organizations)s AND created_at < fromUnixTimestamp64Milli(%(last)s, 'UTC')"
        " AND toUnixTimestamp64Milli(created_at) < transform(organization_id, %(organizations)s, %(cuts)s, 0)"
    )
    done = 0
    with store.connected() as client:
        counted = f"SELECT _partition_id, count(), max(created_at) FROM {table} WHERE {old} GROUP BY 1"  # noqa: S608
        for partition, rows, newest in client.execute(counted, values):
            sql = f"DELETE FROM {table} IN PARTITION ID %(partition)s WHERE {old}"  # noqa: S608
            client.execute(sql, {**values, "partition": partition}, settings=DONE_WHEN_IT_RETURNS)
            done += rows
            if _is_over(newest, before):
                store.rewrite(client, table, partition)
    return done


def _is_over(newest: datetime, before: CutOffs) -> bool:
    """Nothing more will be deleted in this month for these organizations: now the disk gets its room back, once."""
    end = (newest.replace(day=1) + timedelta(days=32)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return end.astimezone(UTC) <= min(before.values())
