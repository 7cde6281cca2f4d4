"""What small and local models put into their text: thinking in tags, and tool calls written out as JSON.

A `TextGate` lets plain text through as it comes and holds back only what may still turn out to be a call. A held text
becomes a call only if it names an offered tool and its arguments fit; otherwise it is given out as the text it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

import orjson

from providers.clients.schema_check import fits
from providers.types import ToolSpec

_OPEN, _CLOSE, _CALL = "<think>", "</think>", "<tool_call>"
_CALL_STARTS = ('{"', '[{"', "```json", "```tool_call", '```{"', '```[{"', _CALL)
_BLOCK = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", re.DOTALL)
_FENCE = re.compile(r"^```[a-z_]*\s*(.*?)\s*(?:```)?\s*$", re.DOTALL)
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s+")

Piece = tuple[Literal["text", "think"], str]


class TextGate:
    """Feed it an answer's text in any pieces; `finish` gives what is still held."""

    def __init__(self, *, salvage: bool) -> None:
        self._salvage = salvage
        self._state: Literal["start", "think", "pass", "hold"] = "start"
        self._held = ""
        self._thought = False

    def feed(self, text: str) -> list[Piece]:
        if self._state == "pass" and not self._held and (not self._salvage or "<" not in text):
            return [("text", text)]
        self._held += text
        pieces: list[Piece] = []
        while self._step(pieces):
            pass
        return pieces

    def finish(self) -> tuple[list[Piece], str]:
        """(pieces that can be said as they are, text that may be a call)."""
        held, self._held = self._held, ""
        if self._state == "hold":
            return [], held
        if not held:
            return [], ""
        return [("think" if self._state == "think" else "text", held)], ""

    def _step(self, pieces: list[Piece]) -> bool:
        """Go on from one state to another; False when more input is needed."""
        if self._state == "start":
            return self._start()
        if self._state == "think":
            return self._think(pieces)
        if self._state == "pass":
            return self._pass(pieces)
        return False

    def _start(self) -> bool:
        begun = self._held.lstrip()
        if not begun:
            return False
        if not self._thought and _OPEN.startswith(begun[: len(_OPEN)]):
            if len(begun) < len(_OPEN):
                return False
            self._state, self._held, self._thought = "think", begun[len(_OPEN) :].lstrip("\n"), True
            return True
        if self._salvage:
            dense = _SPACE.sub("", begun[:40])
            if any(dense.startswith(start) for start in _CALL_STARTS):
                self._state = "hold"
                return False
            if any(start.startswith(dense) for start in _CALL_STARTS):
                return False
        self._state = "pass"
        if self._thought:
            self._held = begun
        return True

    def _think(self, pieces: list[Piece]) -> bool:
        at = self._held.find(_CLOSE)
        if at >= 0:
            if at:
                pieces.append(("think", self._held[:at]))
            self._state, self._held = "start", self._held[at + len(_CLOSE) :]
            return True
        self._emit(pieces, "think", _CLOSE)
        return False

    def _pass(self, pieces: list[Piece]) -> bool:
        at = self._held.find(_CALL) if self._salvage else -1
        if at >= 0:
            if at:
                pieces.append(("text", self._held[:at]))
            self._state, self._held = "hold", self._held[at:]
            return False
        self._emit(pieces, "text", _CALL if self._salvage else "")
        return False

    def _emit(self, pieces: list[Piece], kind: Literal["text", "think"], tag: str) -> None:
        """Say what is held, but for a tail that may be the beginning of `tag`."""
        keep = next((n for n in range(min(len(tag) - 1, len(self._held)), 0, -1) if self._held.endswith(tag[:n])), 0)
        said = self._held[: len(self._held) - keep]
        if said:
            pieces.append((kind, said))
        self._held = self._held[len(said) :]


def salvaged_calls(text: str, tools: Sequence[ToolSpec]) -> list[tuple[str, str]]:
    """The calls, as (name, JSON arguments), that a held text spells out; none if any part of it is something else."""
    blocks = _BLOCK.findall(text) if _CALL in text else None
    if blocks is None:
        fenced = _FENCE.match(text.strip())
        blocks = [fenced[1] if fenced else text]
    offered = {tool.name: tool for tool in tools}
    calls: list[tuple[str, str]] = []
    for block in blocks:
        for value in _values(block):
            call = _call(value, offered)
            if call is None:
                return []
            calls.append(call)
    return calls


def _values(text: str) -> list[Any]:
    """The JSON values that `text` consists of; [None] if it consists of anything else."""
    values: list[Any] = []
    at = 0
    text = text.strip()
    while at < len(text):
        try:
            value, at = _DECODER.raw_decode(text, at)
        except ValueError:
            return [None]
        values += value if isinstance(value, list) else [value]
        while at < len(text) and text[at] in " \r\n\t;,":
            at += 1
    return values or [None]


def _call(value: Any, offered: dict[str, ToolSpec]) -> tuple[str, str] | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next(
        (value[key] for key in ("name", "tool", "tool_name", "function") if isinstance(value.get(key), str)), ""
    )
    arguments: Any = next((value[key] for key in ("arguments", "parameters", "args", "input") if key in value), {})
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return None
    tool = offered.get(name)
    if tool is None or not isinstance(arguments, dict) or not fits(arguments, tool.parameters):
        return None
    return name, orjson.dumps(arguments).decode()
