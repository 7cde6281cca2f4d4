"""Bases of every stored noun: whose it is, and when it was made and changed."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class TimeStamped(models.Model):
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class OrganizationModel(TimeStamped):
    """A row that belongs to one organization; nothing reads it but through that organization.

    The column has no index of its own: each list has one that begins with it.
    """

    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, related_name="+", db_index=False
    )

    class Meta:
        abstract = True


class Audited(models.Model):
    """Who made the row and who changed it last: the id of a user."""

    created_by_id = models.CharField(max_length=60, null=True, blank=True, editable=False)
    last_updated_by_id = models.CharField(max_length=60, null=True, blank=True, editable=False)

    class Meta:
        abstract = True
