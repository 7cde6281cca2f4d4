"""Agents that share blocks edit them at the same time: nobody waits for ever, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from django.db import connections, transaction

from accounts.models import Organization
from agents import memory
from agents.memory import Actor, NewBlock
from agents.models import Agent, Block, BlockRevision, RevisionActor
from agents.tools import execute, registry
from agents.tools.base import ToolContext
from core.ids import new_id
from providers.types import ToolCall

ROUNDS = 25
T = TypeVar("T")


def elsewhere(do: Callable[[], T]) -> T:
    """On a connection of its own, whose work is committed: the test's own connection never commits."""

    def closing() -> T:
        try:
            return do()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(closing).result()


@pytest.fixture
def committed(db: None) -> Iterator[Organization]:
    organization = elsewhere(lambda: Organization.objects.create(name="Shared"))
    yield organization
    elsewhere(organization.delete)


def share(organization: Organization) -> list[Agent]:
    """Two agents that share the blocks a and b."""
    actor = Actor(RevisionActor.API)
    blocks = memory.create_blocks(organization.pk, [NewBlock(label=label) for label in ("a", "b")], actor)
    agents = [Agent.objects.create(organization=organization, name=name, model="scripted/any") for name in ("x", "y")]
    for agent in agents:
        memory.attach_blocks(agent.pk, blocks)
    return agents


def step(agent_id: str, organization_id: str, labels: tuple[str, ...], text: str) -> list[bool]:
    tool = registry.BASE_TOOLS["memory_insert"]
    row = {"json_schema": tool.schema, "tool_type": str(tool.tool_type), "return_char_limit": 50_000}
    calls = [ToolCall(label, tool.name, json.dumps({"label": label, "new_string": text})) for label in labels]
    context = ToolContext(
        organization_id=organization_id, agent_id=agent_id, conversation_id=new_id("conv"), now=datetime.now(UTC)
    )
    planned = execute.plan(calls, execute.Offer(tools={tool.name: row}), context)
    with transaction.atomic():
        return [item["is_error"] for item in execute.apply(planned)]


def test_two_agents_that_edit_two_shared_blocks_in_opposite_order_both_get_through(committed):
    agents = elsewhere(lambda: share(committed))

    def work(agent: Agent, labels: tuple[str, ...]) -> list[bool]:
        rounds = (step(agent.pk, committed.pk, labels, f"{agent.name}{n}") for n in range(ROUNDS))
        return elsewhere(lambda: [failed for returned in rounds for failed in returned])

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(work, agents, [("a", "b"), ("b", "a")]))
    assert results == [[False] * 2 * ROUNDS] * 2
    for block in Block.objects.filter(organization=committed):
        lines = block.value.split("\n")
        assert sorted(lines) == sorted(f"{name}{n}" for name in "xy" for n in range(ROUNDS))
        assert block.version == 1 + 2 * ROUNDS
        assert BlockRevision.objects.filter(block=block).count() == block.version
    assert set(Agent.objects.filter(organization=committed).values_list("prompt_version", flat=True)) == {
        2 + 4 * ROUNDS
    }
