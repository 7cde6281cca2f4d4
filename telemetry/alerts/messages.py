"""What a channel is sent, in words and as data: one message, however many groups it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from django.conf import settings
from django.urls import reverse

from console.registry import names_of
from core.amounts import as_text
from telemetry.alerts.metrics import METRICS
from telemetry.models.alerts import AlertEvent, AlertRule, State

MOST_LINES = 20
LEVELS = {State.ALERT: "alert", State.WARNING: "warning", State.NO_DATA: "warning", State.OK: "good"}
SAID = {
    State.ALERT: "Alert",
    State.WARNING: "Warning",
    State.NO_DATA: "No data",
    State.OK: "Recovered",
    State.UNKNOWN: "Unknown",
    State.PAUSED: "Paused",
}


@dataclass(frozen=True, slots=True)
class Message:
    """JSON through and through. `level`: alert, warning, good or info. `facts`: label and value, in order.

    `id` stays the same when a message is repeated, so that who receives it may drop what it already has.
    """

    id: str
    kind: str
    level: str
    title: str
    body: str
    at: str
    url: str = ""
    facts: list[list[str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def of_events(delivery_id: str, rule: AlertRule, events: Sequence[AlertEvent]) -> Message:
    """`events` are of one evaluation, the gravest first."""
    first = events[0]
    level = SAID[State(first.after)]
    again = " still" if first.before == first.after else ""
    names = _names(events) if rule.group_by else {}
    whose = f" for {named(rule, first.group, names)}" if rule.group_by and len(events) == 1 else ""
    several = f" in {len(events)} groups" if len(events) > 1 else ""
    lines = [line(rule, event, names) for event in events[:MOST_LINES]]
    if len(events) > MOST_LINES:
        lines.append(f"… and {len(events) - MOST_LINES} more")
    return Message(
        id=delivery_id,
        kind="rule",
        level=LEVELS.get(State(first.after), "info"),
        title=f"{level}{again}: {rule.name}{whose}{several}",
        body="\n".join(lines),
        at=first.at.isoformat(timespec="seconds"),
        url=address(reverse("admin:telemetry_alertrule_events", args=[rule.pk])),
        facts=[["Metric", METRICS[rule.metric].label], ["Window", rule.get_window_minutes_display()], *_filters(rule)],
        data={
            "organization_id": rule.organization_id,
            "rule": {"id": rule.pk, "name": rule.name, "metric": rule.metric, "window_minutes": rule.window_minutes},
            "events": [as_data(rule, event) for event in events],
        },
    )


def line(rule: AlertRule, event: AlertEvent, names: Mapping[str, str]) -> str:
    who = f"{named(rule, event.group, names)}: " if rule.group_by else ""
    metric, window = METRICS[rule.metric].label, rule.get_window_minutes_display()
    return f"{who}{metric} of the last {window.removeprefix('1 ')}: {event.said}"


def named(rule: AlertRule, group: str, names: Mapping[str, str]) -> str:
    name = names.get(group)
    return f"{rule.group_by.replace('_', ' ')} {f'{name} ({group})' if name else group or '(none)'}"


def _names(events: Sequence[AlertEvent]) -> dict[str, str]:
    """Of groups that are ids, the names that people know."""
    groups = {event.group for event in events[:MOST_LINES]}
    return {key: name for kind in {g.partition("-")[0] for g in groups} for key, name in names_of(kind, groups).items()}


def as_data(rule: AlertRule, event: AlertEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": event.at.isoformat(timespec="milliseconds"),
        "before": event.before,
        "state": event.after,
        "group": {rule.group_by: event.group} if rule.group_by else None,
        "value": None if event.value is None else as_text(event.value),
        "said": event.said,
    }


def _filters(rule: AlertRule) -> list[list[str]]:
    return [[name.replace("_", " ").capitalize(), value or "(none)"] for name, value in sorted(rule.filters.items())]


def address(path: str) -> str:
    """Where browsers reach the admin, as far as the settings tell."""
    origin = next(iter(settings.CSRF_TRUSTED_ORIGINS), f"http://{settings.HOST}:{settings.PORT}")
    return f"{origin.rstrip('/')}{path}"
