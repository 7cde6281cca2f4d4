"""Makes another agent like one that is there: what a file of it would make, without the way through a file."""

from __future__ import annotations

from django.db import transaction

from accounts.access import Caller
from accounts.audit import Deed, note
from agents import access
from agents.exporting import export_agent
from agents.importing import SUFFIX, Choices, Reading, import_blocks, make_agent
from agents.models import Agent, AgentBlock, AgentTool
from agents.schemas.agent_files import AgentFile, CloneAgent
from agents.tools.variables import variables_of


@transaction.atomic
def clone_agent(caller: Caller, agent_id: str, data: CloneAgent) -> Agent:
    """With the same tools, and the messages of its default conversation; its archival memory and its other
    conversations stay with the first. Raises NotFound, BadInput (the model)."""
    source = access.get_agent(caller, agent_id)
    file = AgentFile.model_validate(export_agent(source, messages=data.with_messages, passages=False))
    choices = Choices(
        name=data.name,
        suffix=SUFFIX,
        model=data.model,
        secrets=variables_of(source.pk) if data.copy_secrets else {},
        messages=data.with_messages,
    )
    reading = Reading(caller, choices)
    links = AgentTool.objects.filter(agent=source).select_related("tool").order_by("attached_at", "id")
    reading.tools = {f"tool-{n}": link.tool for n, link in enumerate(links)}
    if data.copy_blocks:
        import_blocks(reading, file)
    else:
        shared = AgentBlock.objects.filter(agent=source).select_related("block").order_by("attached_at", "id")
        reading.blocks = {f"block-{n}": link.block for n, link in enumerate(shared)}
    made = make_agent(reading, file.agents[0], "agent")
    if source.project_id != made.project_id:
        Agent.objects.filter(pk=made.pk).update(project_id=source.project_id)
        made.project_id = source.project_id
    after = data.model_dump() | {"from": source.pk, "name": made.name}
    note(caller.organization_id, caller.actor_id, Deed(action="agent.clone", target=made.pk, after=after))
    return made
