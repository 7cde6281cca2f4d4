"""The tool with which an agent searches its earlier messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from agents.model_calls import CallContext
from agents.threads import FoundMessage, MessageSearch, threads
from agents.tools.base import Args, ToolContext, ToolError

DEFAULT_RESULTS = 10
MAX_RESULTS = 100
ROLES = ("assistant", "user", "tool")


def prepare_search(context: ToolContext, args: Args) -> Mapping[str, Sequence[float]]:
    return threads().query_vectors(_search(context, args), traced(context))


def conversation_search(context: ToolContext, args: Args, prepared: Mapping[str, Sequence[float]]) -> str:
    found = threads().search_messages(_search(context, args), prepared)
    if not found:
        return "No results found."
    plural = "" if len(found) == 1 else "s"
    items = [_item(message, context) for message in found]
    return json.dumps({"message": f"Showing {len(found)} result{plural}:", "results": items}, ensure_ascii=False)


def _search(context: ToolContext, args: Args) -> MessageSearch:
    return MessageSearch(
        organization_id=context.organization_id,
        agent_id=context.agent_id,
        query=(args.get("query") or "").strip(),
        roles=tuple(args.get("roles") or ROLES),
        limit=max(1, min(args.get("limit") or DEFAULT_RESULTS, MAX_RESULTS)),
        start=moment(args.get("start_date"), "start_date", context.timezone),
        end=moment(args.get("end_date"), "end_date", context.timezone, end=True),
    )


def traced(context: ToolContext) -> CallContext:
    """On whose behalf a tool asks an embedding model."""
    return context.model_calls or CallContext(
        organization_id=context.organization_id,
        call_type="embedding",
        agent_id=context.agent_id,
        conversation_id=context.conversation_id,
        run_id=context.run_id,
        step_id=context.step_id,
    )


def moment(text: str | None, argument: str, timezone: str, *, end: bool = False) -> datetime | None:
    """A date or time as a model writes it, in the agent's time zone; a bare date as an end means its whole day."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ToolError(f"{argument} is not a date or time in ISO 8601, like 2026-01-31 or 2026-01-31T14:00.") from None
    if end and at.time() == time.min and len(text.strip()) <= len("2026-01-31"):
        at += timedelta(days=1, microseconds=-1)
    return at if at.tzinfo else at.replace(tzinfo=zone(timezone))


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError):
        return ZoneInfo("UTC")


def time_ago(at: datetime, now: datetime) -> str:
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


def _item(message: FoundMessage, context: ToolContext) -> dict[str, object]:
    item: dict[str, object] = {
        "timestamp": message.created_at.astimezone(zone(context.timezone)).isoformat(timespec="seconds"),
        "time_ago": time_ago(message.created_at, context.now),
        "role": message.role,
        "content": message.text,
    }
    if message.relevance is not None:
        item["relevance"] = round(message.relevance, 4)
    return item
