"""The tool calls of one step: planned outside any transaction, then applied inside the step's own.

Calls that act outside the database are made in between (`agents.tools.external`); their results are applied.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from django.db import DatabaseError, OperationalError, transaction

from agents import memory
from agents.tool_rules import refusal
from agents.tools.arguments import PrefillConflict, clean, read
from agents.tools.base import BaseTool, ToolContext, ToolError
from agents.tools.blocks import write_changes
from agents.tools.external import ExternalTool, external_tool
from agents.tools.registry import BASE_TOOLS
from core.db import release_connection
from core.errors import AppError
from providers.errors import ProviderError
from providers.types import ToolCall

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 50_000
SMALLEST_WINDOW_SHARE = 5_000
WINDOW_SHARE = 0.2
CHARS_PER_TOKEN = 4
FAULT = "the tool could not be run: an internal error of this server, which its log describes"
Result = dict[str, Any]  # an item of `Message.tool_returns`; of an external call also `edits`, where it makes some


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What may be called in this step.

    `tools`: by name, each with the columns of `external.OFFERED`, and of an external tool those of EXTERNAL_COLUMNS.
    `prefilled`: arguments fixed by tool rules, by tool name. `refused`: by tool call id, why it must not run.
    """

    tools: Mapping[str, Mapping[str, Any]]
    prefilled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    context_window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A call ready to be applied, or already known to fail (`error`).

    `place`: among the calls of the answer. `row`: the tool's columns, of an external one. `stderr`: whether the error
    is one of the tool, not of the call's admission. `conflict`: a tool rule fixes arguments that the tool does not
    take, which ends the run (`invalid_tool_call`). `refused`: not admitted at all.
    """

    call: ToolCall
    context: ToolContext
    place: int = 0
    args: Mapping[str, Any] = field(default_factory=dict)
    tool: BaseTool | None = None
    external: ExternalTool | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    prepared: object = None
    error: str | None = None
    stderr: bool = False
    conflict: bool = False
    refused: bool = False
    limit: int = DEFAULT_LIMIT


def plan(calls: Sequence[ToolCall], offer: Offer, context: ToolContext) -> list[Planned]:
    """One item a call, in order. Never raises for what a model wrote: that becomes an error it can read."""
    found = [_plan(call, offer, replace(context, tool_call_id=call.id)) for call in calls]
    return [replace(item, place=place) for place, item in enumerate(found)]


def call_external(item: Planned) -> Result:
    """Make a call that acts outside the database. Not within a transaction."""
    assert item.external is not None
    try:
        given = item.external.run(item.context, item.row, item.args)
    except (ToolError, AppError, ProviderError) as error:
        return _failed(replace(item, stderr=True), error.message)
    except Exception:
        # A fault in one call must not void what the others of its step have done: the model is told, the log has it.
        log.exception("%s: %s failed", item.context.run_id, item.call.name)
        return _failed(item, FAULT)
    finally:
        release_connection()
    result = tool_return(item.call, limit_return(given.content, item.limit), is_error=given.is_error)
    for name, lines in (("stdout", given.stdout), ("stderr", given.stderr)):
        result[name] = None if lines is None else [clean(limit_return(line, item.limit)) for line in lines]
    return result | ({"edits": dict(given.edits)} if given.edits else {})


def apply(planned: Sequence[Planned], results: Mapping[int, Result] = MappingProxyType({})) -> list[Result]:
    """The `tool_returns` of a message, in order. Call it inside the transaction that stores the step.

    `results`: of external calls, by `place`. Each other call has its own savepoint: one that fails takes nothing else
    with it.
    """
    _lock(planned, results)
    return [_apply(item, results.get(item.place)) for item in planned]


def tool_return(call: ToolCall, content: str, *, is_error: bool, stderr: list[str] | None = None) -> Result:
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
    external, tool = external_tool(row["tool_type"], call.name), BASE_TOOLS.get(call.name)
    try:
        args = read(call.name, call.arguments, row["json_schema"], offer.prefilled.get(call.name) or {})
        if external is not None:
            return Planned(call=call, context=context, args=args, external=external, row=row, limit=limit)
        if tool is None or tool.apply is None or tool.tool_type != row["tool_type"]:
            raise ToolError(f"{call.name} is not available on this server")
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


def _lock(planned: Sequence[Planned], results: Mapping[int, Result]) -> None:
    """Lock the blocks that will be edited, in one order and before any agent: a first call may already lock agents, and
    two steps that took the same rows in different orders would wait for each other."""
    labels = [str(p.args[p.tool.edits]) for p in planned if p.tool is not None and p.tool.edits]
    labels += [label for result in results.values() for label in result.get("edits", ())]
    if labels and (len(labels) > 1 or len(planned) > 1):
        context = planned[0].context
        memory.lock_blocks(context.agent_id, context.conversation_id, labels)


def _apply(item: Planned, result: Result | None) -> Result:
    if result is not None:
        return _edited(item, dict(result))
    if item.tool is None or item.tool.apply is None:
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


def _edited(item: Planned, result: Result) -> Result:
    """The result of an external call, and what it changed in memory, written."""
    edits = result.pop("edits", None)
    if edits:
        try:
            with transaction.atomic():
                write_changes(item.context, item.call.name, edits)
        except (ToolError, AppError) as error:
            said = f"{result['content']}\n(The tool's changes of memory were not kept: {error.message})"
            result |= {"content": said, "is_error": True}
    return result


def _failed(item: Planned, message: str) -> Result:
    message = limit_return(message, item.limit)
    stderr = [f"Error executing function {item.call.name}: {message}"] if item.stderr else None
    failed = tool_return(item.call, message, is_error=True, stderr=stderr)
    return failed | {"refused": True} if item.refused else failed
