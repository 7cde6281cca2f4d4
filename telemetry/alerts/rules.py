"""What people do to rules: each an action that keeps the evaluation and the history right."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F

from accounts.audit import Deed, note
from core.time import now
from telemetry.alerts.metrics import METRICS
from telemetry.models.alerts import AlertEvent, AlertKind, AlertRule, Operator, Spread, State

# What a rule means: with another of these, what was found before says nothing any more.
MEANING = frozenset(
    {
        "kind",
        "metric",
        "filters",
        "group_by",
        "window_minutes",
        "operator",
        "spread",
    }
)
PLAIN = frozenset(
    {
        "name",
        "warning",
        "alert",
        "minimum_value",
        "minimum_calls",
        "no_data",
        "reminder_minutes",
        "tell_recovery",
        "enabled",
        "paused_until",
    }
)


@transaction.atomic
def create_rule(rule: AlertRule, actor_id: str) -> None:
    rule.save()
    _note(rule, actor_id, "alert_rule.create", None)


@transaction.atomic
def change_rule(rule: AlertRule, changed: Iterable[str], actor_id: str) -> None:
    """Writes the changed fields alone: the others may have moved on since the form was read."""
    fields = sorted(set(changed) & (MEANING | PLAIN))
    old = AlertRule.objects.select_for_update().get(pk=rule.pk)
    before = {name: str(getattr(old, name)) for name in fields}
    rule.save(update_fields=[*fields, "last_updated_by_id", "updated_at"])
    if MEANING & set(fields):
        old.states.all().delete()
        said = "The rule was changed: it begins anew."
        AlertEvent.objects.create(rule=rule, at=now(), before=old.state, after=State.UNKNOWN, said=said)
        fresh = {"state": State.UNKNOWN, "last_value": None, "raised": 0, "changed_at": now()}
        AlertRule.objects.filter(pk=rule.pk).update(**fresh)
    # The number throws away what a worker is just judging by the old terms.
    AlertRule.objects.filter(pk=rule.pk).update(claim=F("claim") + 1, claimed_until=None, next_due_at=now())
    _note(rule, actor_id, "alert_rule.change", before)


@transaction.atomic
def delete_rule(rule: AlertRule, actor_id: str) -> None:
    _note(rule, actor_id, "alert_rule.delete", {"name": rule.name, "says": in_words(rule)})
    rule.delete()


def _note(rule: AlertRule, actor_id: str, action: str, before: dict[str, str] | None) -> None:
    if rule.organization_id is not None:
        after = None if action.endswith("delete") else {"name": rule.name, "says": in_words(rule)}
        note(rule.organization_id, actor_id, Deed(action=action, target=rule.pk, before=before, after=after))


def in_words(rule: AlertRule) -> str:
    """`Cost per agent above $10.00 within 1 hour`."""
    metric = METRICS.get(rule.metric)
    if metric is None:
        return f"unknown metric {rule.metric}"
    bound = rule.alert if rule.alert is not None else rule.warning
    if rule.kind == AlertKind.ANOMALY:
        limit = "" if bound is None else f"{bound.normalize():f} {Spread(rule.spread).label}"
    else:
        limit = metric.say(bound)
    group = f" per {rule.group_by.replace('_', ' ')}" if rule.group_by else ""
    return f"{metric.label}{group} {Operator(rule.operator).label} {limit} within {rule.get_window_minutes_display()}"
