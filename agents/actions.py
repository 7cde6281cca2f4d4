"""What is done to agents: each action one function and one transaction, called by the API, the admin and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F

from accounts.access import Caller
from agents import access, memory
from agents.columns import changed_columns, new_columns, unique
from agents.memory import Actor, NewBlock
from agents.models import Agent, AgentBlock, AgentTool, AgentVariable, Block, RevisionActor, Tool
from agents.schemas.agents import CreateAgent, UpdateAgent
from agents.schemas.blocks import CreateBlock
from agents.threads import threads
from agents.tools.registry import default_tool_names
from agents.tools.variables import set_variables
from core.errors import Conflict, NotFound
from core.time import now

# Columns that a compiled system prompt shows.
_SHOWN = frozenset({"system", "tool_rules", "timezone", "agent_type"})


@dataclass(frozen=True, slots=True)
class AgentParts:
    """An agent with what an answer shows beside its row; None: not loaded."""

    agent: Agent
    blocks: Sequence[Block] | None = None
    tools: Sequence[Tool] | None = None
    message_ids: Sequence[str] | None = None
    variables: Sequence[AgentVariable] = ()


@transaction.atomic
def create_agent(caller: Caller, data: CreateAgent) -> AgentParts:
    """Raises BadInput (model), NotFound (a block, a tool, the project), Invalid, Conflict (labels)."""
    access.check_project(caller, data.project_id)
    tools = _tools_for(caller, data)
    names = [tool.name for tool in tools]
    agent = Agent.objects.create(
        organization_id=caller.organization_id,
        created_by_id=caller.user_id,
        last_updated_by_id=caller.user_id,
        project_id=data.project_id or caller.project_id,
        **new_columns(caller, data, names),
    )
    blocks = _blocks_for(caller, data)
    _check_labels(blocks)
    AgentBlock.objects.bulk_create([AgentBlock(agent=agent, block=block, label=block.label) for block in blocks])
    AgentTool.objects.bulk_create([AgentTool(agent=agent, tool=tool) for tool in tools])
    secrets = data.variables()
    variables = set_variables(caller, agent, secrets) if secrets else ()
    initial = data.initial_message_sequence
    first = None if initial is None else [message.model_dump() for message in initial]
    message_ids = threads().open_default(agent, blocks, first, caller)
    return AgentParts(agent, blocks, tools, message_ids, variables)


@transaction.atomic
def update_agent(caller: Caller, agent_id: str, data: UpdateAgent) -> Agent:
    """Changes only what was sent. Raises like `create_agent`."""
    agent = access.agents_of(caller).select_for_update(no_key=True, of=("self",)).filter(pk=agent_id).first()
    if agent is None:
        raise NotFound(f"Agent with ID {agent_id} not found")
    changes = changed_columns(caller, agent, data)
    if data.tool_ids is not None:
        set_tools(agent, access.get_tools(caller, data.tool_ids))
    if data.block_ids is not None:
        set_blocks(agent, access.get_blocks(caller, data.block_ids))
    if (secrets := data.variables()) is not None:
        set_variables(caller, agent, secrets)
    save_changes(agent, changes, caller)
    if data.message_ids is not None:
        threads().set_message_ids(agent, data.message_ids)
    agent.refresh_from_db(fields=["prompt_version", "updated_at"])
    return agent


def save_changes(agent: Agent, changes: Mapping[str, Any], caller: Caller) -> None:
    """Write columns of a locked agent; its prompt counts as changed where they stand in it."""
    for name, value in changes.items():
        setattr(agent, name, value)
    agent.last_updated_by_id = caller.user_id
    agent.save(update_fields=[*changes, "last_updated_by_id", "updated_at"])
    if _SHOWN & set(changes):
        memory.touch_prompt([agent.pk])


@transaction.atomic
def delete_agent(caller: Caller, agent_id: str) -> None:
    """The agent with its conversations, messages and runs. Its blocks and archives stay: others may have them; those
    that a conversation had to itself go."""
    agent = access.get_agent(caller, agent_id)
    memory.delete_own_blocks(agent.conversations.values("pk"))
    agent.delete()


def create_block(caller: Caller, data: CreateBlock) -> Block:
    access.check_project(caller, data.project_id)
    return memory.create_block(caller.organization_id, _new_block(data, caller), _actor(caller, "blocks.create"))


def change_block(caller: Caller, block_id: str, changes: Mapping[str, Any]) -> Block:
    access.check_project(caller, changes.get("project_id"))
    if "template_ids" in changes:
        stored = access.get_block(caller, block_id).template_ids
        changes = {**changes, "template_ids": {**stored, **changes["template_ids"]}}
    return memory.change_block(block_id, caller.organization_id, changes, _actor(caller, "blocks.update"))


def delete_block(caller: Caller, block_id: str) -> None:
    access.get_block(caller, block_id)
    memory.delete_block(block_id, caller.organization_id)


def attach_block(caller: Caller, agent_id: str, block_id: str) -> Agent:
    access.check_agent(caller, agent_id)
    memory.attach_blocks(agent_id, [access.get_block(caller, block_id)])
    return access.get_agent(caller, agent_id)


def detach_block(caller: Caller, agent_id: str, block_id: str) -> Agent:
    access.check_agent(caller, agent_id)
    access.get_block(caller, block_id)
    if not memory.detach_block(agent_id, block_id):
        raise NotFound(f"Block with ID {block_id} is not attached to agent {agent_id}")
    return access.get_agent(caller, agent_id)


def attach_tool(caller: Caller, agent_id: str, tool_id: str) -> None:
    """Attaching twice changes nothing."""
    agent, tool = access.get_agent(caller, agent_id), access.get_tool(caller, tool_id)
    AgentTool.objects.bulk_create([AgentTool(agent=agent, tool=tool)], ignore_conflicts=True)
    _changed(caller, agent.pk)


def detach_tool(caller: Caller, agent_id: str, tool_id: str) -> None:
    """Detaching what is not attached changes nothing."""
    agent, tool = access.get_agent(caller, agent_id), access.get_tool(caller, tool_id)
    AgentTool.objects.filter(agent=agent, tool=tool).delete()
    _changed(caller, agent.pk)


def set_tools(agent: Agent, tools: Sequence[Tool]) -> None:
    """Make these the agent's tools; those it keeps keep their settings."""
    kept = {tool.pk for tool in tools}
    AgentTool.objects.filter(agent=agent).exclude(tool_id__in=kept).delete()
    AgentTool.objects.bulk_create([AgentTool(agent=agent, tool=tool) for tool in tools], ignore_conflicts=True)
    memory.touch_prompt([agent.pk])


def set_blocks(agent: Agent, blocks: Sequence[Block]) -> None:
    """Make these the agent's blocks."""
    _check_labels(blocks)
    AgentBlock.objects.filter(agent=agent).exclude(block_id__in={block.pk for block in blocks}).delete()
    memory.attach_blocks(agent.pk, blocks)
    memory.touch_prompt([agent.pk])


def _changed(caller: Caller, agent_id: str) -> None:
    Agent.objects.filter(pk=agent_id).update(
        updated_at=now(), last_updated_by_id=caller.user_id, prompt_version=F("prompt_version") + 1
    )


def _tools_for(caller: Caller, data: CreateAgent) -> list[Tool]:
    """Base tools, then those by name, then those by id. One query for the names, one for the ids."""
    base = default_tool_names(data.agent_type, enable_sleeptime=bool(data.enable_sleeptime))
    names = base if data.include_base_tools else []
    names = list(dict.fromkeys([*names, *(data.tools or ())]))
    by_name: dict[str, Tool] = {}
    if names:
        for tool in access.tools_of(caller).filter(name__in=names):
            if tool.organization_id or tool.name not in by_name:
                by_name[tool.name] = tool
    missing = [name for name in names if name not in by_name]
    if missing:
        raise NotFound(f"No tool is called {', '.join(missing)} (GET /v1/tools/ lists them).")
    found = [by_name[name] for name in names] + access.get_tools(caller, data.tool_ids or [])
    return list({tool.pk: tool for tool in found}.values())


def _blocks_for(caller: Caller, data: CreateAgent) -> list[Block]:
    """New blocks, then existing ones."""
    given = data.memory_blocks or []
    for block in given:
        access.check_project(caller, block.project_id)
    new = [_new_block(block, caller) for block in given]
    made = memory.create_blocks(caller.organization_id, new, _actor(caller, "agents.create")) if new else []
    return [*made, *access.get_blocks(caller, data.block_ids or [])]


def _new_block(data: CreateBlock, caller: Caller) -> NewBlock:
    return NewBlock(
        label=data.label,
        value=data.value,
        description=data.description,
        limit=data.limit,
        read_only=data.read_only,
        metadata=data.metadata or {},
        tags=tuple(unique(data.tags)),
        hidden=data.hidden,
        project_id=data.project_id or caller.project_id,
        is_template=data.is_template,
        template_name=data.template_name,
        template_ids=data.template_ids(),
    )


def _check_labels(blocks: Sequence[Block]) -> None:
    seen: set[str] = set()
    for block in blocks:
        if block.label in seen:
            raise Conflict(f"Two blocks are labelled “{block.label}”: an agent has one block per label.")
        seen.add(block.label)


def _actor(caller: Caller, reason: str) -> Actor:
    return Actor(RevisionActor.API, caller.user_id, reason)
