"""Agents as the wire shows them: rows, and what belongs to them, put together in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from agents.actions import AgentParts
from agents.models import Agent, AgentBlock, AgentTool, AgentVariable, Block, Tool
from agents.schemas.agents import AgentState, CompactionSettings, Memory
from agents.schemas.blocks import block_out
from agents.schemas.model_settings import complete
from agents.schemas.models import Reach, embedding_config, llm_config
from agents.schemas.tools import tool_out
from agents.threads import threads
from agents.tools.variables import load_variables, variable_out
from core.errors import AppError
from providers.catalog import ModelInfo, describe, preset_of
from providers.clients.base import Credential
from providers.entries import Asker
from providers.resolve import resolve
from providers.rules import usable

EVERYTHING = frozenset({"blocks", "tools", "tags", "pending_approval", "secrets"})


@dataclass(slots=True)
class _Beside:
    """What stands beside the rows, by agent id."""

    message_ids: dict[str, list[str]] = field(default_factory=dict)
    blocks: dict[str, list[Block]] = field(default_factory=lambda: defaultdict(list))
    tools: dict[str, list[Tool]] = field(default_factory=lambda: defaultdict(list))
    variables: dict[str, list[AgentVariable]] = field(default_factory=lambda: defaultdict(list))
    approvals: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: bool = False


def states_of(agents: Sequence[Agent], include: Set[str] = frozenset()) -> list[AgentState]:
    """At most six queries, however many agents. `include`: see EVERYTHING; secrets come without their values."""
    ids = [agent.pk for agent in agents]
    if not ids:
        return []
    beside = _Beside(tags="tags" in include, message_ids=threads().message_ids(ids))
    if "blocks" in include:
        _load_blocks(beside, ids)
    if "tools" in include:
        _load_tools(beside, ids)
    if "secrets" in include:
        for row in load_variables(ids):
            beside.variables[row.agent_id].append(row)
    if "pending_approval" in include:
        beside.approvals = threads().pending_approvals(ids)
    reached: dict[tuple[str, str], Reach] = {}
    return [_state(agent, beside, reached) for agent in agents]


def state_of(agent: Agent, include: Set[str] = EVERYTHING) -> AgentState:
    return states_of([agent], include)[0]


def new_state(made: AgentParts) -> AgentState:
    """Of an agent that was just made; asks the database nothing."""
    agent = made.agent
    beside = _Beside(tags=True, message_ids={agent.pk: list(made.message_ids or ())})
    beside.blocks[agent.pk] = list(made.blocks or ())
    beside.tools[agent.pk] = list(made.tools or ())
    beside.variables[agent.pk] = list(made.variables)
    return _state(agent, beside, {})


def reach(organization_id: str, handle: str) -> Reach:
    """A model and where it is reached; from the catalog alone where no provider offers it any more."""
    try:
        target = resolve(organization_id, handle)
    except AppError:
        return Reach(_remembered(handle))
    return Reach(target.info, _url(target.credential))


def endpoints(organization_id: str, found: Iterable[ModelInfo]) -> list[Reach]:
    """Listed models, each with the address of its provider."""
    urls = {entry.name: _url(entry.credential) for entry in usable(Asker(organization_id))}
    return [Reach(info, urls.get(info.provider_name)) for info in found]


def memory_of(agent: Agent, blocks: Iterable[Block]) -> Memory:
    return Memory(agent_type=agent.agent_type, blocks=[block_out(block) for block in blocks])


def _url(credential: Credential) -> str | None:
    return credential.base_url or preset_of(credential.provider_type).base_url


def _remembered(handle: str) -> ModelInfo:
    provider_name, _, model = handle.partition("/")
    info = describe(provider_name, model or handle)
    return ModelInfo(
        name=info.name,
        provider_type=info.provider_type,
        handle=handle,
        display_name=info.display_name,
        provider_name=provider_name,
        context_window=info.context_window,
        max_output_tokens=info.max_output_tokens,
        kind=info.kind,
        embedding_dim=info.embedding_dim,
    )


def _load_blocks(beside: _Beside, ids: Sequence[str]) -> None:
    for link in AgentBlock.objects.filter(agent_id__in=ids).select_related("block").order_by("attached_at", "id"):
        beside.blocks[link.agent_id].append(link.block)


def _load_tools(beside: _Beside, ids: Sequence[str]) -> None:
    for link in AgentTool.objects.filter(agent_id__in=ids).select_related("tool").order_by("attached_at", "id"):
        beside.tools[link.agent_id].append(link.tool)


def _state(agent: Agent, beside: _Beside, reached: dict[tuple[str, str], Reach]) -> AgentState:
    def at(handle: str) -> Reach:
        key = (agent.organization_id, handle)
        if key not in reached:
            reached[key] = reach(*key)
        return reached[key]

    model = at(agent.model)
    blocks = [block_out(block) for block in beside.blocks.get(agent.pk, ())]
    variables = [variable_out(row) for row in beside.variables.get(agent.pk, ())]
    config = llm_config(model, agent.model_settings, agent.context_window_limit)
    if agent.response_format is not None:
        config.response_format = agent.response_format
    return AgentState(
        created_by_id=agent.created_by_id,
        last_updated_by_id=agent.last_updated_by_id,
        created_at=agent.created_at,
        updated_at=agent.updated_at,
        id=agent.pk,
        name=agent.name,
        tool_rules=agent.tool_rules,
        message_ids=beside.message_ids.get(agent.pk, []),
        system=agent.system,
        agent_type=agent.agent_type,
        llm_config=config,
        embedding_config=embedding_config(at(agent.embedding)) if agent.embedding else None,
        model=agent.model,
        embedding=agent.embedding,
        model_settings=complete(agent.model_settings, model.info),
        compaction_settings=_compaction(agent),
        response_format=agent.response_format,
        description=agent.description,
        metadata=agent.metadata,
        memory=Memory(agent_type=agent.agent_type, blocks=blocks),
        blocks=blocks,
        tools=[tool_out(tool) for tool in beside.tools.get(agent.pk, ())],
        tags=agent.tags if beside.tags else [],
        tool_exec_environment_variables=variables,
        secrets=variables,
        project_id=agent.project_id,
        pending_approval=beside.approvals.get(agent.pk),
        message_buffer_autoclear=agent.message_buffer_autoclear,
        enable_sleeptime=agent.enable_sleeptime,
        last_run_completion=agent.last_run_completion,
        last_run_duration_ms=agent.last_run_duration_ms,
        last_stop_reason=agent.last_stop_reason,
        timezone=agent.timezone,
        max_files_open=agent.max_files_open,
        per_file_view_window_char_limit=agent.per_file_view_window_char_limit,
        approval_expires_s=agent.approval_expires_s,
        hidden=agent.hidden,
    )


def _compaction(agent: Agent) -> dict[str, Any]:
    stored = dict(agent.compaction_settings or {})
    shown = CompactionSettings.model_validate(stored).model_dump(exclude={"model_settings"})
    return shown | {"model": shown["model"] or agent.model, "model_settings": stored.get("model_settings")}
