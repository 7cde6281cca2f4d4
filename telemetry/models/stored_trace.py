"""Model calls as the back end `postgres` keeps them: what is looked for in columns, everything else in one document."""

from __future__ import annotations

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q


class StoredTrace(models.Model):
    """One call; its id is the primary key, so that what is written again is there once.

    `row` holds every column of `telemetry.trace.COLUMNS` by its name, as the spool has it. What was said is kept to the
    byte, compressed by zlib, and is null once it has expired. Ids are as on the wire, and there are no foreign keys: a
    call may end after what it belongs to is gone, and much is deleted in small pieces.
    """

    id = models.CharField(primary_key=True, max_length=64)
    organization_id = models.CharField(max_length=64)
    agent_id = models.CharField(max_length=64, blank=True)
    identity_id = models.CharField(max_length=255, blank=True)
    run_id = models.CharField(max_length=64, blank=True)
    step_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    row = models.JSONField()
    request = models.BinaryField(null=True)
    response = models.BinaryField(null=True)
    config = models.BinaryField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["organization_id", "-created_at"], name="stored_trace_by_org"),
            models.Index(fields=["run_id"], name="stored_trace_by_run"),
            models.Index(fields=["step_id"], name="stored_trace_by_step"),
            models.Index(fields=["created_at"], condition=Q(request__isnull=False), name="stored_trace_with_payload"),
            BrinIndex(fields=["created_at"], name="stored_trace_by_age"),
        ]

    def __str__(self) -> str:
        return self.id
