"""The older form of agent files, with one agent and without ids, as the present one. It is read, and not written.

Known from published examples: https://github.com/letta-ai/agent-file (versions 0.6 and 0.7 of the retired server).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from agents.schemas.agent_files import MAX_MESSAGES, MAX_PARTS, Short
from agents.schemas.content import FilePart

# Of every tool's schema, and of no function: the loop of that time went on where a model asked for it.
_HEARTBEAT = "request_heartbeat"
_METADATA = AliasChoices("metadata", "metadata_")
# Of the database that a row lay in.
_ROW = frozenset({"created_at", "updated_at"})
# Once with a message, when it was said.
_CHANGED = frozenset({"updated_at"})


class OlderBlock(FilePart):
    label: str
    value: str
    limit: int | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = Field(None, validation_alias=_METADATA)


class OlderVariable(FilePart):
    key: Short
    value: str | None = None


class OlderFile(FilePart):
    """The fields that are otherwise in the present form. The others are the agent's, as CreateAgent has them."""

    core_memory: Annotated[list[OlderBlock], Field(max_length=MAX_PARTS)]
    messages: Annotated[list[dict[str, Any]], Field(max_length=MAX_MESSAGES)] = Field(default_factory=list)
    in_context_message_indices: Annotated[list[int], Field(max_length=MAX_MESSAGES)] = Field(default_factory=list)
    tools: Annotated[list[dict[str, Any]], Field(max_length=MAX_PARTS)] = Field(default_factory=list)
    tool_exec_environment_variables: list[OlderVariable] = Field(default_factory=list)
    llm_config: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = Field(None, validation_alias=_METADATA)
    multi_agent_group: dict[str, Any] | None = None
    version: str | None = None


def is_older(data: Mapping[str, Any]) -> bool:
    return "agents" not in data and "core_memory" in data


def in_present_form(file: OlderFile) -> dict[str, Any]:
    """An AgentFile, yet to be checked."""
    agent = {name: value for name, value in (file.model_extra or {}).items() if name not in _ROW} | {
        "id": "agent-0",
        "metadata": file.metadata,
        "llm_config": _model(file.llm_config),
        "block_ids": [f"block-{n}" for n in range(len(file.core_memory))],
        "tool_ids": [f"tool-{n}" for n in range(len(file.tools))],
        "tool_exec_environment_variables": {row.key: row.value for row in file.tool_exec_environment_variables},
        "messages": [_message(message, n) for n, message in enumerate(file.messages)],
        "in_context_message_ids": [f"message-{n}" for n in file.in_context_message_indices],
    }
    return {
        "agents": [agent],
        "blocks": [_block(block) | {"id": f"block-{n}"} for n, block in enumerate(file.core_memory)],
        "tools": [_tool(tool) | {"id": f"tool-{n}"} for n, tool in enumerate(file.tools)],
        "groups": [file.multi_agent_group] if file.multi_agent_group else [],
    }


def _model(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """The provider had no field of its own at first: it was called as its protocol is."""
    if config and not config.get("provider_name"):
        return config | {"provider_name": config.get("model_endpoint_type")}
    return config


def _block(block: OlderBlock) -> dict[str, Any]:
    given = block.model_dump(include={"label", "value", "limit", "description", "metadata"})
    return {name: value for name, value in given.items() if value is not None}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Without the argument that was not the function's own."""
    found = {name: value for name, value in tool.items() if name not in _ROW}
    schema = found.get("json_schema")
    parameters = schema.get("parameters") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(parameters, dict):
        return found
    own = dict(parameters)
    if isinstance(own.get("properties"), dict):
        own["properties"] = {name: value for name, value in own["properties"].items() if name != _HEARTBEAT}
    if isinstance(own.get("required"), list):
        own["required"] = [name for name in own["required"] if name != _HEARTBEAT]
    return found | {"json_schema": {name: schema.get(name) for name in ("name", "description")} | {"parameters": own}}


def _message(message: dict[str, Any], n: int) -> dict[str, Any]:
    """What a user said was packed as JSON."""
    found = {name: value for name, value in message.items() if name not in _CHANGED} | {"id": f"message-{n}"}
    match found.get("role"), found.get("content"):
        case "user", str(text):
            found["content"] = _said(text)
        case "user", [{"type": "text", "text": str(text), **_rest}]:
            found["content"] = [{"type": "text", "text": _said(text)}]
    return found


def _said(text: str) -> str:
    try:
        packed = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return text
    said = packed.get("message") if isinstance(packed, dict) and packed.get("type") == "user_message" else None
    return said if isinstance(said, str) else text
