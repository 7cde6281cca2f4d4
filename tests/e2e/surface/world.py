"""What every call of the SDK finds on the live server: an agent that has talked, used a tool and remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from letta_client import Letta

from tests.support.live import EMBEDDING, MODEL, Live, wait_for

Scenario = Callable[["World"], Any]
SCENARIOS: dict[str, Scenario] = {}

GREETING = '''
def greet(name: str) -> str:
    """Greet somebody.

    Args:
        name: whom to greet
    """
    return "Hello, " + name
'''


def calls(method: str) -> Callable[[Scenario], Scenario]:
    """Marks a function as the scenario of an SDK method: it calls it, looks at what it asked for, and gives it back."""

    def register(scenario: Scenario) -> Scenario:
        assert method not in SCENARIOS, f"{method} has two scenarios"
        SCENARIOS[method] = scenario
        return scenario

    return register


@dataclass
class World:
    live: Live
    client: Letta
    mcp_url: str

    def new_agent(self, **more: Any) -> Any:
        return self.client.agents.create(
            **{
                "name": "surface",
                "model": MODEL,
                "embedding": EMBEDDING,
                "memory_blocks": [{"label": "human", "value": "Name: ?"}, {"label": "persona", "value": "I am brief."}],
                "tools": ["memory_insert", "archival_memory_search"],
                "tags": ["surface"],
                **more,
            }
        )

    def new_tool(self, name: str) -> Any:
        return self.client.tools.upsert(source_code=GREETING.replace("greet", name))

    def say(self, script: str, agent_id: str = "", **more: Any) -> Any:
        return self.client.agents.messages.create(agent_id or self.agent.id, input=f"[[{script}]]", **more)

    @cached_property
    def agent(self) -> Any:
        return self.new_agent()

    @cached_property
    def turn(self) -> Any:
        """A finished turn of two steps, whose first called a tool."""
        return self.say('tool memory_insert {"label": "human", "new_string": "Likes tea."} then say noted')

    @property
    def run_id(self) -> str:
        return str(self.turn.messages[0].run_id)

    @property
    def step_id(self) -> str:
        return str(self.turn.messages[0].step_id)

    def conversation(self) -> Any:
        """A new one with a turn in it."""
        made = self.client.conversations.create(agent_id=self.agent.id)
        list(self.client.conversations.messages.create(made.id, input="[[say in a thread]]"))
        return made

    def running(self) -> Any:
        """A run whose model does not answer for as long as anybody looks, on an agent of its own."""
        run = self.client.agents.messages.create_async(self.new_agent().id, input="[[hang 20 then say late]]")
        wait_for(lambda: self.client.runs.retrieve(run.id).status == "running", 30)
        return run
