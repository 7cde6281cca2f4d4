"""Alerts: rules over what calls cost and how they went, their state, what changed, and the messages on their way."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Q

from core.fields import EncryptedTextField
from core.ids import PrefixedIdField
from core.models import Audited, TimeStamped
from core.time import now

WINDOWS = (
    (5, "5 minutes"),
    (15, "15 minutes"),
    (30, "30 minutes"),
    (60, "1 hour"),
    (180, "3 hours"),
    (360, "6 hours"),
    (720, "12 hours"),
    (1_440, "1 day"),
    (10_080, "7 days"),
    (43_200, "30 days"),
)
REMINDERS = (
    (0, "Never: say it once"),
    (15, "Every 15 minutes"),
    (60, "Every hour"),
    (240, "Every 4 hours"),
    (1_440, "Every day"),
)


def _number(**options: Any) -> models.DecimalField[Any, Any]:
    """A value of any metric: as many digits as an amount has in ClickHouse."""
    return models.DecimalField(max_digits=30, decimal_places=12, **options)


class State(models.TextChoices):
    """The order is that of gravity, the worst last."""

    UNKNOWN = "unknown", "Unknown: not enough seen yet"
    PAUSED = "paused", "Paused"
    OK = "ok", "OK"
    NO_DATA = "no_data", "No data"
    WARNING = "warning", "Warning"
    ALERT = "alert", "Alert"


class AlertKind(models.TextChoices):
    THRESHOLD = "threshold", "Threshold: compare with fixed values"
    ANOMALY = "anomaly", "Anomaly: compare with the same hour of the past 4 weeks"


class Operator(models.TextChoices):
    ABOVE = "gt", "above"
    AT_LEAST = "gte", "at or above"
    BELOW = "lt", "below"
    AT_MOST = "lte", "at or below"


class Spread(models.TextChoices):
    """How an anomaly rule's thresholds are meant."""

    TIMES = "times", "times the median"
    DEVIATIONS = "deviations", "deviations (MAD) from the median"


class NoData(models.TextChoices):
    KEEP = "keep", "Keep the state"
    OK = "ok", "Count it as OK"
    NO_DATA = "no_data", "Go to “No data”, and say so"
    ALERT = "alert", "Alert"


class ChannelKind(models.TextChoices):
    EMAIL = "email", "Email"
    SLACK = "slack", "Slack"
    WEBHOOK = "webhook", "Webhook, signed"


class OwnedModel(TimeStamped, Audited):
    """A row of one organization, or (None) of the whole installation: then superusers alone see it."""

    organization = models.ForeignKey(
        "accounts.Organization",
        on_delete=models.CASCADE,
        related_name="+",
        db_index=False,
        null=True,
        blank=True,
        help_text="Empty: the whole installation.",
    )

    class Meta:
        abstract = True


class AlertChannel(OwnedModel):
    """Where messages go. `address` and `secret` are encrypted, since a Slack URL is a password too."""

    id = PrefixedIdField(prefix="channel", primary_key=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=ChannelKind.choices)
    address = EncryptedTextField()
    shown = models.CharField("address", max_length=200, blank=True, editable=False, help_text="Masked.")
    secret = EncryptedTextField(null=True, editable=False)
    topics = models.JSONField(
        default=list, blank=True, help_text="What it is told beside the rules that name it: budget …"
    )
    enabled = models.BooleanField(default=True)
    failures = models.PositiveIntegerField(default=0, editable=False, help_text="In a row.")
    last_error = models.CharField(max_length=500, blank=True, editable=False)
    last_error_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_sent_at = models.DateTimeField(null=True, blank=True, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="After too many failures.")

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["organization", "name"], name="alert_channels_of_org")]

    def __str__(self) -> str:
        return f"{self.name} ({self.get_kind_display()})"


class AlertRule(OwnedModel):
    """What is watched. For an anomaly, `warning` and `alert` count in units of `spread`."""

    id = PrefixedIdField(prefix="alert", primary_key=True)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=AlertKind.choices, default=AlertKind.THRESHOLD)
    metric = models.CharField(max_length=40)
    filters = models.JSONField(default=dict, blank=True, help_text="Dimension to value.")
    group_by = models.CharField(max_length=40, blank=True, help_text="Each group has a state of its own.")
    window_minutes = models.PositiveIntegerField("window", choices=WINDOWS, default=60)
    operator = models.CharField(max_length=3, choices=Operator.choices, default=Operator.ABOVE)
    warning = _number(null=True, blank=True)
    alert = _number(null=True, blank=True)
    spread = models.CharField(max_length=20, choices=Spread.choices, default=Spread.TIMES)
    minimum_value = _number(null=True, blank=True)
    minimum_calls = models.PositiveIntegerField(default=0)
    no_data = models.CharField(max_length=10, choices=NoData.choices, default=NoData.KEEP)
    reminder_minutes = models.PositiveIntegerField("remind", choices=REMINDERS, default=0)
    tell_recovery = models.BooleanField(default=True)
    enabled = models.BooleanField(default=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    channels = models.ManyToManyField(AlertChannel, blank=True, related_name="rules")

    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN, editable=False)
    last_value = _number(null=True, editable=False)
    raised = models.PositiveIntegerField(default=0, editable=False, help_text="Groups in warning or alert.")
    changed_at = models.DateTimeField(null=True, editable=False)
    evaluated_at = models.DateTimeField(null=True, editable=False)
    problem = models.CharField(max_length=500, blank=True, editable=False, help_text="Why it cannot be evaluated.")
    problem_at = models.DateTimeField(null=True, editable=False)
    next_due_at = models.DateTimeField(null=True, default=now, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)
    claim = models.PositiveBigIntegerField(default=0, editable=False, help_text="Raised by each claim and each edit.")

    class Meta:
        ordering = ["name"]
        indexes = [
            models.Index(fields=["organization", "name"], name="alert_rules_of_org"),
            models.Index(fields=["next_due_at"], name="alert_rules_due", condition=Q(next_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def window(self) -> timedelta:
        return timedelta(minutes=self.window_minutes)

    def is_paused(self, at: datetime) -> bool:
        return not self.enabled or (self.paused_until is not None and self.paused_until > at)

    @property
    def shown_state(self) -> str:
        return State.PAUSED if self.is_paused(now()) else self.state


class AlertState(models.Model):
    """Where a rule stands, for one group; "" is the group of a rule that does not group."""

    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="states")
    group = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    value = _number(null=True)
    calls = models.PositiveBigIntegerField(default=0)
    said = models.CharField(max_length=500, blank=True, help_text="The figures in words.")
    changed_at = models.DateTimeField()
    seen_at = models.DateTimeField(null=True, help_text="When there were calls the last time.")
    told_at = models.DateTimeField(null=True, help_text="When channels were last told of this state.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "group"], name="one_state_per_group")]

    def __str__(self) -> str:
        return f"{self.group or 'all'}: {self.state}"


class AlertEvent(models.Model):
    """One change of a state, one reminder, or one note that a rule could not be evaluated. Never changed."""

    id = PrefixedIdField(prefix="alertevent", primary_key=True)
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="events", db_index=False)
    at = models.DateTimeField()
    group = models.CharField(max_length=300, blank=True)
    before = models.CharField(max_length=10, choices=State.choices)
    after = models.CharField(max_length=10, choices=State.choices)
    value = _number(null=True)
    said = models.CharField(max_length=500, blank=True)
    told = models.BooleanField(default=False, help_text="Whether channels were told.")

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["rule", "-at", "id"], name="alert_events_of_rule")]

    def __str__(self) -> str:
        return f"{self.before} to {self.after}"


class AlertDelivery(models.Model):
    """The outbox: a message for one channel, written with what it tells of, sent afterwards, repeated when in doubt."""

    class Progress(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        GIVEN_UP = "given_up", "Given up"

    id = PrefixedIdField(prefix="delivery", primary_key=True)
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    rule = models.ForeignKey(AlertRule, on_delete=models.CASCADE, related_name="+", null=True)
    event = models.ForeignKey(AlertEvent, on_delete=models.SET_NULL, related_name="+", null=True)
    message = models.JSONField(help_text="telemetry.alerts.messages.Message, as it is sent.")
    key = models.CharField(max_length=200, null=True, help_text="The same announcement twice is one message.")
    progress = models.CharField(max_length=10, choices=Progress.choices, default=Progress.WAITING)
    attempts = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=now)
    next_attempt_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["channel", "key"], name="one_delivery_per_key")]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="alert_deliveries_due", condition=Q(progress="waiting")),
            models.Index(fields=["channel", "-created_at"], name="alert_deliveries_of_chan"),
        ]

    def __str__(self) -> str:
        return str(self.message.get("title", ""))
