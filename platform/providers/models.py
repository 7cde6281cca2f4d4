"""What an organization stores of its providers: its own keys, and its own prices."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from core.fields import EncryptedTextField
from core.ids import PrefixedIdField
from core.models import OrganizationModel
from providers.pricing import Override, Rates

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z"
NAME_RULE = "Letters, digits, dots, dashes and underscores: it is the first part of handles."


class ToolMode(models.TextChoices):
    AUTO = "", "As detected"
    NATIVE = "native", "Native: the model makes tool calls itself"
    CONSTRAINED = "constrained", "Constrained: the server's JSON schema leads it"


class Provider(OrganizationModel):
    """An organization's own credential at a provider (BYOK). Its models are `<name>/<model>`.

    It is for the whole organization, for one project, or for one end user (`identity_id`, as `sender_id` on the wire);
    the narrowest of a name counts. While a key is changed, the one before it stands by until `previous_until`.
    """

    id = PrefixedIdField(prefix="provider", primary_key=True)
    name = models.CharField(max_length=100, validators=[RegexValidator(NAME, NAME_RULE)])
    project = models.ForeignKey(
        "accounts.Project",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: for the whole organization.",
    )
    identity_id = models.CharField("end user", max_length=200, blank=True, default="")
    provider_type = models.CharField(max_length=40)
    api_key = EncryptedTextField(blank=True, default="")
    access_key = EncryptedTextField(
        "access key ID", blank=True, default="", help_text="Of a key that has two parts (AWS); the other is the secret."
    )
    base_url = models.CharField(max_length=500, blank=True)
    region = models.CharField(max_length=60, blank=True)
    api_version = models.CharField(max_length=40, blank=True)
    tool_mode = models.CharField(max_length=20, choices=ToolMode.choices, default=ToolMode.AUTO, blank=True)
    fingerprint = models.CharField(max_length=40, blank=True, editable=False)
    enabled = models.BooleanField(default=True)

    previous_key = EncryptedTextField(null=True, blank=True, editable=False)
    previous_fingerprint = models.CharField(max_length=40, blank=True, default="", editable=False)
    previous_until = models.DateTimeField(null=True, blank=True, editable=False)
    rotated_at = models.DateTimeField(null=True, blank=True, editable=False)
    stood_in_at = models.DateTimeField(null=True, blank=True, editable=False)

    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_error = models.TextField(blank=True, editable=False)
    last_error_at = models.DateTimeField(null=True, blank=True, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    failed_checks = models.PositiveSmallIntegerField(default=0, editable=False)
    next_check_at = models.DateTimeField(null=True, blank=True, default=timezone.now, editable=False)
    headroom = models.JSONField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "identity_id", "name"],
                condition=Q(project__isnull=True),
                name="one_provider_per_name",
                violation_error_message="There is already a provider with this name for the same people.",
            ),
            models.UniqueConstraint(
                fields=["organization", "project", "name"],
                condition=Q(project__isnull=False),
                name="one_provider_per_name_in_project",
                violation_error_message="There is already a provider with this name in this project.",
            ),
            models.CheckConstraint(
                condition=Q(project__isnull=True) | Q(identity_id=""),
                name="provider_of_project_or_of_end_user",
                violation_error_message="A key is for a project or for an end user, not for both.",
            ),
        ]
        indexes = [
            models.Index(fields=["next_check_at"], condition=Q(enabled=True), name="providers_due_checks"),
            models.Index(
                fields=["previous_until"], condition=Q(previous_until__isnull=False), name="providers_old_keys"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint or 'no key'})"


class Rule(models.TextChoices):
    BYOK_ONLY = "byok_only", "Own keys only: never the installation's"
    BYOK_FIRST = "byok_first", "Own keys first, the installation's when one fails"
    BASE_ONLY = "base_only", "The installation's keys only"


class KeyRule(OrganizationModel):
    """Whose keys an organization's calls are made with. One of a project goes before the organization's.

    Without any, a handle means the own provider of that name, else the installation's, and nothing stands in for it.
    """

    id = PrefixedIdField(prefix="keyrule", primary_key=True)
    project = models.ForeignKey(
        "accounts.Project",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Empty: for every project without a rule of its own.",
    )
    rule = models.CharField(max_length=20, choices=Rule.choices)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(project__isnull=True),
                name="one_key_rule_per_organization",
                violation_error_message="There is a rule for this already: change that one.",
            ),
            models.UniqueConstraint(
                fields=["organization", "project"],
                condition=Q(project__isnull=False),
                name="one_key_rule_per_project",
                violation_error_message="There is a rule for this already: change that one.",
            ),
        ]

    def __str__(self) -> str:
        return self.get_rule_display()


def _per_million(help_text: str) -> models.DecimalField[Decimal | None, Decimal | None]:
    return models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=help_text,
    )


class PriceOverride(OrganizationModel):
    """What an organization pays for a model while valid: USD per million tokens by bucket, or a factor, or both.

    Without `input`, the factor is a discount (0.9) or a margin (1.15) on what the calls cost otherwise.
    """

    id = PrefixedIdField(prefix="price", primary_key=True)
    provider_type = models.CharField(max_length=40, blank=True, help_text="Empty: any provider.")
    model = models.CharField(max_length=200, help_text="The vendor's name of the model; * stands for anything.")
    input = _per_million("USD per million tokens of uncached input. Empty: the published prices, times the factor")
    output = _per_million("USD per million tokens of output. Empty: for models without any (embeddings)")
    cache_read = _per_million("Empty: as input")
    cache_write_5m = _per_million("Empty: as input")
    cache_write_1h = _per_million("Empty: as a 5 minute write")
    factor = models.DecimalField(
        max_digits=9,
        decimal_places=6,
        default=Decimal(1),
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="The cost is multiplied by it: 0.9 is a discount of a tenth, 1.15 a margin of 15 %.",
    )
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_to = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["provider_type", "model", "valid_from"]

    def __str__(self) -> str:
        return f"{self.provider_type or 'any'}/{self.model}"

    def as_override(self) -> Override:
        rates = None
        if self.input is not None:
            rates = Rates(
                input=self.input,
                output=self.output,
                cache_read=self.cache_read,
                cache_write_5m=self.cache_write_5m,
                cache_write_1h=self.cache_write_1h,
            )
        return Override(
            provider_type=self.provider_type,
            model=self.model,
            rates=rates,
            factor=self.factor,
            valid_from=self.valid_from and self.valid_from.astimezone(UTC),
            valid_to=self.valid_to and self.valid_to.astimezone(UTC),
        )
