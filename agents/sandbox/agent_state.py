"""What a tool with a parameter `agent_state` gets: the agent as the wire shows it, by attributes, and its memory.

It lives in the tool's own process. What the tool makes of memory is told to the server, which writes it with the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Shown:
    """The fields of an object, as attributes."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        vars(self).update(fields)

    def model_dump(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in vars(self).items() if not name.startswith("_")}


class Block(Shown):
    label: str
    value: str


class Memory(Shown):
    blocks: list[Block]

    def __init__(self, fields: Mapping[str, Any]) -> None:
        super().__init__({**fields, "blocks": [Block(block) for block in fields["blocks"]]})
        self._seen = {block.label: block.value for block in self.blocks}

    def get_blocks(self) -> list[Block]:
        return self.blocks

    def get_block(self, label: str) -> Block:
        for block in self.blocks:
            if block.label == label:
                return block
        raise KeyError(f"Block field {label} does not exist (available sections = {', '.join(self._seen)})")

    def list_block_labels(self) -> list[str]:
        return [block.label for block in self.blocks]

    def update_block_value(self, label: str, value: str) -> None:
        if not isinstance(value, str):
            raise ValueError("The value of a block must be a string")
        self.get_block(label).value = value

    def changes(self) -> dict[str, str]:
        """By label; a block that the tool put there itself is none of the agent's."""
        values = ((block.label, block.value) for block in self.blocks)
        return {label: value for label, value in values if label in self._seen and value != self._seen[label]}


class AgentState(Shown):
    memory: Memory

    def __init__(self, fields: Mapping[str, Any]) -> None:
        configs = {name: Shown(fields[name]) for name in ("llm_config", "embedding_config") if fields.get(name)}
        memory = Memory(fields["memory"])
        super().__init__({**fields, **configs, "memory": memory, "blocks": memory.blocks})


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if isinstance(value, Shown) else value
