"""Where messages go: one small file each, found by its dotted path."""

from __future__ import annotations

from functools import cache

from django.utils.module_loading import import_string

from telemetry.alerts.channels.base import Channel
from telemetry.models.alerts import ChannelKind

PATHS = {
    ChannelKind.EMAIL: "telemetry.alerts.channels.email.EmailChannel",
    ChannelKind.SLACK: "telemetry.alerts.channels.slack.SlackChannel",
    ChannelKind.WEBHOOK: "telemetry.alerts.channels.webhook.WebhookChannel",
}


@cache
def channel_of(kind: str) -> Channel:
    made: Channel = import_string(PATHS[ChannelKind(kind)])()
    return made
