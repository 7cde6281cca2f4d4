"""Sends what stands in the outbox: one try for each channel and round, later and later while it fails, then no more."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.audit import Deed, note
from accounts.models import Membership, Role, User
from core.db import release_connection
from core.outbound import NotDelivered
from core.outbox import Outbox, later
from core.secrets import Undecryptable
from core.time import now
from telemetry.alerts.channels import channel_of
from telemetry.alerts.channels.base import Target
from telemetry.alerts.channels.email import send_mail
from telemetry.alerts.messages import Message, address
from telemetry.models.alerts import AlertChannel, AlertDelivery, AlertEvent

log = logging.getLogger(__name__)

MOST_FAILURES = 5
PAUSES = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1))
# What could not be sent for so long is no news any more.
STALE = timedelta(days=1)
KEPT, HISTORY_KEPT = timedelta(days=30), timedelta(days=400)
Progress = AlertDelivery.Progress


class Messages(Outbox[AlertDelivery]):
    """One that is held is due again when it is free. What fails is the channel: all its messages wait with it."""

    attempts, holds, held = "attempts", "next_attempt_at", timedelta(minutes=1)

    def due(self, at: datetime) -> QuerySet[AlertDelivery]:
        waiting = AlertDelivery.objects.filter(progress=Progress.WAITING, next_attempt_at__lte=at)
        return waiting.filter(channel__enabled=True).select_related("channel").order_by("next_attempt_at")

    def send(self, row: AlertDelivery) -> str:
        release_connection()
        return send(row.channel, Message(**row.message))

    def sent(self, row: AlertDelivery, answer: str, at: datetime) -> None:
        AlertDelivery.objects.filter(pk=row.pk).update(progress=Progress.SENT, sent_at=at, last_error="")
        AlertChannel.objects.filter(pk=row.channel_id).update(failures=0, last_error="", last_sent_at=at)

    def failed(self, row: AlertDelivery, error: NotDelivered, at: datetime) -> None:
        log.warning("%s: a message was not sent: %s", row.channel_id, error)
        if _note_failure(row, str(error), at):
            _tell_owners(row.channel, str(error))


def deliver_due(at: datetime | None = None, *, seconds: float = 25.0) -> int:
    """How many were sent."""
    old = AlertDelivery.objects.filter(progress=Progress.WAITING, created_at__lt=(at or now()) - STALE)
    old.update(progress=Progress.GIVEN_UP)
    return Messages().deliver(at, seconds=seconds)


def send(channel: AlertChannel, message: Message) -> str:
    """What the other side answered. Raises NotDelivered."""
    kept: tuple[Any, Any] = (channel.address, channel.secret)  # core.secrets.Secret
    try:
        target = Target(kept[0].reveal(), kept[1].reveal() if kept[1] else "")
    except Undecryptable:
        raise NotDelivered("The stored address or secret cannot be decrypted: enter it anew.") from None
    return channel_of(channel.kind).send(target, message)


@transaction.atomic
def _note_failure(delivery: AlertDelivery, why: str, at: datetime) -> bool:
    """Whether the channel was switched off for it. All its messages wait: a round asks each channel once."""
    AlertDelivery.objects.filter(pk=delivery.pk).update(last_error=why[:500])
    channel = AlertChannel.objects.select_for_update().get(pk=delivery.channel_id)
    channel.failures += 1
    channel.last_error, channel.last_error_at = why[:500], at
    off = channel.enabled and channel.failures >= MOST_FAILURES
    if off:
        channel.enabled, channel.disabled_at = False, at
        if channel.organization_id:
            after = {"failures": channel.failures, "error": why[:200]}
            note(channel.organization_id, "", Deed(action="alert_channel.disable", target=channel.pk, after=after))
    channel.save(update_fields=["failures", "last_error", "last_error_at", "enabled", "disabled_at", "updated_at"])
    again_at = later(PAUSES, channel.failures, at)
    waiting = AlertDelivery.objects.filter(channel=channel, progress=Progress.WAITING)
    waiting.filter(next_attempt_at__lt=again_at).update(next_attempt_at=again_at)
    return off


def _tell_owners(channel: AlertChannel, why: str) -> None:
    to = _owners(channel.organization_id)
    body = (
        f"The alert channel “{channel.name}” failed {MOST_FAILURES} times in a row and was switched off.\n\n"
        f"Its last error: {why}\n\nMend it, send a test, and switch it on again: "
        f"{address(f'/admin/telemetry/alertchannel/{channel.pk}/change/')}\n\n"
        "What it was not told in the meantime stands in the history of the alert rules."
    )
    try:
        if to:
            send_mail(to, f"The alert channel “{channel.name}” was switched off", body)
    except NotDelivered as error:
        log.error("the owners were not told that %s was switched off: %s", channel.pk, error)


def _owners(organization_id: str | None) -> list[str]:
    if organization_id is None:
        return list(User.objects.filter(is_superuser=True, is_active=True).values_list("email", flat=True)[:20])
    owners = Membership.objects.filter(organization_id=organization_id, role=Role.OWNER, user__is_active=True)
    return list(owners.values_list("user__email", flat=True)[:20])


def switch_on(channel: AlertChannel) -> None:
    """Start anew: what still waits is tried at once."""
    AlertChannel.objects.filter(pk=channel.pk).update(enabled=True, failures=0, disabled_at=None)
    AlertDelivery.objects.filter(channel=channel, progress=Progress.WAITING).update(next_attempt_at=now())


def prune(at: datetime | None = None) -> int:
    moment = at or now()
    gone, _ = AlertDelivery.objects.exclude(progress=Progress.WAITING).filter(created_at__lt=moment - KEPT).delete()
    more, _ = AlertEvent.objects.filter(at__lt=moment - HISTORY_KEPT).delete()
    return gone + more
