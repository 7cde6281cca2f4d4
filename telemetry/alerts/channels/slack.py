"""Messages to Slack, by an incoming webhook. Its URL is a password, and kept like one."""

from __future__ import annotations

import json
from typing import Any

from core.outbound import shown_url
from telemetry.alerts.channels.base import Channel, Target
from telemetry.alerts.channels.http import clean_url, post
from telemetry.alerts.messages import Message

SIGNS = {"alert": ":red_circle:", "warning": ":large_orange_circle:", "good": ":large_green_circle:"}
MOST_TEXT = 2_900


class SlackChannel(Channel):
    address_label = "Incoming webhook URL"
    address_help = "Slack → Apps → Incoming Webhooks: https://hooks.slack.com/services/… (or what speaks the same)."

    def clean(self, address: str) -> str:
        return clean_url(address)

    def shown(self, address: str) -> str:
        return shown_url(address)

    def send(self, target: Target, message: Message) -> str:
        status = post(target.address, json.dumps(as_slack(message)).encode(), {})
        return f"answered {status}"


def as_slack(message: Message) -> dict[str, Any]:
    title = f"{SIGNS.get(message.level, ':bell:')} *{escaped(message.title)}*"
    text = f"{title}\n{escaped(message.body)}"[:MOST_TEXT]
    facts = " · ".join(f"{escaped(label)}: {escaped(value)}" for label, value in message.facts)
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    under = [part for part in (facts[:MOST_TEXT], f"<{message.url}|Open in Perennial>" if message.url else "") if part]
    if under:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": part} for part in under]})
    return {"text": escaped(message.title), "blocks": blocks}


def escaped(text: str) -> str:
    """Names come from tenants: none may call a channel's members or make a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
