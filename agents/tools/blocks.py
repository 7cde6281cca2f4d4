"""Tools with which an agent edits its memory blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from agents import memory
from agents.models import Block, RevisionActor
from agents.prompts import sentences
from agents.tools.base import Args, ToolContext, ToolError

_LINE_NUMBER = re.compile(r"^\s*\d+→", re.MULTILINE)


def memory_insert(context: ToolContext, args: Args, prepared: object) -> str:
    new = _without_line_numbers(args["new_string"], "new_string")
    at = args.get("insert_line", -1)

    def edit(block: Block) -> str:
        lines = block.value.split("\n") if block.value else []
        if not -1 <= at <= len(lines):
            raise ToolError(
                f"insert_line is {at}, but block {block.label} has {len(lines)} lines: use 0 for its start, a line's "
                "number for the place after it, or -1 for its end."
            )
        where = len(lines) if at == -1 else at
        return "\n".join([*lines[:where], new, *lines[where:]])

    return _edit(context, "memory_insert", args["label"], edit)


def memory_replace(context: ToolContext, args: Args, prepared: object) -> str:
    old = _without_line_numbers(args["old_string"], "old_string")
    new = _without_line_numbers(args["new_string"], "new_string")
    if not old:
        raise ToolError("old_string is empty: give the text to replace, or add text with memory_insert.")

    def edit(block: Block) -> str:
        count = block.value.count(old)
        if not count:
            raise ToolError(
                f"old_string does not occur in block {block.label}: it must match exactly, spaces and line breaks "
                "included."
            )
        if count > 1:
            raise ToolError(
                f"old_string occurs {count} times in block {block.label} (in lines {_lines(block.value, old)}): "
                "include more of the text around it, so that it occurs once."
            )
        return block.value.replace(old, new)

    return _edit(context, "memory_replace", args["label"], edit)


def memory_rethink(context: ToolContext, args: Args, prepared: object) -> str:
    new = _without_line_numbers(args["new_memory"], "new_memory")
    if _block(context, args["label"]) is None:
        block = memory.create_block(
            context.organization_id,
            memory.NewBlock(label=args["label"], value=new),
            _actor(context, "memory_rethink"),
        )
        memory.attach_blocks(context.agent_id, [block])
        return block.value
    return _edit(context, "memory_rethink", args["label"], lambda block: new)


def core_memory_append(context: ToolContext, args: Args, prepared: object) -> str:
    new = args["content"]
    return _edit(
        context,
        "core_memory_append",
        args["label"],
        lambda block: f"{block.value}\n{new}" if block.value else new,
    )


def core_memory_replace(context: ToolContext, args: Args, prepared: object) -> str:
    old = args["old_content"]

    def edit(block: Block) -> str:
        if not old or old not in block.value:
            raise ToolError(f"old_content does not occur in block {block.label}: it must match exactly.")
        return block.value.replace(old, args["new_content"])

    return _edit(context, "core_memory_replace", args["label"], edit)


def write_changes(context: ToolContext, tool: str, changes: Mapping[str, Sequence[str]]) -> None:
    """What a tool made of the blocks that it was shown: by label, (what it saw, what it wants)."""

    def edit(seen: str, wanted: str) -> Callable[[Block], str]:
        def changed(block: Block) -> str:
            if block.value != seen:
                raise ToolError(f"block {block.label} was changed by somebody else while the tool ran")
            return wanted

        return changed

    for label, (seen, wanted) in sorted(changes.items()):
        _edit(context, tool, label, edit(seen, wanted))


def _edit(context: ToolContext, tool: str, label: str, edit: Callable[[Block], str]) -> str:
    """The block's new value."""
    block = _block(context, label)
    if block is None:
        labels = ", ".join(memory.labels_in(context.agent_id, context.conversation_id)) or "none"
        raise ToolError(f"Block field {label} does not exist (available sections = {labels})")
    if block.read_only:
        raise ToolError(f"Block {label} is read-only: it cannot be changed.")
    return memory.write_locked(block, {"value": edit(block)}, _actor(context, tool)).value


def _block(context: ToolContext, label: str) -> Block | None:
    return memory.block_for_update(context.agent_id, context.conversation_id, label)


def _actor(context: ToolContext, tool: str) -> memory.Actor:
    return memory.Actor(RevisionActor.AGENT, context.agent_id, tool, context.run_id, context.step_id)


def _without_line_numbers(text: str, argument: str) -> str:
    if _LINE_NUMBER.search(text):
        raise ToolError(f"{argument} contains line number prefixes (“1→ ”): leave them out, they are not in the text.")
    if sentences("memory")["line_numbers"] in text:
        raise ToolError(f"{argument} contains the notice about line numbers: leave it out, it is not in the text.")
    return text


def _lines(value: str, part: str) -> str:
    found, start = [], value.find(part)
    while start >= 0:
        found.append(str(value.count("\n", 0, start) + 1))
        start = value.find(part, start + len(part))
    return ", ".join(dict.fromkeys(found))
