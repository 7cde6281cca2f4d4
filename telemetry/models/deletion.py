"""Traces that were asked to be deleted, what became of it, and what hosts and nightly jobs report."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.ids import PrefixedIdField
from core.models import TimeStamped


class Scope(models.TextChoices):
    ORGANIZATION = "organization", "All of the organization, its sums included"
    AGENT = "agent", "One agent"
    IDENTITY = "identity", "One end user"


class DeletionState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


PENDING = (DeletionState.QUEUED, DeletionState.RUNNING)


class TraceDeletion(TimeStamped):
    """One request, and its receipt. It outlives its organization, so nothing in here is bound to one by the database.

    `pieces`: a back end's table and partition each, with what was found in it; written down before anything is deleted.
    `cut_off`: what was called before it goes. `left`: what a last look found, 0 in the end.
    """

    id = PrefixedIdField(prefix="deletion", primary_key=True)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    organization_name = models.CharField(max_length=100, blank=True)
    scope = models.CharField(max_length=12, choices=Scope.choices)
    target_id = models.CharField(max_length=255, blank=True)
    reason = models.TextField(blank=True)
    requested_by_id = models.CharField(max_length=60, blank=True)
    requested_by = models.CharField(max_length=254, blank=True)
    cut_off = models.DateTimeField()
    state = models.CharField(max_length=10, choices=DeletionState.choices, default=DeletionState.QUEUED)
    pieces = models.JSONField(default=list)
    passes = models.PositiveIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0, help_text="In a row that failed.")
    waits_for = models.CharField(max_length=300, blank=True)
    left = models.PositiveBigIntegerField(null=True)
    try_at = models.DateTimeField(default=timezone.now)
    lease_until = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    receipt = models.JSONField(null=True)
    receipt_sha256 = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="trace_deletion_by_org"),
            models.Index(fields=["try_at"], condition=Q(state__in=["queued", "running"]), name="trace_deletion_due"),
        ]

    def __str__(self) -> str:
        return f"Traces of {self.target_id or self.organization_name}"

    @property
    def found(self) -> int:
        return sum(piece["found"] for piece in self.pieces)

    @property
    def deleted(self) -> int:
        return sum(piece["found"] for piece in self.pieces if piece["done"])


class SpoolReport(models.Model):
    """What a host's shipper says of its spool: since when calls wait there. A deletion waits for all of them."""

    spool = models.CharField(max_length=300, primary_key=True, help_text="host:directory")
    oldest_at = models.DateTimeField(null=True, help_text="The oldest call that is not shipped; null: none.")
    reported_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.spool


class RetentionRun(models.Model):
    """What the nightly job deleted for organizations that keep their traces for a shorter time."""

    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    organizations = models.PositiveIntegerField(default=0)
    deleted = models.JSONField(default=dict, help_text="Back end and table to rows.")
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["-started_at"], name="retention_run_by_start")]

    def __str__(self) -> str:
        return f"Retention of {self.started_at:%Y-%m-%d}"
