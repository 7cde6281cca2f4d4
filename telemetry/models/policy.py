"""What an organization lets be kept of its calls: how much of what was said, and for how long."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from core.ids import PrefixedIdField
from core.models import Audited, OrganizationModel
from telemetry.masking import KINDS
from telemetry.masking.expressions import refusal


class Content(models.TextChoices):
    FULL = "full", "Full: requests and responses as they are"
    MASKED = "masked", "Masked: secrets and personal data replaced"
    METADATA = "metadata", "Metadata: neither request nor response, only their sizes"


def all_kinds() -> list[str]:
    return list(KINDS)


class TracePolicy(OrganizationModel, Audited):
    """One for an organization; without one the installation's own settings hold."""

    id = PrefixedIdField(prefix="policy", primary_key=True)
    content = models.CharField(max_length=10, choices=Content.choices, default=Content.MASKED)
    masked_kinds = models.JSONField(default=all_kinds, blank=True)
    custom_rules = models.JSONField(default=list, blank=True, help_text="[{name, pattern}], 20 at most.")
    use_analyzer = models.BooleanField(
        "names and places too", default=False, help_text="By the installation's analyzer (Presidio), where it has one."
    )
    trace_days = models.PositiveIntegerField(null=True, blank=True)
    payload_days = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization"], name="one_trace_policy_per_organization")]
        verbose_name_plural = "trace policies"

    def __str__(self) -> str:
        return f"Traces: {self.content}"

    def clean(self) -> None:
        problems: dict[str, Any] = {}
        unknown = set(self.masked_kinds) - set(KINDS) if isinstance(self.masked_kinds, list) else {"?"}
        if unknown:
            problems["masked_kinds"] = f"Kinds are out of {', '.join(KINDS)}."
        if said := refusal(self.custom_rules):
            problems["custom_rules"] = said
        if self.use_analyzer and not settings.TRACE_ANALYZER:
            problems["use_analyzer"] = "This installation has no analyzer: its operator sets TRACE_ANALYZER first."
        problems |= self._wrong_days()
        if problems:
            raise ValidationError(problems)

    def _wrong_days(self) -> dict[str, str]:
        longest = {"trace_days": settings.TRACE_RETENTION_DAYS, "payload_days": settings.PAYLOAD_RETENTION_DAYS}
        wrong = {}
        for name, most in longest.items():
            days = getattr(self, name)
            if days is not None and not 1 <= days <= most:
                wrong[name] = f"Between 1 and {most} days, which is as long as this installation keeps any."
        return wrong
