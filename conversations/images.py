"""Images in what is sent: looked at, and fetched where they come as an address, so that all are kept inline."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from core.errors import BadInput
from core.fetching import fetch
from core.outbound import NotDelivered, Policy
from providers.catalog import ModelInfo, takes_images

MAX_BYTES = 20 * 1024 * 1024
MAX_IN_ALL = 40 * 1024 * 1024
MAX_COUNT = 20
FETCH_S = 30.0
TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")

Part = dict[str, Any]
Row = dict[str, Any]


def inline(data: str, detail: str | None = None) -> Part:
    """The part of a stored message. Raises BadInput."""
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("An image's data is not valid base64.") from None
    return _part(raw, data, detail)


def linked(url: str) -> Part:
    """One that `loaded` fetches; a data: URL holds it already. Raises BadInput."""
    if not url.lower().startswith("data:"):
        return {"type": "image_url", "url": url}
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise BadInput("A data: URL of an image must hold base64: data:image/png;base64,…")
    return inline(data)


def loaded(rows: Sequence[Row]) -> list[Row]:
    """The rows, with what stands at the addresses in their place. Raises BadInput."""
    if not any(part["type"] == "image_url" for row in rows for part in row["content"]):
        return list(rows)
    left = _Left(time.monotonic() + FETCH_S, MAX_IN_ALL - _bytes(_images(rows)))
    return [{**row, "content": [_loaded(part, left) for part in row["content"]]} for row in rows]


def check(rows: Sequence[Row]) -> None:
    """Raises BadInput where they are too many or too large together."""
    parts = list(_images(rows))
    if len(parts) > MAX_COUNT:
        raise BadInput(f"{len(parts)} images were sent; at most {MAX_COUNT} are taken at once.")
    if _bytes(parts) > MAX_IN_ALL:
        raise BadInput(
            f"The images have more than {MAX_IN_ALL} bytes together. Scale them down, or send fewer at once."
        )


def check_model(rows: Sequence[Row], model: ModelInfo) -> None:
    """Raises BadInput where images are sent to a model that is known to read text alone."""
    if next(_images(rows), None) is not None and not takes_images(model):
        raise BadInput(
            f"The model '{model.name}' takes no images: choose one that does, for example by override_model."
        )


def _images(rows: Sequence[Row]) -> Iterator[Part]:
    return (part for row in rows for part in row["content"] if part["type"] in ("image", "image_url"))


def _bytes(parts: Iterable[Part]) -> int:
    return sum(len(part.get("data", "")) for part in parts) * 3 // 4


@dataclass(slots=True)
class _Left:
    """Of what the images of one send may take together: `until` when, and how many `bytes` more."""

    until: float
    bytes: int


def _loaded(part: Part, left: _Left) -> Part:
    if part["type"] != "image_url":
        return part
    policy = Policy(settings.FETCH_PRIVATE_ADDRESSES, "FETCH_PRIVATE_ADDRESSES", "Perennial-Images/1")
    seconds, most = left.until - time.monotonic(), min(MAX_BYTES, left.bytes)
    if seconds <= 0:
        raise BadInput(f"The images could not be fetched within {FETCH_S:g} seconds: send them as base64.")
    try:
        raw = fetch(part["url"], replace(policy, whole_s=min(seconds, policy.whole_s)), most, accept="image/*").body
    except NotDelivered as error:
        raise BadInput(f"An image could not be fetched: {error} Or send it as base64.") from None
    left.bytes -= len(raw)
    return _part(raw, base64.b64encode(raw).decode(), None)


def _part(raw: bytes, data: str, detail: str | None) -> Part:
    if len(raw) > MAX_BYTES:
        raise BadInput(f"An image has {len(raw)} bytes; at most {MAX_BYTES} are taken. Scale it down.")
    media_type = _sniffed(raw)
    if media_type is None:
        raise BadInput(f"An image's data is none of the types that models take: {', '.join(TYPES)}.")
    return {"type": "image", "media_type": media_type, "data": data, "detail": detail}


def _sniffed(raw: bytes) -> str | None:
    """What the data itself says it is; a name or a header may be wrong, and vendors refuse what does not fit."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if raw.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if raw.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP" else None
