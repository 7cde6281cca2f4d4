"""Custom tools: a tenant's own source, run in the sandbox when a model calls it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents import memory, states
from agents.models import Agent, ToolType
from agents.sandbox.base import Call
from agents.sandbox.configured import chosen_by, sandbox
from agents.sources.typescript import argument_order
from agents.tools.base import Args, ToolContext, ToolError
from agents.tools.external import ExternalReturn, ExternalTool, ToolRow
from agents.tools.server_client import VARIABLES, may_call_server, packages_with_client, server_for, takes_client
from agents.tools.source_runs import language_of, printed, told
from agents.tools.variables import variables_of


def run_custom(context: ToolContext, tool: ToolRow, args: Args) -> ExternalReturn:
    source = tool["source_code"]
    if not source:
        raise ToolError("this tool has no source code: its owner must give it some")
    client = takes_client(tool, args)
    state = _state(context) if "agent_state" in source else None
    call = Call(
        source=source,
        function=_function(tool["name"], source),
        args=args,
        language=language_of(tool["source_type"]),
        order=_order(tool, source),
        variables=_variables(context, tool),
        requirements=packages_with_client(tool).names,
        state=state,
        network=tool["network"],
        wall_s=tool["timeout_s"],
        client=client,
    )
    with server_for(context, tool) as server:
        outcome = sandbox(chosen_by(tool["metadata"])).run(replace(call, server=server), context.abandoned)
    stdout, stderr = printed(outcome)
    return ExternalReturn(
        content=told(outcome),
        is_error=outcome.failure is not None,
        stdout=stdout or None,
        stderr=stderr or None,
        edits=_edits(state, outcome.memory),
        value=outcome.value,
    )


def _state(context: ToolContext) -> dict[str, Any]:
    """The agent as its tools see it: with the memory that is in view in the conversation, and without what is long and
    said elsewhere."""
    agent = Agent.objects.get(pk=context.agent_id, organization_id=context.organization_id)
    state = states.state_of(agent, frozenset({"tags"}))
    state.memory = states.memory_of(agent, memory.blocks_in(agent.pk, context.conversation_id))
    state.blocks = state.memory.blocks
    return state.model_dump(mode="json")


def _function(name: str, source: str) -> str | None:
    """The one that the tool is named after, where the source has it; else its last one."""
    return name if re.search(rf"^(export +)?(async +)?(def|function) +{re.escape(name)}\b", source, re.M) else None


def _order(tool: ToolRow, source: str) -> tuple[str, ...]:
    """Read from the source: the stored schema has forgotten it, since jsonb sorts its keys."""
    if tool["source_type"] != "typescript":
        return ()
    properties = (tool["json_schema"].get("parameters") or {}).get("properties") or {}
    return argument_order(source, tool["name"], otherwise=properties)


def _variables(context: ToolContext, tool: ToolRow) -> dict[str, str]:
    project_id = context.model_calls.project_id if context.model_calls else ""
    own = {"LETTA_AGENT_ID": context.agent_id, "LETTA_TOOL_ID": tool["id"]}
    if project_id:
        own |= {"LETTA_PROJECT_ID": project_id, "PROJECT_ID": project_id}
    secrets = variables_of(context.agent_id)
    if may_call_server(tool):  # those of old say where the client was to be found, and with what key
        secrets = {name: value for name, value in secrets.items() if name not in VARIABLES}
    return {**secrets, **own}


def _edits(state: Mapping[str, Any] | None, memory: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    if state is None:
        return {}
    seen = {block["label"]: block["value"] for block in state["memory"]["blocks"]}
    return {label: (seen[label], value) for label, value in memory.items() if value != seen[label]}


def leaves_nothing(tool: ToolRow) -> bool:
    """What a sandbox without a way out has done is gone with it."""
    return not tool["network"] and not may_call_server(tool)


CUSTOM = ExternalTool(ToolType.CUSTOM, run_custom, leaves_nothing)
