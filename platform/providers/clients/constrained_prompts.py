"""The short prompts of constrained mode: what is asked of a small model, one step at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from providers.types import ImagePart, Message, TextPart, ToolReturn, ToolSpec

_DATA = Path(__file__).parents[1] / "data" / "constrained.json"
_RESULT_LIMIT = 1500
_BLOCK = re.compile(r"<([\w/-]+)>\s*<description>.*?<value>\n?(.*?)\n?</value>\s*</\1>", re.DOTALL)
_LINE_LIMIT = 40


@cache
def data() -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(_DATA.read_bytes())
    return found


def is_memory_writer(name: str) -> bool:
    return name in data()["memory_writers"]


def is_searcher(name: str) -> bool:
    return name in data()["searchers"]


def fact_field(tool: ToolSpec) -> str | None:
    """The parameter of a memory tool that holds what is saved."""
    known = tool.parameters.get("properties") or {}
    return next((name for name in data()["fact_fields"] if name in known), None)


def schema_format(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def _message(role: Any, text: str) -> Message:
    return Message(role, (TextPart(text),))


def _first_sentence(text: str) -> str:
    return text.strip().split("\n", 1)[0].split(". ", 1)[0].strip().rstrip(".")


def gate(text: str, tools: Sequence[ToolSpec], *, can_save: bool) -> tuple[Message, ...]:
    """A few examples, the same in each call so that the server's prefix cache keeps them, then the message."""
    listed = "\n".join(f"- {tool.name}: {_first_sentence(tool.description)}" for tool in tools)
    prompt = data()["gate"]
    saver = next((tool.name for tool in tools if is_memory_writer(tool.name)), "")
    messages = [_message("system", prompt["system"].replace("{tools}", listed))]
    for said, action in prompt["memory_shots"] if can_save and saver else ():
        chosen = saver if action == "SAVE" else action
        messages += [_message("user", said), _message("assistant", json.dumps({"action": chosen}))]
    return (*messages, _message("user", text))


def fact(text: str) -> tuple[Message, ...]:
    prompt = data()["fact"]
    messages = [_message("system", prompt["system"])]
    for said, sentence in prompt["shots"]:
        messages += [_message("user", said), _message("assistant", json.dumps({"fact": sentence}))]
    return (*messages, _message("user", text))


def note(kind: str, **values: str) -> str:
    text: str = data()["notes"][kind]
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _told(made: ToolReturn) -> str:
    kind = "failed" if made.is_error else "returned"
    return note(kind, name=made.name, content=made.content[:_RESULT_LIMIT])


def flattened(messages: Sequence[Message], ending: str = "") -> tuple[Message, ...]:
    """A conversation that any chat template takes: one system prompt, then user and assistant in turn.

    Calls are left out; what they returned is told to the user's message before, except what only confirms a save.
    `ending` is added to the last user message, behind all that the prefix cache holds.
    """
    system = "\n\n".join(message.text for message in messages if message.role == "system" and message.text)
    turns: list[tuple[str, str, tuple[ImagePart, ...]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        text, images = message.text, tuple(p for p in message.content if isinstance(p, ImagePart))
        if message.role == "tool":
            told = (made for made in message.tool_returns if made.is_error or not is_memory_writer(made.name))
            text = "\n\n".join(_told(made) for made in told)
        if not text and not images:
            continue
        if turns and turns[-1][0] == role:
            before = turns.pop()
            text, images = f"{before[1]}\n\n{text}" if before[1] else text, (*before[2], *images)
        turns.append((role, text, images))
    if not turns or turns[0][0] == "assistant":
        turns.insert(0, ("user", "(The conversation goes on.)", ()))
    if ending:
        turns = _with_ending(turns, ending)
    made = [
        Message("user" if role == "user" else "assistant", (*images, TextPart(text))) for role, text, images in turns
    ]
    return (_message("system", system), *made) if system else tuple(made)


def _with_ending(turns: list[Any], ending: str) -> list[Any]:
    role, text, images = turns[-1]
    if role == "assistant":
        return [*turns, ("user", ending, ())]
    return [*turns[:-1], (role, f"{text}\n\n{ending}" if text else ending, images)]


def memory_blocks(messages: Sequence[Message]) -> dict[str, list[str]]:
    """The lines of each memory block in the system prompt, by label."""
    system = "\n".join(message.text for message in messages if message.role == "system")
    return {
        label: [line.strip() for line in value.split("\n") if line.strip()][:_LINE_LIMIT]
        for label, value in _BLOCK.findall(system)
    }
