"""Messages to any program, as JSON, signed so that the receiver knows who sent it and when.

Headers: `X-Perennial-Delivery` (the message's id, the same when it is repeated), `X-Perennial-Timestamp` (seconds since
1970), `X-Perennial-Signature` (`sha256=` and the hexadecimal HMAC-SHA256, under the channel's secret, of
`<timestamp>.<body>`). A receiver computes it over the body as it came, compares in constant time, and refuses a
timestamp that is more than some minutes old.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time

from telemetry.alerts.channels.base import Channel, NotSent, Target
from telemetry.alerts.channels.http import clean_url, post, shown_url
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
            raise NotSent("This channel has no secret to sign with: make a new one.")
        body = json.dumps(message.as_json(), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(time.time()))
        headers = {
            "X-Perennial-Delivery": message.id,
            "X-Perennial-Timestamp": timestamp,
            "X-Perennial-Signature": signature(target.secret, timestamp, body),
        }
        status = post(target.address, body, headers)
        return f"answered {status}"


def new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"
