"""What messages mean, as vectors. Imported by `conversations.models`."""

from __future__ import annotations

from django.db import models
from pgvector.django import HalfVectorField

from core.models import OrganizationModel


class MessageVector(OrganizationModel):
    """What a message means, by the embedding model `handle`. What searches narrow down by stands here again, so that
    the nearest are found without looking at messages. `created_at` is the message's.

    Indexes over the vectors themselves, one for each usual `dim`, are made by the migrations.
    """

    message = models.OneToOneField(
        "conversations.Message", on_delete=models.CASCADE, primary_key=True, related_name="vector"
    )
    agent = models.ForeignKey("agents.Agent", on_delete=models.CASCADE, related_name="+", db_index=False)
    conversation = models.ForeignKey("conversations.Conversation", on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10)
    handle = models.CharField(max_length=255)
    dim = models.PositiveSmallIntegerField()
    embedding = HalfVectorField()

    class Meta:
        indexes = [
            models.Index(fields=["agent", "handle", "-created_at"], name="vectors_of_agent"),
            models.Index(fields=["organization", "handle"], name="vectors_of_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} by {self.handle}"
