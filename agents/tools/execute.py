"""The tool calls of one step: planned outside any transaction, then applied inside the step's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import DatabaseError, OperationalError, transaction

from agents import memory
from agents.models import ToolType
from agents.tool_rules import refusal
from agents.tools.arguments import PrefillConflict, clean, read
from agents.tools.base import BaseTool, ToolContext, ToolError
from agents.tools.registry import BASE_TOOLS
from core.errors import AppError
from providers.errors import ProviderError
from providers.types import ToolCall

DEFAULT_LIMIT = 50_000
SMALLEST_WINDOW_SHARE = 5_000
WINDOW_SHARE = 0.2
CHARS_PER_TOKEN = 4
UNAVAILABLE = {
    ToolType.CUSTOM: "custom Python tools are not available on this server yet",
    ToolType.EXTERNAL_MCP: "MCP tools are not available on this server yet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What may be called in this step.

    `tools`: by name, each with `json_schema`, `tool_type` and `return_char_limit` as in the Tool row.
    `prefilled`: arguments fixed by tool rules, by tool name. `refused`: by tool call id, why it must not run.
    """

    tools: Mapping[str, Mapping[str, Any]]
    prefilled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    context_window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call ready to be applied, or already known to fail (`error`).

    `stderr`: whether the error is one of the tool, not of the call's admission. `conflict`: a tool rule fixes
    arguments that the tool does not take, which ends the run (`invalid_tool_call`). `refused`: not admitted at all.
    """

    call: ToolCall
    context: ToolContext
    args: Mapping[str, Any] = field(default_factory=dict)
    tool: BaseTool | None = None
    prepared: object = None
    error: str | None = None
    stderr: bool = False
    conflict: bool = False
    refused: bool = False
    limit: int = DEFAULT_LIMIT


def plan(calls: Sequence[ToolCall], offer: Offer, context: ToolContext) -> list[Planned]:
    """One item a call, in order. Never raises for what a model wrote: that becomes an error it can read."""
    return [_plan(call, offer, replace(context, tool_call_id=call.id)) for call in calls]


def apply(planned: Sequence[Planned]) -> list[dict[str, Any]]:
    """The `tool_returns` of a message, in order. Call it inside the transaction that stores the step.

    Each call has its own savepoint: one that fails takes nothing else with it.
    """
    _lock(planned)
    return [_apply(item) for item in planned]


def tool_return(call: ToolCall, content: str, *, is_error: bool, stderr: list[str] | None = None) -> dict[str, Any]:
    """One item of `Message.tool_returns`."""
    return {
        "tool_call_id": call.id,
        "name": call.name,
        "content": clean(content),
        "is_error": is_error,
        "stdout": None,
        "stderr": stderr,
    }


def limit_return(content: str, limit: int) -> str:
    if len(content) <= limit:
        return content
    return f"{content[:limit]}… [the result has {len(content)} characters; {len(content) - limit} were cut off]"


def _plan(call: ToolCall, offer: Offer, context: ToolContext) -> Planned:
    row = offer.tools.get(call.name)
    if call.id in offer.refused:
        return Planned(call=call, context=context, error=offer.refused[call.id], refused=True)
    if row is None:
        return Planned(call=call, context=context, error=refusal(call.name, list(offer.tools)), refused=True)
    limit = _limit(row, offer.context_window)
    tool = BASE_TOOLS.get(call.name) if row["tool_type"] not in UNAVAILABLE else None
    try:
        args = read(call.name, call.arguments, row["json_schema"], offer.prefilled.get(call.name) or {})
        if tool is None:
            raise ToolError(UNAVAILABLE.get(row["tool_type"], f"{call.name} is not available on this server"))
        prepared = tool.prepare(context, args)
    except (ToolError, AppError, ProviderError) as error:
        conflict = isinstance(error, PrefillConflict)
        return Planned(call=call, context=context, error=error.message, stderr=True, conflict=conflict, limit=limit)
    return Planned(call=call, context=context, args=args, tool=tool, prepared=prepared, limit=limit)


def _limit(row: Mapping[str, Any], context_window: int | None) -> int:
    limit = int(row.get("return_char_limit") or DEFAULT_LIMIT)
    if not context_window:
        return limit
    return min(limit, max(SMALLEST_WINDOW_SHARE, int(context_window * WINDOW_SHARE * CHARS_PER_TOKEN)))


def _lock(planned: Sequence[Planned]) -> None:
    """Lock the blocks that will be edited, in one order and before any agent: a first call may already lock agents, and
    two steps that took the same rows in different orders would wait for each other."""
    edits = [(p.context.agent_id, str(p.args[p.tool.edits])) for p in planned if p.tool is not None and p.tool.edits]
    if edits and len(planned) > 1:
        memory.lock_agent_blocks(edits[0][0], [label for _, label in edits])


def _apply(item: Planned) -> dict[str, Any]:
    if item.tool is None:
        return _failed(item, item.error or "")
    try:
        with transaction.atomic():
            content = item.tool.apply(item.context, item.args, item.prepared)
    except (ToolError, AppError) as error:
        return _failed(replace(item, stderr=True), error.message)
    except OperationalError:
        raise  # the connection or the whole transaction is lost: the step is
    except DatabaseError:
        return _failed(replace(item, stderr=True), "the database refused these arguments; nothing was changed")
    return tool_return(item.call, limit_return(content, item.limit), is_error=False)


def _failed(item: Planned, message: str) -> dict[str, Any]:
    message = limit_return(message, item.limit)
    stderr = [f"Error executing function {item.call.name}: {message}"] if item.stderr else None
    failed = tool_return(item.call, message, is_error=True, stderr=stderr)
    return failed | {"refused": True} if item.refused else failed
