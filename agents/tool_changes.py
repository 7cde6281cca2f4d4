"""What is done to an organization's own tools: made, changed, renamed, deleted; base tools are everybody's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from accounts.access import Caller
from accounts.audit import Deed, note
from agents import access, memory
from agents.models import Agent, AgentTool, Tool, ToolType
from agents.schemas.tools import ToolCreate, ToolUpdate
from agents.sources.derive import Written, function_schema
from agents.tools.packages import check_names, install_soon, packages_of
from core.errors import BadInput, Conflict, Invalid, NotFound, PermissionDenied

PLAIN = (
    "tags",
    "return_char_limit",
    "default_requires_approval",
    "approval_expires_s",
    "enable_parallel_execution",
    "pip_requirements",
    "npm_requirements",
)
_NEVER_NULL = frozenset({"tags", "return_char_limit", "enable_parallel_execution"})
_SOURCE = frozenset({"source_code", "source_type", "json_schema", "args_json_schema"})
_AUDITED = (
    "name",
    "tags",
    "return_char_limit",
    "default_requires_approval",
    "approval_expires_s",
    "pip_requirements",
    "npm_requirements",
    "network",
    "client",
)


@transaction.atomic
def upsert_tool(caller: Caller, data: ToolCreate, *, over: bool = True) -> Tool:
    """The tool of this name in the organization: made, or written anew where there is one already; what is not sent of
    an existing one stays. `over` False: a name that is taken is refused. Raises BadInput (the source, the name),
    Invalid, Conflict."""
    written = Written(
        source_code=data.source_code,
        source_type=data.source_type or "python",
        json_schema=data.json_schema,
        args_json_schema=data.args_json_schema,
        description=data.description,
    )
    columns, beside = _written_columns(written), _plain_columns(data)
    rows = Tool.objects.select_for_update(no_key=True, of=("self",))
    tool = rows.filter(organization_id=caller.organization_id, name=columns["name"]).first()
    if tool is not None:
        if not over or tool.tool_type != ToolType.CUSTOM:
            raise _taken(tool.name)
        return _save(caller, tool, {k: v for k, v in beside.items() if v is not None} | columns)
    tool = Tool(organization_id=caller.organization_id, project_id=caller.project_id, created_by_id=caller.user_id)
    return _save(caller, tool, beside | columns)


@transaction.atomic
def update_tool(caller: Caller, tool_id: str, data: ToolUpdate) -> Tool:
    """Changes only what was sent; a function of another name renames the tool, in the rules of its agents too. Raises
    BadInput (the source, a name that is taken), Invalid, NotFound, PermissionDenied (a base tool)."""
    tool = _own(caller, tool_id)
    columns = _plain_columns(data)
    sent = {name for name in _SOURCE & data.model_fields_set if getattr(data, name) is not None}
    if sent and tool.tool_type != ToolType.CUSTOM:
        raise BadInput(
            f"{tool.name} comes from its server ({tool.tool_type}): {', '.join(sorted(sent))} stay as they are."
        )
    if sent:
        columns |= _written_columns(
            Written(
                source_code=(tool.source_code or "") if data.source_code is None else data.source_code,
                source_type=data.source_type or tool.source_type or "python",
                json_schema=data.json_schema,
                args_json_schema=data.args_json_schema or tool.args_json_schema,
                description=data.description,
            )
        )
    elif data.description is not None:
        columns["description"] = data.description
        columns["json_schema"] = {**tool.json_schema, "description": data.description}
    return _save(caller, tool, columns)


@transaction.atomic
def delete_tool(caller: Caller, tool_id: str) -> None:
    """Its agents go on without it. Raises NotFound, PermissionDenied (a base tool)."""
    tool = _own(caller, tool_id)
    note(caller.organization_id, caller.actor_id, Deed(action="tool.delete", target=tool.pk, before=_told(tool)))
    memory.touch_prompt(_agent_ids(tool))
    tool.delete()


@transaction.atomic
def set_approval(caller: Caller, agent_id: str, tool_name: str, requires_approval: bool | None) -> None:
    """Whether a person must approve what the agent calls this tool with; None is refused. Raises NotFound, Invalid."""
    if requires_approval is None:
        raise Invalid("Send requires_approval: true or false.")
    access.check_agent(caller, agent_id)
    links = AgentTool.objects.filter(agent_id=agent_id, tool__name=tool_name)
    if not links.update(requires_approval=requires_approval):
        raise NotFound(f"Tool '{tool_name}' is not attached to agent {agent_id}: attach it first.")
    after = {"tool": tool_name, "requires_approval": requires_approval}
    note(caller.organization_id, caller.actor_id, Deed(action="tool.approval", target=agent_id, after=after))
    memory.touch_prompt([agent_id])


def _own(caller: Caller, tool_id: str) -> Tool:
    """Locked."""
    tool = access.tools_of(caller).select_for_update(no_key=True, of=("self",)).filter(pk=tool_id).first()
    if tool is None:
        raise NotFound(f"Tool with ID {tool_id} not found")
    if tool.organization_id is None:
        raise PermissionDenied(
            f"{tool.name} is a base tool, which all organizations share: make a tool of your own with this name, which "
            "goes before it."
        )
    return tool


def _written_columns(written: Written) -> dict[str, Any]:
    schema = function_schema(written)
    return {
        "name": schema["name"],
        "description": schema["description"],
        "json_schema": schema,
        "args_json_schema": dict(written.args_json_schema) if written.args_json_schema else None,
        "source_code": written.source_code,
        "source_type": written.source_type,
    }


def _plain_columns(data: ToolCreate | ToolUpdate) -> dict[str, Any]:
    given = data.model_dump(include=set(PLAIN), exclude_unset=True)
    columns = {name: value for name, value in given.items() if value is not None or name not in _NEVER_NULL}
    if "tags" in columns:
        columns["tags"] = list(dict.fromkeys(columns["tags"]))
    if data.metadata_ is not None:
        columns["metadata"] = data.metadata_
    check_names(given.get("pip_requirements"), given.get("npm_requirements"))
    return columns


def _save(caller: Caller, tool: Tool, columns: Mapping[str, Any]) -> Tool:
    made = tool._state.adding
    before, name = (None if made else _told(tool)), tool.name
    granted_for = _runs(tool)
    for column, value in columns.items():
        setattr(tool, column, value)
    if _runs(tool) != granted_for:
        tool.network = tool.client = False  # an administrator granted it to what was there then
    tool.last_updated_by_id = caller.user_id
    try:
        with transaction.atomic():
            tool.save()
    except IntegrityError:
        if made:
            raise Conflict(f"A tool called {tool.name} was made at the same moment: send it again.") from None
        raise _taken(tool.name) from None
    action = "tool.create" if made else "tool.update"
    deed = Deed(action=action, target=tool.pk, before=before, after=_told(tool))
    note(caller.organization_id, caller.actor_id, deed)
    if not made:
        _tell_agents(tool, name)
    if columns.keys() & {"pip_requirements", "npm_requirements", "source_type", "metadata"}:
        wanted = packages_of(tool.source_type, tool.pip_requirements, tool.npm_requirements)
        install_soon(wanted, tool.metadata)
    return tool


def _runs(tool: Tool) -> tuple[Any, ...]:
    where = (tool.metadata or {}).get("sandbox")
    return tool.source_code, tool.source_type, tool.pip_requirements, tool.npm_requirements, where


def _tell_agents(tool: Tool, old_name: str) -> None:
    """Their prompts and what they remember of their tools are made anew; a rename reaches their rules."""
    ids = _agent_ids(tool)
    memory.touch_prompt(ids)
    if tool.name == old_name:
        return
    agents = [agent for agent in Agent.objects.filter(pk__in=ids).only("tool_rules") if agent.tool_rules]
    for agent in agents:
        agent.tool_rules = [_renamed(rule, old_name, tool.name) for rule in agent.tool_rules]
    Agent.objects.bulk_update(agents, ["tool_rules"])


def _renamed(rule: Mapping[str, Any], old: str, new: str) -> dict[str, Any]:
    """A tool rule as the wire has it, wherever it names the tool."""

    def name(value: Any) -> Any:
        return new if value == old else value

    changed = dict(rule)
    for key in ("tool_name", "default_child"):
        if key in changed:
            changed[key] = name(changed[key])
    if changed.get("children"):
        changed["children"] = [name(child) for child in changed["children"]]
    if changed.get("child_output_mapping"):
        changed["child_output_mapping"] = {key: name(value) for key, value in changed["child_output_mapping"].items()}
    if changed.get("child_arg_nodes"):
        changed["child_arg_nodes"] = [{**node, "name": name(node.get("name"))} for node in changed["child_arg_nodes"]]
    return changed


def _agent_ids(tool: Tool) -> list[str]:
    return list(AgentTool.objects.filter(tool=tool).values_list("agent_id", flat=True))


def _told(tool: Tool) -> dict[str, Any]:
    """For the audit; of the source its digest, since a source may hold what an audit must not."""
    digest = hashlib.sha256((tool.source_code or "").encode()).hexdigest()
    return {**{name: getattr(tool, name) for name in _AUDITED}, "source_sha256": digest}


def _taken(name: str) -> BadInput:
    return BadInput(f"Another tool of this organization is called {name}: give the function another name.")
