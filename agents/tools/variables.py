"""What the variables of an agent's tools are: its secrets and tool variables, as its custom tools and MCP servers see
them."""

from __future__ import annotations


def variables_of(agent_id: str) -> dict[str, str]:
    """By name, in clear text: for a tool's process and nothing else."""
    return {}
