"""No request that the API's description allows, and none that it forbids, gets an answer that it does not tell of."""

from __future__ import annotations

import os

import httpx
import pytest

from tests.e2e.surface.world import World
from tests.support.fuzz import Fuzz, Ids
from tests.support.live import Live

# Longer: make fuzz
MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
EXAMPLES = 2


def rows_of(world: World) -> Ids:
    conversation = world.conversation()
    agent = world.new_agent(name="fuzzed")
    message = world.turn.messages[0]
    return {
        "agent_id": agent.id,
        "conversation_id": conversation.id,
        "block_id": agent.memory.blocks[0].id,
        "block_label": "human",
        "tool_id": world.new_tool("greet_fuzzed").id,
        "tool_name": "memory_insert",
        "run_id": world.run_id,
        "step_id": world.step_id,
        "message_id": message.id,
    }


@pytest.mark.timeout(300 + 60 * MINUTES)
def test_every_answer_is_one_that_the_description_tells_of(live: Live) -> None:
    document = httpx.get(f"{live.url}/v1/openapi.json").raise_for_status().json()
    world = World(live, live.client(), "")
    fuzz = Fuzz(document, live.url, live.key, lambda: rows_of(world))

    fuzz.run(EXAMPLES, seed=1)
    if MINUTES:
        fuzz.run_for(MINUTES)

    assert not fuzz.failures, fuzz.report()
