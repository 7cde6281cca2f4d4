"""How much of a key's rate limits is left, as the vendor's last answer said it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KINDS = {
    "requests": ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"),
    "tokens": ("x-ratelimit-{}-tokens", "anthropic-ratelimit-tokens-{}"),
    "input_tokens": ("anthropic-ratelimit-input-tokens-{}",),
    "output_tokens": ("anthropic-ratelimit-output-tokens-{}",),
}
_NUMBER = re.compile(r"\d{1,15}")
_RESET = re.compile(r"[0-9A-Za-z.:+-]{1,40}")


def headroom_of(headers: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """By kind (requests, tokens, input_tokens, output_tokens): remaining, limit, and reset as the vendor wrote it."""
    found = {}
    for kind, patterns in _KINDS.items():
        for pattern in patterns:
            left = _number(headers.get(pattern.format("remaining")))
            if left is None:
                continue
            reset = headers.get(pattern.format("reset")) or ""
            said = {
                "remaining": left,
                "limit": _number(headers.get(pattern.format("limit"))),
                "reset": reset if _RESET.fullmatch(reset) else None,
            }
            found[kind] = {name: value for name, value in said.items() if value is not None}
            break
    return found


def seen_by(client: object) -> dict[str, dict[str, Any]]:
    """From the last answer that a client of ours got; nothing of a client that has no transport."""
    transport = getattr(client, "transport", None)
    return headroom_of(getattr(transport, "last_headers", None) or {})


def _number(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None
