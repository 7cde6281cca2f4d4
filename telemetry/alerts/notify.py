"""The outbox: a message is a row, written in the transaction of what it tells of, and sent after the commit.

So a message may be sent twice (a worker died between the sending and the noting), and is never lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from celery import current_app
from django.db import transaction
from django.db.models import Q
from kombu.exceptions import OperationalError

from core.ids import new_id
from core.time import now
from telemetry.alerts.messages import Message, of_events
from telemetry.models.alerts import AlertChannel, AlertDelivery, AlertEvent, AlertRule

log = logging.getLogger(__name__)

DELIVER = "telemetry.deliver_alerts"
# What a channel may ask to be told beside the rules that name it.
TOPICS = {
    "budget": "Budgets: near their limit, and at it",
    "provider_key": "Provider keys that stop working",
}


def tell(rule: AlertRule, channels: Sequence[AlertChannel], events: Sequence[AlertEvent]) -> None:
    """One message for each channel. Within the transaction that writes the events."""
    if not events:
        return
    made = []
    for channel in channels:
        delivery = AlertDelivery(id=new_id("delivery"), channel=channel, rule=rule, event=events[0])
        delivery.message = of_events(delivery.id, rule, events).as_json()
        made.append(delivery)
    AlertDelivery.objects.bulk_create(made)
    ring_after_commit()


def announce(organization_id: str | None, kind: str, title: str, body: str, key: str = "") -> int:
    """Tell the organization's channels that listen to `kind` (one of `TOPICS`); how many there are.

    A `key` that was announced before is not announced again: name the budget, its window and the threshold in it.
    """
    if kind not in TOPICS:
        raise ValueError(f"No channel can listen to {kind!r}: add it to telemetry.alerts.notify.TOPICS.")
    whose = Q(organization_id=organization_id) if organization_id else Q(organization=None)
    channels = AlertChannel.objects.filter(whose, enabled=True, topics__contains=[kind])
    made = []
    for channel in channels:
        delivery = AlertDelivery(id=new_id("delivery"), channel=channel, key=f"{kind}:{key}" if key else None)
        at = delivery.created_at.isoformat(timespec="seconds")
        data = {"organization_id": organization_id}
        delivery.message = Message(delivery.id, kind, "warning", title, body, at, data=data).as_json()
        made.append(delivery)
    if made:
        AlertDelivery.objects.bulk_create(made, ignore_conflicts=True)
        ring_after_commit()
    return len(made)


def test_message(channel: AlertChannel, who: str) -> Message:
    at = now().isoformat(timespec="seconds")
    body = f"{who} pressed “Send a test” for the channel “{channel.name}”. Alerts will look like this one."
    facts = [["Metric", "Cost"], ["Window", "1 hour"]]
    return Message(new_id("delivery"), "test", "info", "Test: this channel works", body, at, facts=facts)


def ring_after_commit() -> None:
    transaction.on_commit(_ring)


def _ring() -> None:
    """Losing a ring loses nothing: the clock rings too."""
    try:
        current_app.send_task(DELIVER, ignore_result=True, retry=False)
    except OperationalError as error:
        log.warning("the broker does not answer, alerts go out with the next beat: %s", error)
