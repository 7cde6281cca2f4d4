"""The base tools by name, their rows in the database, and which of them an agent gets unasked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agents.models import Tool, ToolType
from agents.tools import archive, blocks, recall, talk
from agents.tools.base import BaseTool

_TOOLS = (
    BaseTool("send_message", ToolType.CORE, talk.send_message),
    BaseTool("conversation_search", ToolType.CORE, recall.conversation_search, recall.prepare_search, parallel=True),
    BaseTool("archival_memory_insert", ToolType.CORE, archive.archival_memory_insert, archive.prepare_insert),
    BaseTool(
        "archival_memory_search",
        ToolType.CORE,
        archive.archival_memory_search,
        archive.prepare_search,
        parallel=True,
    ),
    BaseTool("core_memory_append", ToolType.MEMORY_CORE, blocks.core_memory_append, edits="label"),
    BaseTool("core_memory_replace", ToolType.MEMORY_CORE, blocks.core_memory_replace, edits="label"),
    BaseTool("memory_insert", ToolType.SLEEPTIME_CORE, blocks.memory_insert, edits="label"),
    BaseTool("memory_replace", ToolType.SLEEPTIME_CORE, blocks.memory_replace, edits="label"),
    BaseTool("memory_rethink", ToolType.SLEEPTIME_CORE, blocks.memory_rethink, edits="label"),
    BaseTool("memory_finish_edits", ToolType.SLEEPTIME_CORE, talk.memory_finish_edits),
    BaseTool("run_code", ToolType.BUILTIN, None, parallel=True),
    BaseTool("web_search", ToolType.BUILTIN, None, parallel=True),
    BaseTool("fetch_webpage", ToolType.BUILTIN, None, parallel=True),
)
BASE_TOOLS = {tool.name: tool for tool in _TOOLS}

_V1 = ("conversation_search", "memory_insert", "memory_replace")
_MEMGPT = ("send_message", "conversation_search", "core_memory_append", "core_memory_replace")
_DEFAULTS = {
    "letta_v1_agent": _V1,
    "memgpt_v2_agent": _V1,
    "memgpt_agent": _MEMGPT,
    "split_thread_agent": _MEMGPT,
    "sleeptime_agent": ("memory_insert", "memory_replace", "memory_rethink", "memory_finish_edits"),
}
_CHAT_WITH_SLEEPTIME = ("send_message", "conversation_search", "archival_memory_search")
_TERMINAL = frozenset({"send_message", "send_message_to_agent_async", "memory_finish_edits"})
_WITHOUT_RULES = frozenset({"letta_v1_agent"})


def default_tool_names(agent_type: str, *, enable_sleeptime: bool = False) -> list[str]:
    """The tools that an agent of this type gets with `include_base_tools`."""
    if enable_sleeptime and agent_type in ("memgpt_agent", "memgpt_v2_agent"):
        return list(_CHAT_WITH_SLEEPTIME)
    return list(_DEFAULTS.get(agent_type, ()))


def default_tool_rules(agent_type: str, tool_names: Iterable[str]) -> list[dict[str, Any]]:
    """The rules, as the wire has them, of an agent that gets `include_base_tool_rules`."""
    if agent_type in _WITHOUT_RULES:
        return []
    return [
        {"tool_name": name, "type": "exit_loop" if name in _TERMINAL else "continue_loop", "prompt_template": None}
        for name in dict.fromkeys(tool_names)
        if name in _TERMINAL or name in BASE_TOOLS
    ]


def sync_base_tools() -> None:
    """Write the base tools into the database, each once and for all organizations. Safe to repeat; keeps their ids."""
    rows = [
        Tool(
            organization=None,
            name=tool.name,
            tool_type=tool.tool_type,
            description=tool.schema["description"],
            json_schema=tool.schema,
            source_type="python",
            tags=[str(tool.tool_type)],
            enable_parallel_execution=tool.parallel,
        )
        for tool in _TOOLS
    ]
    Tool.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["organization", "name"],
        update_fields=["tool_type", "description", "json_schema", "tags", "enable_parallel_execution"],
    )
