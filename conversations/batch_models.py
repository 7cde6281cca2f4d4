"""Sends that were given in bulk, to be made when there is room. Imported by `conversations.models`."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from core.ids import PrefixedIdField
from core.models import OrganizationModel

BATCH_RUN = "send_message_batch"  # the run_type of its runs


class BatchStatus(models.TextChoices):
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Batch(OrganizationModel):
    """It keeps on whose behalf it was given, since its runs begin later. It is its own outbox, as a run is."""

    id = PrefixedIdField(prefix="job", primary_key=True)
    status = models.CharField(max_length=10, choices=BatchStatus.choices, default=BatchStatus.RUNNING)
    request_count = models.PositiveIntegerField()
    counts = models.JSONField(default=dict, help_text="How its items ended, by the words of the wire.")
    project_id = models.CharField(max_length=60, blank=True)
    api_key_id = models.CharField(max_length=60, blank=True)
    user_id = models.CharField(max_length=60, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    callback_url = models.URLField(max_length=2083, null=True, blank=True)
    callback_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    callback_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    callback_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    callback_status_code = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    callback_error = models.TextField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "batches"
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"], name="batches_of_organization"),
            models.Index(fields=["created_at"], condition=Q(status="running"), name="batches_running"),
            models.Index(
                fields=["callback_due_at"], condition=Q(callback_due_at__isnull=False), name="batch_callbacks_due"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ItemStatus(models.TextChoices):
    WAITING = "waiting"
    STARTED = "started"
    ENDED = "ended"


class BatchItem(OrganizationModel):
    """One send of a batch. `rows` and `options` are those of `conversations.actions.Send`; emptied when it has ended.

    `not_before`: where it waits, that it waits longer, since its conversation or a limit is busy; where it is started,
    that its starter has died by then; empty once the run is noted. `error`: why no run was made of it.
    """

    id = PrefixedIdField(prefix="batch_item", primary_key=True)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items", db_index=False)
    place = models.PositiveIntegerField()
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="+")
    run = models.OneToOneField(
        "conversations.Run", on_delete=models.SET_NULL, null=True, blank=True, related_name="batch_item"
    )
    status = models.CharField(max_length=10, choices=ItemStatus.choices, default=ItemStatus.WAITING)
    not_before = models.DateTimeField(null=True, blank=True)
    rows = models.JSONField(default=list)
    options = models.JSONField(default=dict)
    error = models.JSONField(null=True, blank=True, help_text="type, message")

    class Meta:
        ordering = ["batch", "place"]
        constraints = [models.UniqueConstraint(fields=["batch", "place"], name="one_item_per_place")]
        indexes = [
            models.Index(
                fields=["organization", "agent", "created_at", "place"],
                condition=Q(status="waiting"),
                name="items_waiting",
            ),
            models.Index(fields=["organization"], condition=Q(status="started"), name="items_started"),
        ]

    def __str__(self) -> str:
        return f"{self.batch_id} #{self.place}"
