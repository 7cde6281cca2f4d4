"""From a request to an agent's columns: handles resolved, old spellings folded in, defaults filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings

from accounts.access import Caller
from agents import access, failover
from agents.models import Agent
from agents.prompts import default_system
from agents.reasoning import asks_reasoning, reasoning_settings
from agents.schemas.agents import CreateAgent, UpdateAgent
from agents.schemas.model_settings import carried, refuse_other_type
from agents.tools.registry import default_tool_rules
from core.errors import BadInput, Invalid
from providers.resolve import ResolvedModel, resolve

_PLAIN = (
    "name",
    "description",
    "metadata",
    "system",
    "context_window_limit",
    "message_buffer_autoclear",
    "hidden",
    "enable_sleeptime",
    "max_files_open",
    "per_file_view_window_char_limit",
    "approval_expires_s",
    "last_run_completion",
    "last_run_duration_ms",
    "last_stop_reason",
)
_NEVER_NULL = frozenset({"name", "system", "message_buffer_autoclear", "tags", "timezone"})


def new_columns(caller: Caller, data: CreateAgent, tool_names: Sequence[str]) -> dict[str, Any]:
    target = _model(caller, data)
    if target is None:
        raise BadInput("Name a model: send `model` as provider/model (GET /v1/models/ lists them).")
    settings_sent = _settings(caller, data, target)
    refuse_other_type(settings_sent, target.info)
    rules = _rules(data)
    if data.include_base_tool_rules is not False:
        own = {rule["tool_name"] for rule in rules}
        rules += [rule for rule in default_tool_rules(data.agent_type, tool_names) if rule["tool_name"] not in own]
    columns = {name: getattr(data, name) for name in _PLAIN if name in data.model_fields_set and hasattr(data, name)}
    return {
        **columns,
        "name": data.name or f"{target.model.rsplit('/', 1)[-1]} agent"[:100],
        "agent_type": data.agent_type,
        "system": default_system(data.agent_type) if data.system is None else data.system,
        "model": target.info.handle,
        "model_settings": settings_sent,
        "context_window_limit": data.context_window_limit or (data.llm_config and data.llm_config.context_window),
        "embedding": _embedding(caller, data) or settings.DEFAULT_EMBEDDING or None,
        "compaction_settings": _compaction(data),
        "response_format": _response_format(data),
        "tool_rules": rules,
        "tags": unique(data.tags),
        "timezone": _timezone(data.timezone or "UTC"),
    }


def changed_columns(caller: Caller, agent: Agent, data: UpdateAgent) -> dict[str, Any]:
    sent = data.model_fields_set
    changes = {name: getattr(data, name) for name in _PLAIN if name in sent}
    if "project_id" in sent:
        access.check_project(caller, data.project_id)
        changes["project_id"] = data.project_id
    changes |= _changed_model(caller, agent, data)
    if "compaction_settings" in sent:
        changes["compaction_settings"] = _compaction(data)
    if "response_format" in sent:
        changes["response_format"] = _response_format(data)
    if data.tool_rules is not None:
        changes["tool_rules"] = _rules(data)
    if data.tags is not None:
        changes["tags"] = unique(data.tags)
    if data.timezone is not None:
        changes["timezone"] = _timezone(data.timezone)
    return {name: value for name, value in changes.items() if value is not None or name not in _NEVER_NULL}


def _changed_model(caller: Caller, agent: Agent, data: UpdateAgent) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if data.model or data.llm_config:
        target = _model(caller, data)
        changes |= {"model": target.info.handle} if target else {}
    if data.llm_config and data.llm_config.context_window:
        changes["context_window_limit"] = data.llm_config.context_window
    used = None
    if "model" in changes or asks_reasoning(data) or (data.model_settings and data.model_settings.provider_type):
        used = resolve(agent.organization_id, changes.get("model") or agent.model, caller.project_id or "")
    stored, sent = agent.model_settings, _settings(caller, data, used)
    if used is not None:
        target = used
        refuse_other_type(sent, target.info)
        stored = carried(stored, target.info.provider_type) if "model" in changes else stored
    if sent or stored is not agent.model_settings:
        changes["model_settings"] = _merged(stored, sent)
    if handle := _embedding(caller, data):
        changes["embedding"] = handle
    return changes


def _model(caller: Caller, data: CreateAgent | UpdateAgent) -> ResolvedModel | None:
    handle = data.model or (data.llm_config.named() if data.llm_config else None) or settings.DEFAULT_MODEL
    if not handle:
        return None
    target = resolve(caller.organization_id, handle, caller.project_id or "")
    if target.info.kind != "llm":
        raise BadInput(f"{handle} is an embedding model: an agent thinks with a language model.")
    return target


def _embedding(caller: Caller, data: CreateAgent | UpdateAgent) -> str | None:
    handle = data.embedding or (data.embedding_config.named() if data.embedding_config else None)
    if not handle:
        return None
    target = resolve(caller.organization_id, handle, caller.project_id or "")
    if target.info.kind != "embedding":
        raise BadInput(f"{handle} is no embedding model (GET /v1/models/embedding lists them).")
    return target.info.handle


def _settings(caller: Caller, data: CreateAgent | UpdateAgent, target: ResolvedModel | None) -> dict[str, Any]:
    """What was set of the model's settings, in the deprecated spellings too. `target` None: none is about thinking."""
    found = data.model_settings.sparse() if data.model_settings else {}
    failover.check(caller.organization_id, found, caller.project_id or "")
    old = data.llm_config
    spelled: dict[str, Any] = {
        "max_output_tokens": data.max_tokens or (old and old.max_tokens),
        "temperature": old and old.temperature,
        "parallel_tool_calls": data.parallel_tool_calls,
    }
    if target is not None:
        spelled |= reasoning_settings(data, target.info)
    return {name: value for name, value in spelled.items() if value is not None} | found


def _merged(stored: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of another provider type replace the stored ones, others are laid over them."""
    other = sent.get("provider_type", stored.get("provider_type")) != stored.get("provider_type")
    return dict(sent) if other and stored.get("provider_type") else {**stored, **sent}


def _rules(data: CreateAgent | UpdateAgent) -> list[dict[str, Any]]:
    return [rule.model_dump(mode="json") for rule in data.tool_rules or ()]


def _compaction(data: CreateAgent | UpdateAgent) -> dict[str, Any] | None:
    given = data.compaction_settings
    return None if given is None else given.model_dump(exclude_unset=True)


def _response_format(data: CreateAgent | UpdateAgent) -> dict[str, Any] | None:
    given = data.response_format or (data.llm_config.response_format if data.llm_config else None)
    return None if given is None else given.model_dump()


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"timezone: “{name}” is no time zone of the IANA list, such as Europe/Zurich.") from None
    return name


def unique(tags: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys(tags or ()))
