"""Keys as their vendors show them, so that a key here can be found on the vendor's own pages and invoices.

OpenAI, Groq, xAI and Google show the prefix and the last four characters; Anthropic (`partial_key_hint`), OpenRouter
(`label`) and DeepSeek show some characters behind the prefix too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

LEAST = 12
TAIL = 4
MOST = 40


@dataclass(frozen=True, slots=True)
class Style:
    """`prefixes`: the longest that fits is shown, and `more` characters behind it."""

    prefixes: tuple[str, ...]
    more: int = 0


STYLES: dict[str, Style] = {
    "openai": Style(("sk-", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-")),
    "anthropic": Style(("sk-ant-", "sk-ant-api03-", "sk-ant-admin01-"), 3),
    "google_ai": Style(("AIza", "AQ.")),
    "openrouter": Style(("sk-or-", "sk-or-v1-"), 3),
    "deepseek": Style(("sk-",), 5),
    "groq": Style(("gsk_",)),
    "xai": Style(("xai-",)),
    "fireworks": Style(("fw_",)),
    "cerebras": Style(("csk-",)),
    "together": Style(("tgp_v1_",)),
    "moonshot": Style(("sk-",)),
}


def key_name(secret: str) -> str:
    """What a key is called where it is a file: the id of a Google service account's key, as its vendor lists it."""
    if not secret.startswith("{"):
        return secret
    try:
        found = json.loads(secret)["private_key_id"]
    except (ValueError, KeyError):
        return ""
    return found if isinstance(found, str) else ""


def masked(secret: str, provider_type: str = "") -> str:
    """A key as its owner would recognise it: `sk-…abcd`. At most half of it, and its tail, is shown."""
    if not secret:
        return ""
    if len(secret) < LEAST:
        return "…"
    head = _styled(secret, STYLES.get(provider_type)) or secret[: secret.rfind("-", 0, LEAST) + 1] or secret[:3]
    if len(head) > len(secret) // 2:
        head = secret[:3]
    return f"{head[: MOST - TAIL - 1]}…{secret[-TAIL:]}"


def _styled(secret: str, style: Style | None) -> str:
    if style is None:
        return ""
    prefix = max((prefix for prefix in style.prefixes if secret.startswith(prefix)), key=len, default="")
    if not prefix or (not style.more and prefix == "sk-" and "-" in secret[3:LEAST]):  # a kind of key not known yet
        return ""
    return secret[: len(prefix) + style.more]
