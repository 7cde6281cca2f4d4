"""Budgets and what was spent of them, rate limits, and stops."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from core.ids import PrefixedIdField, is_id
from core.models import Audited, OrganizationModel

EACH = "*"
MAX_ROLLING_HOURS = 24 * 366


class Scope(models.TextChoices):
    """What a rule is about; `Facts` (facts.py) say of a call what stands for each."""

    ORGANIZATION = "organization", "Organization"
    PROJECT = "project", "Project"
    AGENT = "agent", "Agent"
    API_KEY = "api_key", "API key"
    END_USER = "end_user", "End user"
    MODEL = "model", "Model"
    PROVIDER_KEY = "provider_key", "Provider key"


ID_PREFIXES = {Scope.PROJECT.value: "project", Scope.AGENT.value: "agent", Scope.API_KEY.value: "key"}


class Metric(models.TextChoices):
    USD = "usd", "USD"
    TOKENS = "tokens", "tokens"
    CALLS = "calls", "model calls"


class Window(models.TextChoices):
    HOUR = "hour", "Hour"
    DAY = "day", "Day"
    WEEK = "week", "Week, from Monday"
    MONTH = "month", "Month, from the 1st"
    ROLLING = "rolling", "The last so many hours"


def check_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError("No such time zone: use a name like UTC, Europe/Berlin or America/New_York.")


def _amount(**more: Any) -> models.DecimalField[Any, Any]:
    """USD with the digits of the ledger, or a count."""
    return models.DecimalField(max_digits=30, decimal_places=12, **more)


class Rule(OrganizationModel, Audited):
    """What a budget, a limit and a stop share: whom it is about."""

    scope = models.CharField("scope", max_length=20, choices=Scope.choices, default=Scope.ORGANIZATION)
    target = models.CharField(
        max_length=255,
        blank=True,
        help_text="The id; for a model its handle, in which * stands for anything (openai/gpt-5*). A single * gives "
        "each one a counter of its own: every end user 1 USD a day. Empty for the organization.",
    )

    class Meta:
        abstract = True

    def clean(self) -> None:
        super().clean()
        self.target = self.target.strip()
        if self.scope == Scope.ORGANIZATION:
            self.target = ""
        elif not self.target:
            raise ValidationError({"target": f"Say which {self.get_scope_display()}: its id, or * for each one."})
        prefix = ID_PREFIXES.get(self.scope)
        if prefix and self.target != EACH and not is_id(prefix, self.target):
            raise ValidationError({"target": f"This is no id of the form {prefix}-<uuid4>."})

    @property
    def about(self) -> str:
        """Whom the rule is about, in words."""
        what = Scope(self.scope).label
        if self.scope == Scope.ORGANIZATION:
            return "the organization"
        return f"each {what.lower()}" if self.target == EACH else f"{what.lower()} {self.target}"


class Budget(Rule):
    """How much may be spent in a window of time. Hard: calls are refused when it is used up; soft: it only warns."""

    id = PrefixedIdField(prefix="budget", primary_key=True)
    name = models.CharField(max_length=100)
    metric = models.CharField("unit", max_length=10, choices=Metric.choices, default=Metric.USD)
    amount = _amount(validators=[MinValueValidator(Decimal(0))], help_text="The most in one window.")
    window = models.CharField("window", max_length=10, choices=Window.choices, default=Window.MONTH)
    rolling_hours = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_ROLLING_HOURS)],
        help_text="For a rolling window: its length. It moves on by a 24th of that at a time.",
    )
    time_zone = models.CharField(
        max_length=60,
        default="UTC",
        validators=[check_time_zone],
        help_text="Where a day, week or month begins.",
    )
    hard = models.BooleanField(default=True, help_text="Refuse calls once it is used up. Unticked: warn only.")
    warn_at_percent = models.PositiveSmallIntegerField(
        default=80, validators=[MaxValueValidator(100)], help_text="Warn when so much is used; 0: not before the end."
    )
    refuse_unpriced = models.BooleanField(
        default=False,
        help_text="Refuse models whose price is unknown. Unticked, they count as 0 USD and are shown as unpriced.",
    )
    enabled = models.BooleanField(default=True)
    raised_by = _amount(null=True, blank=True, editable=False)
    raised_until = models.DateTimeField(null=True, blank=True, editable=False)
    raise_reason = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["name"]
        indexes = [models.Index(fields=["organization", "name"], name="budgets_of_organization")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        if self.window == Window.ROLLING and not self.rolling_hours:
            raise ValidationError({"rolling_hours": "Say how many hours: 24 for a day, 720 for 30 days."})
        if self.window != Window.ROLLING:
            self.rolling_hours = None

    @property
    def limit(self) -> Decimal:
        """The amount, with a raise as long as one holds."""
        raised = self.raised_by is not None and self.raised_until is not None and self.raised_until > timezone.now()
        return self.amount + (self.raised_by or 0) if raised else self.amount


class BudgetWindow(models.Model):
    """One counter: what a target has spent of a budget since `starts_at`, and what is reserved by calls under way.

    The window of a rolling budget is a row for each 24th of it.
    """

    budget = models.ForeignKey(
        Budget, on_delete=models.CASCADE, related_name="windows", db_constraint=False, db_index=False
    )
    target = models.CharField(max_length=255, blank=True)
    starts_at = models.DateTimeField()
    spent = _amount(default=0)
    reserved = _amount(default=0)
    unpriced_calls = models.PositiveIntegerField(default=0)
    refused_calls = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["budget", "target", "starts_at"], name="one_counter_per_budget_window")
        ]
        indexes = [models.Index(fields=["budget", "starts_at"], name="counters_of_window")]

    def __str__(self) -> str:
        return f"{self.target or 'all'} since {self.starts_at:%Y-%m-%d %H:%M}"


class Hold(models.Model):
    """What one call has reserved. Settled it is gone; one that outlives `expires_at` counts as its estimate (`lapsed`).

    items: [{"budget": uuid, "target", "metric", "start", "since", "amount"}], times in ISO 8601, amounts as text.
    """

    id = models.UUIDField(primary_key=True, editable=False)
    items = models.JSONField()
    expires_at = models.DateTimeField()
    lapsed = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["lapsed", "expires_at"], name="holds_to_lapse")]

    def __str__(self) -> str:
        return str(self.id)


class EventKind(models.TextChoices):
    WARNING = "warning", "Warning"
    EXCEEDED = "exceeded", "Used up"


class BudgetEvent(OrganizationModel):
    """A budget came near its end, or to it: once a window and target."""

    id = PrefixedIdField(prefix="budgetevent", primary_key=True)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="events", db_index=False)
    target = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=10, choices=EventKind.choices)
    window_start = models.DateTimeField()
    spent = _amount()
    limit = _amount()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["budget", "target", "kind", "window_start"], name="one_event_per_window")
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="budget_events_list")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.budget_id}"


class Stop(Rule):
    """A kill switch: nothing is sent to, and no model is called for, its target until it is lifted."""

    id = PrefixedIdField(prefix="stop", primary_key=True)
    reason = models.TextField(help_text="Shown to whoever is refused.")
    stopped_by_id = models.CharField(max_length=60, blank=True, editable=False)
    lifted_at = models.DateTimeField(null=True, blank=True, editable=False)
    lifted_by_id = models.CharField(max_length=60, blank=True, editable=False)
    lift_reason = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "scope", "target"],
                condition=models.Q(lifted_at__isnull=True),
                name="one_standing_stop_per_target",
            )
        ]
        indexes = [models.Index(fields=["organization", "-created_at"], name="stops_of_organization")]

    def __str__(self) -> str:
        return f"Stop of {self.about}"

    def clean(self) -> None:
        super().clean()
        if self.target == EACH:
            raise ValidationError({"target": "A stop names one target; to stop all of them, stop the organization."})


class LimitKind(models.TextChoices):
    REQUESTS = "requests", "requests"
    TOKENS = "tokens", "tokens"
    INPUT_TOKENS = "input_tokens", "input tokens"
    OUTPUT_TOKENS = "output_tokens", "output tokens"
    PARALLEL_RUNS = "parallel_runs", "runs at a time"
    TOOL_REPEATS = "tool_repeats", "equal tool calls in a row"


WITHOUT_PERIOD = (LimitKind.PARALLEL_RUNS, LimitKind.TOOL_REPEATS)


class Period(models.IntegerChoices):
    MINUTE = 60, "minute"
    HOUR = 3600, "hour"
    DAY = 86400, "day"


class RateLimit(Rule):
    """How fast something may be used: so many per minute, hour or day, looking back from now."""

    id = PrefixedIdField(prefix="limit", primary_key=True)
    kind = models.CharField("kind", max_length=20, choices=LimitKind.choices, default=LimitKind.REQUESTS)
    amount = models.PositiveBigIntegerField("at most", help_text="0 lets nothing pass; for equal tool calls: no limit.")
    period_s = models.PositiveIntegerField("per", choices=Period.choices, default=Period.MINUTE)
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["scope", "kind"]
        indexes = [models.Index(fields=["organization", "scope"], name="limits_of_organization")]

    def __str__(self) -> str:
        per = "" if self.kind in WITHOUT_PERIOD else f" per {self.get_period_s_display()}"
        return f"{self.amount:,} {self.get_kind_display()}{per} for {self.about}"

    def clean(self) -> None:
        super().clean()
        of_calls = self.scope in (Scope.MODEL, Scope.PROVIDER_KEY)
        if self.kind == LimitKind.PARALLEL_RUNS and of_calls:
            raise ValidationError({"scope": "A run is not of one model or provider key: limit requests or tokens."})
        if self.kind == LimitKind.TOOL_REPEATS and self.scope not in (Scope.ORGANIZATION, Scope.PROJECT, Scope.AGENT):
            raise ValidationError({"scope": "Equal tool calls are limited for an organization, a project or an agent."})
        if self.kind in WITHOUT_PERIOD:
            self.period_s = Period.MINUTE
