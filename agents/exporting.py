"""Writes agents as files: ids become local to the file, secrets stay behind by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.mcp.models import McpTool
from agents.models import Agent, AgentBlock, AgentTool, Block, Passage, Tool, ToolType
from agents.schemas.agent_files import SkillFile
from agents.schemas.blocks import block_out
from agents.schemas.models import embedding_config, llm_config
from agents.schemas.tools import tool_out
from agents.states import reach
from agents.threads import threads
from agents.tools.variables import load_variables
from core.errors import BadInput
from core.time import now

_BATCH = 1_000
_COLUMNS = (
    "name",
    "agent_type",
    "description",
    "system",
    "tags",
    "metadata",
    "model",
    "embedding",
    "model_settings",
    "compaction_settings",
    "response_format",
    "context_window_limit",
    "message_buffer_autoclear",
    "enable_sleeptime",
    "timezone",
    "max_files_open",
    "per_file_view_window_char_limit",
    "approval_expires_s",
    "hidden",
)
# Fields that other servers want to see, and that say nothing here.
_FIXED: dict[str, Any] = {
    "memory_blocks": [],
    "tools": [],
    "source_ids": [],
    "folder_ids": None,
    "identity_ids": None,
    "initial_message_sequence": None,
    "include_base_tools": False,
    "include_multi_agent_tools": False,
    "include_base_tool_rules": False,
    "include_default_source": False,
    "tool_exec_environment_variables": {},
    "project_id": None,
    "template_id": None,
    "base_template_id": None,
    "files_agents": [],
    "group_ids": [],
}


def refuse_legacy(asked: bool) -> None:
    if asked:
        raise BadInput("The older form of agent files is not written any more: leave use_legacy_format out.")


def export_agent(
    agent: Agent,
    *,
    conversation_id: str | None = None,
    messages: bool = True,
    passages: bool = True,
    skills: Sequence[SkillFile] = (),
) -> dict[str, Any]:
    """The agent as an AgentFileSchema. `conversation_id`: the messages are that conversation's, not the default one's.

    Raises NotFound for a conversation that is not the agent's.
    """
    blocks = [
        link.block
        for link in AgentBlock.objects.filter(agent=agent).select_related("block").order_by("attached_at", "id")
    ]
    links = list(AgentTool.objects.filter(agent=agent).select_related("tool").order_by("attached_at", "id"))
    tools = [link.tool for link in links]
    written, in_context = threads().write_messages(agent, conversation_id) if messages else ([], [])
    remembered = _passages(agent) if passages else []
    shown = {name: getattr(agent, name) for name in _COLUMNS}
    return {
        "agents": [
            shown
            | _FIXED
            | _configs(agent)
            | {
                "id": "agent-0",
                "block_ids": _names("block", blocks),
                "tool_ids": _names("tool", tools),
                "tool_rules": [*agent.tool_rules, *_approvals(links, agent.tool_rules)],
                "secrets": {row.key: "" for row in load_variables([agent.pk])},
                "messages": [{**message, "agent_id": "agent-0"} for message in written],
                "in_context_message_ids": in_context,
            }
            | ({"passages": remembered} if remembered else {})
        ],
        "groups": [],
        "blocks": [_block(block) | {"id": f"block-{n}"} for n, block in enumerate(blocks)],
        "files": [],
        "sources": [],
        "tools": [_tool(tool) | {"id": f"tool-{n}"} for n, tool in enumerate(tools)],
        "mcp_servers": _servers(tools),
        "skills": [skill.model_dump() for skill in skills],
        "metadata": {"written_by": "perennial"},
        "created_at": now().isoformat(),
    }


def _names(noun: str, rows: Sequence[object]) -> list[str]:
    return [f"{noun}-{n}" for n in range(len(rows))]


def _configs(agent: Agent) -> dict[str, Any]:
    """The deprecated configs, which other servers read; without the addresses of this one's providers."""
    model = reach(agent.organization_id, agent.model)
    llm = llm_config(model, agent.model_settings, agent.context_window_limit).model_dump()
    found = {"llm_config": llm | {"model_endpoint": None}, "embedding_config": None}
    if agent.embedding:
        config = embedding_config(reach(agent.organization_id, agent.embedding)).model_dump()
        found["embedding_config"] = config | {"embedding_endpoint": None}
    return found


def _approvals(links: Sequence[AgentTool], rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """An agent's own word on approval, as a rule: the file has no other place for it."""
    ruled = {rule["tool_name"] for rule in rules if rule["type"] == "requires_approval"}
    names = [link.tool.name for link in links if link.requires_approval and link.tool.name not in ruled]
    return [{"tool_name": name, "type": "requires_approval", "prompt_template": None} for name in names]


def _block(block: Block) -> dict[str, Any]:
    return block_out(block).model_dump(exclude={"project_id", "created_by_id", "last_updated_by_id"})


def _passages(agent: Agent) -> list[dict[str, Any]]:
    """Of all archives of the agent, the oldest first. One query."""
    rows = Passage.objects.filter(archive__agents=agent).order_by("created_at", "id")
    found = rows.values("text", "tags", "metadata", "created_at")
    return [{**row, "created_at": row["created_at"].isoformat()} for row in found.iterator(_BATCH)]


def _tool(tool: Tool) -> dict[str, Any]:
    return tool_out(tool).model_dump(exclude={"project_id", "created_by_id", "last_updated_by_id"})


def _servers(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The MCP servers of the agent's tools, by name alone: an address, too, may hold a secret."""
    ids = [tool.pk for tool in tools if tool.tool_type == ToolType.EXTERNAL_MCP]
    if not ids:
        return []
    found = McpTool.objects.filter(tool_id__in=ids).order_by("server__name").distinct()
    rows = found.values_list("server__name", "server__server_type")
    return [
        {"id": f"mcp_server-{n}", "server_name": name, "server_type": kind, "server_url": None, "stdio_config": None}
        for n, (name, kind) in enumerate(dict(rows).items())
    ]
