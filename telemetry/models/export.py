"""Exports of traces: what was asked for, how far it is, and where the file lies."""

from __future__ import annotations

from django.db import models

from core.ids import PrefixedIdField
from core.models import OrganizationModel


class ExportFormat(models.TextChoices):
    CSV = "csv", "CSV: for spreadsheets"
    JSONL = "jsonl", "JSON Lines: one object a call"
    PARQUET = "parquet", "Parquet: typed columns, for analysis"


class ExportState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


UNFINISHED = (ExportState.QUEUED, ExportState.RUNNING)


class Export(OrganizationModel):
    """One file of an organization's calls, the newest first. `filters` are those of TraceFilters, times in ISO 8601.

    `attempt` fences: a worker that was taken for dead writes nothing more. `progress`: percent of the time asked for.
    """

    id = PrefixedIdField(prefix="export", primary_key=True)
    format = models.CharField(max_length=10, choices=ExportFormat.choices)
    with_payloads = models.BooleanField("with requests and responses", default=False)
    filters = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=ExportState.choices, default=ExportState.QUEUED)
    progress = models.PositiveSmallIntegerField(default=0)
    rows = models.PositiveBigIntegerField(default=0)
    size_bytes = models.PositiveBigIntegerField(default=0)
    file = models.CharField(max_length=200, blank=True, editable=False)
    error = models.TextField(blank=True)
    requested_by_id = models.CharField(max_length=60, blank=True)
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"], name="telemetry_exports_listed"),
            models.Index(
                fields=["created_at"],
                condition=models.Q(state__in=["queued", "running"]),
                name="telemetry_exports_unfinished",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_format_display().partition(':')[0]} of {self.created_at:%Y-%m-%d %H:%M}"
