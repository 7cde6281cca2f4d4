"""Messages to any program, as JSON, signed as `core.outbound` says."""

from __future__ import annotations

import json

from core.outbound import NotDelivered, shown_url, signed_headers
from telemetry.alerts.channels.base import Channel, Target
from telemetry.alerts.channels.http import clean_url, post
from telemetry.alerts.messages import Message


class WebhookChannel(Channel):
    signs = True
    address_label = "URL"
    address_help = "Takes a POST with JSON. What it answers with a 2xx counts as received; redirects are not followed."

    def clean(self, address: str) -> str:
        return clean_url(address)

    def shown(self, address: str) -> str:
        return shown_url(address)

    def send(self, target: Target, message: Message) -> str:
        if not target.secret:
            raise NotDelivered("This channel has no secret to sign with: make a new one.")
        body = json.dumps(message.as_json(), ensure_ascii=False, separators=(",", ":")).encode()
        status = post(target.address, body, signed_headers(target.secret, message.id, body))
        return f"answered {status}"
