"""What an agent's name says to the rooms that limit it: its project, its model, the provider's key."""

from __future__ import annotations

from dataclasses import replace

from agents.models import Agent
from budgets.facts import Facts
from core.errors import BadInput
from core.ids import is_id
from providers.resolve import resolve


def complete(facts: Facts) -> Facts:
    """The facts of an agent that are not given; what names no agent of the organization stays as it is."""
    agent = None
    if is_id("agent", facts.agent_id):
        mine = Agent.objects.filter(organization_id=facts.organization_id, pk=facts.agent_id)
        agent = mine.only("model", "project_id").first()
    if agent is None:
        return facts
    facts = replace(facts, project_id=facts.project_id or agent.project_id or "", model=facts.model or agent.model)
    if facts.provider_key:
        return facts
    try:
        target = resolve(facts.organization_id, facts.model, facts.project_id, facts.end_user)
    except BadInput:  # its model is gone; the rules about the agent hold all the same
        return facts
    return replace(facts, provider_key=target.provider_id or target.info.provider_name)
