"""What stands in PostgreSQL of the ledger: jobs that price calls anew, and what audits found."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core.ids import PrefixedIdField
from core.models import OrganizationModel


class Repricing(OrganizationModel):
    """A job that prices calls of a span of days anew. Its corrections stand in ClickHouse, beside the calls.

    `after_ms`, `after_id`: how far it has come. Runs and steps keep what they were charged at.
    """

    id = PrefixedIdField(prefix="repricing", primary_key=True)
    start = models.DateField()
    end = models.DateField(help_text="The last day, itself included.")
    model = models.CharField(max_length=255, blank=True)
    only_unpriced = models.BooleanField(default=False)
    reason = models.CharField(max_length=500)
    actor_id = models.CharField(max_length=60, blank=True)
    price_data = models.CharField(max_length=60, blank=True)
    after_ms = models.BigIntegerField(default=0)
    after_id = models.CharField(max_length=64, blank=True)
    seen = models.PositiveBigIntegerField(default=0)
    finished_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(default=list, help_text="By model: calls, and their cost before and after.")

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization"], condition=Q(finished_at=None), name="one_repricing_at_a_time"
            )
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="repricings_of_organization")]

    def __str__(self) -> str:
        return f"{self.start} to {self.end}"


class LedgerAudit(OrganizationModel):
    """What an audit of one organization's calls of one day found: see `conversations.ledger_audit`."""

    id = PrefixedIdField(prefix="ledger_audit", primary_key=True)
    day = models.DateField()
    checked_at = models.DateTimeField()
    calls = models.PositiveBigIntegerField(default=0)
    steps = models.PositiveBigIntegerField(default=0)
    mismatch_count = models.PositiveBigIntegerField(default=0)
    mismatches = models.JSONField(default=list, help_text="The first ones: kind, id and what is wrong.")
    unchecked = models.JSONField(default=dict, help_text="Why a part could not be checked, and for how many calls.")
    problem = models.CharField(max_length=300, blank=True, help_text="Why there is no result.")

    class Meta:
        ordering = ["-day", "organization"]
        constraints = [models.UniqueConstraint(fields=["organization", "day"], name="one_ledger_audit_a_day")]
        indexes = [models.Index(fields=["-day"], name="ledger_audits_by_day")]

    def __str__(self) -> str:
        return f"{self.day}"
