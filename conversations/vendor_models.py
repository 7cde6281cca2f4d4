"""Model calls of batches' runs at their vendors' batch APIs. Imported by `conversations.models`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core.ids import PrefixedIdField
from core.models import OrganizationModel


class VendorBatchState(models.TextChoices):
    """`submitting`: from just before it is sent until its arrival is known, so that a crash leaves a doubt behind and
    not a second batch."""

    GATHERED = "gathered"
    SUBMITTING = "submitting"
    SENT = "sent"
    ENDED = "ended"


class VendorBatch(OrganizationModel):
    """Calls that are given to one vendor together: of one organization, key and model.

    `due_at`: when somebody looks at it next; somebody who does moves it on, so that it comes to another if he dies.
    `vendor_word`, `done_count`, `failed_count`: how it stands, by the vendor's words.
    """

    id = PrefixedIdField(prefix="vendor_batch", primary_key=True)
    state = models.CharField(max_length=10, choices=VendorBatchState.choices, default=VendorBatchState.GATHERED)
    provider_id = models.CharField(max_length=60, blank=True)
    provider_name = models.CharField(max_length=100)
    dialect = models.CharField(max_length=40)
    model = models.CharField(max_length=255)
    call_count = models.PositiveIntegerField()
    file_id = models.CharField(max_length=255, blank=True)
    vendor_id = models.CharField(max_length=255, blank=True)
    vendor_word = models.CharField(max_length=40, blank=True)
    done_count = models.PositiveIntegerField(default=0)
    failed_count = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="Attempts in a row that did not get through.")
    due_at = models.DateTimeField(null=True)
    submitted_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True, help_text="When the vendor was asked to cancel it.")
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "vendor batches"
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="vendor_batches_due"),
            models.Index(fields=["organization", "-created_at"], name="vendor_batches_of_organization"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class CallState(models.TextChoices):
    """`waiting`: to be gathered. `given`: to a vendor's batch. `dropped`: its run ended before it was
    sent, or its step has acted on its failure and asks anew."""

    WAITING = "waiting"
    GIVEN = "given"
    ANSWERED = "answered"
    FAILED = "failed"
    DROPPED = "dropped"


class VendorCall(OrganizationModel):
    """The model call of one step that waits for its vendor. The id is its trace's, and its line's in the batch.

    `start`: see `agents.batch_calls.dumped`; `request`, `response`: the JSON of either, emptied when it is traced and
    when its run has ended. `let_in_at`: its run goes on, there was room for it; until then the run is parked.
    `error`: name (of a class of providers.errors), message, status.
    """

    id = PrefixedIdField(prefix="vendor_call", primary_key=True)
    run = models.ForeignKey(
        "conversations.Run", on_delete=models.SET_NULL, null=True, related_name="vendor_calls", db_index=False
    )
    batch = models.ForeignKey(VendorBatch, on_delete=models.SET_NULL, null=True, related_name="calls")
    step_index = models.PositiveIntegerField()
    attempt = models.PositiveSmallIntegerField(default=1)
    step_id = models.CharField(max_length=60)
    state = models.CharField(max_length=10, choices=CallState.choices, default=CallState.WAITING)
    provider_id = models.CharField(max_length=60, blank=True)
    provider_name = models.CharField(max_length=100)
    dialect = models.CharField(max_length=40)
    model = models.CharField(max_length=255)
    start = models.JSONField()
    is_held = models.BooleanField()
    request = models.BinaryField()
    request_bytes = models.PositiveIntegerField()
    response = models.BinaryField(null=True)
    error = models.JSONField(null=True)
    usage = models.JSONField(null=True)
    cost_usd = models.DecimalField(max_digits=20, decimal_places=12, null=True)
    price = models.JSONField(null=True, help_text="source, tier, confidence")
    ended_at = models.DateTimeField(null=True)
    traced_at = models.DateTimeField(null=True)
    let_in_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step_index", "attempt"], name="one_vendor_call_per_attempt")
        ]
        indexes = [
            models.Index(
                fields=["organization", "provider_id", "provider_name", "dialect", "model"],
                condition=Q(state="waiting"),
                name="vendor_calls_to_gather",
            ),
            models.Index(fields=["organization", "ended_at"], condition=Q(let_in_at=None), name="vendor_calls_parked"),
            models.Index(
                fields=["ended_at"], condition=Q(ended_at__isnull=False, traced_at=None), name="vendor_calls_to_trace"
            ),
            models.Index(
                fields=["let_in_at"],
                condition=Q(let_in_at__isnull=False, response__isnull=False),
                name="vendor_calls_to_empty",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
