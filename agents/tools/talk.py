"""Tools that end a turn: the old agent types' way to answer, and the end of a memory edit."""

from __future__ import annotations

from agents.tools.base import Args, ToolContext


def send_message(context: ToolContext, args: Args, prepared: object) -> str:
    """The message itself is in the call; the return only confirms it."""
    return "Sent message successfully."


def memory_finish_edits(context: ToolContext, args: Args, prepared: object) -> str:
    return "Memory edits finished."
