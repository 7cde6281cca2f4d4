"""A server's tools as rows: what it offers now against what is stored, changed in one transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Q

from agents import memory
from agents.mcp.models import Health, McpServer, McpTool, ServerState
from agents.mcp.schema import EMPTY, clean
from agents.models import AgentTool, Tool, ToolType
from agents.tools.arguments import clean_all
from core.time import now

MAX_DESCRIPTION = 8_000
MAX_DEFINITION = 100_000
_KEPT = ("title", "description", "inputSchema", "outputSchema", "annotations")
_NAME = 64
_TAG = "mcp:"
_UNFIT = re.compile(r"[^a-zA-Z0-9_-]+")


@dataclass(slots=True)
class Changes:
    """Names of Tool rows."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


@transaction.atomic
def store(server: McpServer, found: Sequence[Mapping[str, Any]]) -> Changes:
    """Tools that stay keep their rows, and so their agents. Those that went are detached from every agent."""
    McpServer.objects.select_for_update().get(pk=server.pk)
    offered = {str(one["name"])[:200]: one for one in (clean_all(dict(sent)) for sent in found)}
    stored = {row.name: row for row in McpTool.objects.filter(server=server).select_related("tool")}
    changes = Changes()
    _delete([row for name, row in stored.items() if name not in offered], changes)
    _update(server, [(row, offered[name]) for name, row in stored.items() if name in offered], changes)
    _add(server, [one for name, one in offered.items() if name not in stored], changes)
    note(server, ServerState.READY)
    return changes


def note(server: McpServer, state: str, error: str = "") -> None:
    """How it went just now."""
    server.state, server.last_error, server.checked_at = state, error, now()
    McpServer.objects.filter(pk=server.pk).update(state=state, last_error=error, checked_at=server.checked_at)


def health_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    cleaned = clean(sent.get("inputSchema"))
    return {"status": str(cleaned.health), "reasons": cleaned.reasons}


def delete_tools(server: McpServer) -> Changes:
    """All of them, before the server itself goes."""
    changes = Changes()
    _delete(list(McpTool.objects.filter(server=server).select_related("tool")), changes)
    return changes


def _delete(rows: Sequence[McpTool], changes: Changes) -> None:
    ids = [row.tool_id for row in rows]
    _touch_agents(ids)
    Tool.objects.filter(pk__in=ids).delete()
    changes.deleted += [row.tool.name for row in rows]


def _touch_agents(tool_ids: Sequence[str]) -> None:
    """Workers load an agent's tools anew where its prompt's version has grown."""
    having = AgentTool.objects.filter(tool_id__in=tool_ids)
    if agents := list(having.values_list("agent_id", flat=True).distinct()):
        memory.touch_prompt(agents)


def _update(server: McpServer, pairs: Sequence[tuple[McpTool, Mapping[str, Any]]], changes: Changes) -> None:
    tools, rows = [], []
    for row, sent in pairs:
        tool = row.tool
        fields, said = _tool_fields(server, tool, sent), _said(sent)
        same = (
            all(getattr(tool, name) == value for name, value in fields.items()) and row.definition == said["definition"]
        )
        if same:
            continue
        for name, value in fields.items():
            setattr(tool, name, value)
        for name, value in said.items():
            setattr(row, name, value)
        tool.updated_at = now()
        tools.append(tool)
        rows.append(row)
        changes.updated.append(tool.name)
    if rows:
        Tool.objects.bulk_update(tools, ["description", "json_schema", "tags", "metadata", "updated_at"])
        McpTool.objects.bulk_update(rows, ["definition", "health", "reasons"])
        _touch_agents([tool.pk for tool in tools])


def _add(server: McpServer, offered: Sequence[Mapping[str, Any]], changes: Changes) -> None:
    if not offered:
        return
    theirs = Q(organization_id=server.organization_id) | Q(organization=None)
    taken = set(Tool.objects.filter(theirs).values_list("name", flat=True))
    tools, rows = [], []
    for sent in offered:
        name = _free_name(server.name, str(sent["name"]), taken)
        taken.add(name)
        tool = Tool(
            organization_id=server.organization_id,
            created_by_id=server.last_updated_by_id,
            last_updated_by_id=server.last_updated_by_id,
            name=name,
            tool_type=ToolType.EXTERNAL_MCP,
            source_type="python",
        )
        for field_name, value in _tool_fields(server, tool, sent).items():
            setattr(tool, field_name, value)
        tools.append(tool)
        rows.append(McpTool(server=server, tool=tool, name=str(sent["name"])[:200], **_said(sent)))
        changes.added.append(name)
    Tool.objects.bulk_create(tools)
    McpTool.objects.bulk_create(rows)


def _free_name(server_name: str, name: str, taken: set[str]) -> str:
    """The server's own name for it, where models take such names and no other tool has it: two servers may have a
    `search`, and none may stand in for a base tool."""
    plain = _UNFIT.sub("_", name).strip("_")[:_NAME] or "tool"
    if plain not in taken:
        return plain
    longer = f"{_UNFIT.sub('_', server_name).strip('_')[:24]}_{plain}"[:_NAME].lstrip("_")
    numbered = (f"{longer[: _NAME - 4]}_{number}" for number in range(2, 1000))
    return longer if longer not in taken else next(one for one in numbered if one not in taken)


def _tool_fields(server: McpServer, tool: Tool, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the Tool row. What an agent's model is offered is always a sound schema; what others noted on the tool
    stays."""
    cleaned = clean(sent.get("inputSchema"))
    description = str(sent.get("description") or sent.get("title") or "")[:MAX_DESCRIPTION]
    mcp = {
        "server_id": server.pk,
        "server_name": server.name,
        "tool_name": str(sent["name"])[:200],
        "repeatable": _repeatable(sent.get("annotations")),
        "health": health_of(sent),
    }
    return {
        "description": description,
        "json_schema": {"name": tool.name, "description": description, "parameters": cleaned.parameters},
        "tags": [f"{_TAG}{server.name}", *(tag for tag in tool.tags if not tag.startswith(_TAG))],
        "metadata": {**tool.metadata, "mcp": mcp},
    }


def _repeatable(annotations: Any) -> bool:
    """Whether the server says that calling it twice does what calling it once does."""
    said = annotations if isinstance(annotations, dict) else {}
    return said.get("readOnlyHint") is True or said.get("idempotentHint") is True


def _said(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the McpTool row."""
    cleaned = clean(sent.get("inputSchema"))
    definition = {name: sent[name] for name in _KEPT if sent.get(name) is not None}
    if len(json.dumps(definition)) > MAX_DEFINITION:
        cleaned_schema = cleaned.parameters if cleaned.health != Health.INVALID else EMPTY
        definition = {
            "description": str(sent.get("description") or "")[:MAX_DESCRIPTION],
            "inputSchema": cleaned_schema,
        }
    return {"definition": definition, "health": cleaned.health, "reasons": cleaned.reasons}
