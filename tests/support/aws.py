"""Messages of AWS's event streams, as Bedrock sends them."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any


def frame(payload: bytes, **headers: str) -> bytes:
    """One message; `message_type="event"` is the header `:message-type`."""
    head = b"".join(
        struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in ((f":{key.replace('_', '-')}", value) for key, value in headers.items())
    )
    head += b"\x02at\x08" + bytes(8)  # a time, which is none of ours
    prelude = struct.pack(">II", len(head) + len(payload) + 16, len(head))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return body + struct.pack(">I", zlib.crc32(body))


def carried(*events: bytes) -> bytes:
    """Another vendor's events, in base64."""
    return b"".join(
        frame(json.dumps({"bytes": base64.b64encode(event).decode(), "p": "ab"}).encode(), message_type="event")
        for event in events
    )


def told(*events: Mapping[str, Any]) -> bytes:
    """AWS's own events, each as `{its type: what is said}`."""
    return b"".join(
        frame(json.dumps(said).encode(), event_type=kind, content_type="application/json", message_type="event")
        for event in events
        for kind, said in event.items()
    )
