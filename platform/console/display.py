"""Figures, times and states as an operator reads them: one way for lists, pages and charts."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from core.time import now

DASH = "–"
UNPRICED = "unpriced"

TONES = {
    "completed": "good",
    "success": "good",
    "end_turn": "good",
    "active": "good",
    "running": "busy",
    "queued": "busy",
    "pending": "busy",
    "gathered": "busy",
    "submitting": "busy",
    "sent": "busy",
    "ended": "good",
    "waiting_approval": "warn",
    "requires_approval": "warn",
    "max_steps": "warn",
    "expired": "warn",
    "failed": "bad",
    "error": "bad",
    "llm_api_error": "bad",
    "revoked": "bad",
    "cancelled": "plain",
}
ADMIN_OF_PREFIX = {
    "agent": "agents_agent_change",
    "block": "agents_block_change",
    "tool": "agents_tool_change",
    "archive": "agents_archive_change",
    "mcp_server": "agents_mcpserver_change",
    "passage": "agents_passage_change",
    "conv": "conversations_conversation_change",
    "run": "conversations_run_change",
    "step": "conversations_step_change",
    "job": "conversations_batch_change",
    "org": "accounts_organization_change",
    "user": "accounts_user_change",
    "project": "accounts_project_change",
    "key": "accounts_apikey_change",
    "provider": "providers_provider_change",
}


def badge(text: str, tone: str | None = None) -> SafeString:
    """A word with a colour; the word alone says it too."""
    return format_html(
        '<span class="pn-badge pn-{}">{}</span>', tone or TONES.get(text, "plain"), text.replace("_", " ")
    )


def usd(value: Any) -> str:
    """Dollars with the digits that matter: 1,234.50, 0.0042; None is a call without a known price."""
    if value is None or value == "":
        return UNPRICED
    amount = Decimal(str(value))
    if amount == 0:
        return "$0"
    if abs(amount) >= 1:
        return f"${amount.quantize(Decimal('0.01'), ROUND_HALF_UP):,}"
    digits = max(4, 2 - amount.adjusted())
    text = f"{amount.quantize(Decimal(1).scaleb(-min(digits, 12)), ROUND_HALF_UP):f}"
    whole, _, part = text.partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"


def count(value: Any) -> str:
    return DASH if value is None or value == "" else f"{int(value):,}"


def compact(value: Any) -> str:
    """1,234 as 1.2k: for cards and axes."""
    number = float(value or 0)
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{number:,.0f}"


def span(ms: Any) -> str:
    """A span of milliseconds: 840 ms, 3.2 s, 2 min 5 s."""
    if ms is None or ms == "":
        return DASH
    value = float(ms)
    if value < 1000:
        return f"{value:.0f} ms"
    if value < 60_000:
        return f"{value / 1000:.1f} s"
    minutes, seconds = divmod(round(value / 1000), 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def percent(share: Any) -> str:
    """A share of 1 as percent, with the digits that matter: 12 %, 3.4 %, 0.05 %."""
    if share is None or share == "":
        return DASH
    value = 100 * float(share)
    text = f"{value:.{1 if abs(value) >= 1 else 2}f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def when(at: datetime | None) -> SafeString | str:
    """How long ago, with the exact time on hover and for screen readers."""
    if at is None:
        return DASH
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S UTC"), ago(at)
    )


def ago(at: datetime) -> str:
    seconds = (now() - at).total_seconds()
    if seconds < 0:
        return f"in {_rough(-seconds)}"
    return "just now" if seconds < 10 else f"{_rough(seconds)} ago"


def _rough(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            number = int(seconds // size)
            return f"{number} {unit}{'s' if unit == 'day' and number > 1 else ''}"
    return "0 s"


def pretty(value: Any) -> str:
    """JSON as a person reads it; text that is JSON is laid out too."""
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def link(item_id: str | None, text: str = "") -> SafeString | str:
    """An id as a link to its page, or plain where it has none."""
    if not item_id:
        return DASH
    label = text or short(item_id)
    name = ADMIN_OF_PREFIX.get(item_id.split("-", 1)[0])
    try:
        address = reverse(f"admin:{name}", args=[item_id]) if name else ""
    except NoReverseMatch:
        address = ""
    if not address:
        return format_html('<code title="{}">{}</code>', item_id, label)
    return format_html('<a class="pn-link" href="{}" title="{}">{}</a>', address, item_id, label)


def short(item_id: str) -> str:
    """run-1b4e28ba…: enough to tell apart by eye."""
    prefix, dash, rest = item_id.partition("-")
    return f"{prefix}-{rest[:8]}…" if dash and len(rest) > 12 else item_id
