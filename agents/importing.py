"""Reads agent files: all of one is made in one transaction, or nothing. No model is called.

Ids of a file name things of that file and nothing else, so that none of them can reach a row that is here already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from django.db import transaction
from pydantic import BaseModel, ValidationError

from accounts.access import Caller
from accounts.audit import Deed, note
from agents import access, actions, tool_changes
from agents.models import Agent, Block, Tool, ToolType
from agents.older_files import OlderFile, in_present_form, is_older
from agents.passages import NewPassage, take
from agents.schemas.agent_files import (
    MAX_BYTES,
    MAX_DEPTH,
    AgentFile,
    FileAgent,
    FilePassage,
    FileTool,
    ImportedAgents,
    ImportForm,
)
from agents.schemas.agents import CreateAgent, OldEmbeddingConfig
from agents.schemas.blocks import CreateBlock
from agents.schemas.model_settings import carried
from agents.schemas.tools import ToolCreate
from agents.threads import threads
from core.errors import AppError, BadInput, Invalid
from providers.resolve import resolve

SUFFIX = "_copy"
_SHOWN_ERRORS = 5
# What a file may say of an agent that has no place here, or that this server decides itself.
_LEFT_OUT = frozenset(
    {
        "source_ids",
        "folder_ids",
        "identity_ids",
        "files_agents",
        "group_ids",
        "initial_message_sequence",
        "memory_variables",
        "enable_sleeptime",
        "include_multi_agent_tools",
        "template_id",
        "base_template_id",
        "from_template",
        "template",
    }
)
_OURS = frozenset({"include_base_tools", "include_base_tool_rules", "project_id", "secrets", "block_ids", "tool_ids"})
S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the importer wants otherwise than the file says."""

    name: str | None = None
    suffix: str = ""
    model: str | None = None
    embedding: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    messages: bool = True
    passages: bool = True
    override_tools: bool = True


@dataclass(slots=True)
class Reading:
    """A file on its way in: the rows that its ids stand for, and what was left out. A tool id without a row is one."""

    caller: Caller
    choices: Choices
    blocks: dict[str, Block] = field(default_factory=dict)
    tools: dict[str, Tool | None] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)


def read_file(raw: bytes) -> AgentFile:
    """Raises BadInput (not JSON, too large, too deep), Invalid with the place in the file."""
    if len(raw) > MAX_BYTES:
        raise BadInput(f"The file has {len(raw)} bytes; at most {MAX_BYTES} are taken. Strip its messages.")
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"The file is not valid JSON: {error}") from None
    _check_texts_and_depth(data)
    if isinstance(data, dict) and is_older(data):
        data = in_present_form(_shaped(OlderFile, data, ""))
    if not isinstance(data, dict) or "agents" not in data:
        raise Invalid("agents: the file has no list of agents.")
    return _shaped(AgentFile, data, "")


def choices_of(form: ImportForm, embedding: str | None = None) -> Choices:
    """Raises Invalid where the secrets are no JSON object of texts."""
    return Choices(
        name=form.name or form.override_name or None,
        suffix=SUFFIX if form.append_copy_suffix else "",
        model=form.model or form.override_model_handle or None,
        embedding=form.embedding or form.override_embedding_handle or embedding or None,
        secrets={**_secrets(form.env_vars_json, "env_vars_json"), **_secrets(form.secrets, "secrets")},
        messages=not form.strip_messages,
        passages=not form.strip_passages,
        override_tools=form.override_existing_tools,
    )


@transaction.atomic
def import_file(caller: Caller, file: AgentFile, choices: Choices) -> ImportedAgents:
    """Raises BadInput and Invalid with the place in the file."""
    if choices.name and len(file.agents) > 1:
        raise BadInput(f"name: the file has {len(file.agents)} agents, which cannot all have one name. Leave it out.")
    reading = Reading(caller, choices)
    for kind in ("groups", "files", "sources", "skills"):
        reading.left_out[kind] += len(getattr(file, kind))
    reading.left_out["unknown fields"] += file.unknown()
    import_blocks(reading, file)
    for n, tool in enumerate(file.tools):
        with_place(f"tools.{n}", _find_tool, reading, tool, f"tools.{n}")
    made = [make_agent(reading, agent, f"agents.{n}") for n, agent in enumerate(file.agents)]
    left_out = {kind: count for kind, count in sorted(reading.left_out.items()) if count}
    for agent in made:
        deed = Deed(action="agent.import", target=agent.pk, after={"name": agent.name, "left_out": left_out})
        note(caller.organization_id, caller.actor_id, deed)
    return ImportedAgents(agent_ids=[agent.pk for agent in made], left_out=left_out)


def make_agent(reading: Reading, spec: FileAgent, place: str) -> Agent:
    """One agent of a file, with the rows that `reading` has for its ids."""
    caller, choices = reading.caller, reading.choices
    known = {message.id for message in spec.messages}
    if choices.messages:
        _check_references(spec.in_context_message_ids, known, f"{place}.in_context_message_ids")
    data = _shaped(CreateAgent, _columns(reading, spec, place), place)
    agent = with_place(place, actions.create_agent, caller, data).agent
    if choices.messages and spec.messages:
        with_place(f"{place}.messages", threads().take_messages, agent, spec.messages, spec.in_context_message_ids)
    if choices.passages and spec.passages:
        columns = set(FilePassage.model_fields)
        new = [NewPassage(**passage.model_dump(include=columns)) for passage in spec.passages]
        with_place(f"{place}.passages", take, agent, new, caller.user_id)
    return agent


def _columns(reading: Reading, spec: FileAgent, place: str) -> dict[str, Any]:
    """The fields of CreateAgent."""
    choices = reading.choices
    given = {name: value for name, value in (spec.model_extra or {}).items() if value is not None}
    for name in (name for name in _LEFT_OUT if given.get(name)):
        reading.left_out[name] += len(given[name]) if isinstance(given[name], list | dict) else 1
    fields = {k: v for k, v in given.items() if k in CreateAgent.model_fields and k not in _LEFT_OUT | _OURS}
    _check_references(spec.block_ids or (), reading.blocks, f"{place}.block_ids")
    _check_references(spec.tool_ids or (), reading.tools, f"{place}.tool_ids")
    tools = [reading.tools[tool_id] for tool_id in spec.tool_ids or ()]
    fields |= {
        "name": choices.name or (f"{spec.name[: 100 - len(choices.suffix)]}{choices.suffix}" if spec.name else None),
        "block_ids": [reading.blocks[block_id].pk for block_id in spec.block_ids or ()],
        "tool_ids": [tool.pk for tool in tools if tool is not None],
        "include_base_tools": False,
        "include_base_tool_rules": False,
    }
    fields.pop("tool_exec_environment_variables", None)
    fields["secrets"] = _given_secrets(reading, given)
    return _with_model(reading, fields)


def _with_model(reading: Reading, fields: dict[str, Any]) -> dict[str, Any]:
    """The newer fields go before the deprecated configs; an embedding model that is not here is left out."""
    caller, choices = reading.caller, reading.choices
    if choices.model and choices.model != fields.get("model"):
        target = resolve(caller.organization_id, choices.model, caller.project_id or "")
        stored = fields.get("model_settings")
        settings = carried(stored if isinstance(stored, dict) else {}, target.info.provider_type)
        settings.pop("fallback_models", None)
        fields |= {"model": choices.model, "model_settings": settings or None}
    if fields.get("model"):
        fields.pop("llm_config", None)
    config = fields.pop("embedding_config", None)
    if choices.embedding:
        return fields | {"embedding": choices.embedding}
    named = _shaped(OldEmbeddingConfig, config, "embedding_config").named() if config else None
    handle = fields.get("embedding") or named
    if isinstance(handle, str) and handle:
        try:
            resolve(caller.organization_id, handle, caller.project_id or "")
        except BadInput:
            reading.left_out["embedding"] += 1
            return fields | {"embedding": None}
        fields["embedding"] = handle
    return fields


def _given_secrets(reading: Reading, given: Mapping[str, Any]) -> dict[str, str]:
    """Those of the file that have a value, and the importer's; a name without either is counted."""
    named: dict[str, Any] = {}
    for name in ("tool_exec_environment_variables", "secrets"):
        if isinstance(given.get(name), dict):
            named |= given[name]
    found = {**{name: value for name, value in named.items() if value}, **reading.choices.secrets}
    reading.left_out["secrets"] += len(set(named) - set(found))
    return found


def import_blocks(reading: Reading, file: AgentFile) -> None:
    """Those that an agent has; each once, so that agents that shared one share it again."""
    wanted = {block_id for agent in file.agents for block_id in agent.block_ids or ()}
    _check_unique((block.id for block in file.blocks), "blocks")
    for n, block in enumerate(file.blocks):
        if block.id not in wanted:
            reading.left_out["blocks"] += 1
            continue
        given = {name: value for name, value in block.model_dump().items() if value is not None}
        data = _shaped(CreateBlock, {**given, "project_id": None, "is_template": False}, f"blocks.{n}")
        reading.blocks[block.id] = with_place(f"blocks.{n}", actions.create_block, reading.caller, data)


def _find_tool(reading: Reading, tool: FileTool, place: str) -> None:
    """Base tools and those of MCP servers are found by their names; the organization's own are found or written."""
    if tool.id in reading.tools:
        raise Invalid(f"the id “{tool.id}” stands in it twice")
    rows = {row.organization_id: row for row in access.tools_of(reading.caller).filter(name=tool.name or "")}
    own = rows.get(reading.caller.organization_id)
    source = (tool.model_extra or {}).get("source_code")
    if tool.tool_type != ToolType.CUSTOM:
        found = own if tool.tool_type == ToolType.EXTERNAL_MCP else rows.get(None)  # type: ignore[call-overload]
        found = found if found is not None and found.tool_type == tool.tool_type else None
    elif own is not None and own.tool_type == ToolType.CUSTOM and not reading.choices.override_tools:
        found = own
    elif source:
        given = {name: value for name, value in tool.model_dump(exclude={"id"}).items() if value is not None}
        found = tool_changes.upsert_tool(reading.caller, _shaped(ToolCreate, given, place))
    else:
        found = None
    reading.tools[tool.id] = found
    reading.left_out["tools"] += found is None


def _check_references(ids: Iterable[str], known: Collection[str], place: str) -> None:
    for n, one in enumerate(ids):
        if one not in known:
            raise Invalid(f"{place}.{n}: “{one}” is not in the file.")


def _check_unique(ids: Iterable[str], place: str) -> None:
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise Invalid(f"{place}: the id “{twice[0]}” stands in it twice.")


def _secrets(text: str | None, place: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Invalid(f'{place}: not valid JSON. Send an object such as {{"TOKEN": "…"}}.') from None
    if not isinstance(found, dict) or not all(
        isinstance(value, str) and "\x00" not in value for value in found.values()
    ):
        raise Invalid(f'{place}: not an object of texts. Send one such as {{"TOKEN": "…"}}.')
    return found


def _shaped(shape: type[S], data: Any, place: str) -> S:
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        raise Invalid(
            "; ".join(_told(one, place) for one in error.errors(include_input=False)[:_SHOWN_ERRORS])
        ) from None


def _told(error: Any, place: str) -> str:
    """Without the value: it may be a secret."""
    at = ".".join(str(part) for part in error["loc"])
    return f"{'.'.join(part for part in (place, at) if part)}: {str(error['msg']).removeprefix('Value error, ')}"


def with_place(place: str, act: Any, *args: Any) -> Any:
    """A refusal of what the file says tells where it says it; a row that is not found is the file's mistake."""
    try:
        return act(*args)
    except AppError as error:
        message = error.message if error.message.startswith(place) else f"{place}: {error.message}"
        raise (Invalid if error.status == Invalid.status else BadInput)(message) from None


def _check_texts_and_depth(data: Any) -> None:
    level: Sequence[Any] = [data]
    for _ in range(MAX_DEPTH):
        if any(isinstance(value, str) and "\x00" in value for value in level):
            raise BadInput("A text in the file has the character U+0000, which cannot be stored.")
        parts = [value for value in level if isinstance(value, dict | list)]
        level = [item for part in parts for item in (part if isinstance(part, list) else [*part, *part.values()])]
        if not level:
            return
    raise BadInput(f"The file is nested more than {MAX_DEPTH} levels deep.")
