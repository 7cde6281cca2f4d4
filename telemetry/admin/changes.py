"""What a call was sent that the call before it in the conversation was not: messages, instructions, settings, tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from console.chat import Turn, request_turns
from console.diff import Line, diff
from console.display import pretty

# Said apart from the rest of the settings.
SPOKEN = frozenset({"messages", "input", "system", "instructions", "tools"})
MOST_MESSAGES = 2_000
Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Change:
    """`turn`: as it is now (as it was, where it was removed); `lines`: what changed within its text."""

    kind: Kind
    turn: Turn
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """`kept`: how many messages are the same. Each of the texts' lines are empty where nothing changed."""

    kept: int
    messages: list[Change]
    system: list[Line]
    settings: list[Line]
    tools_added: list[str]
    tools_removed: list[str]
    tools_changed: list[str]

    @property
    def nothing(self) -> bool:
        tools = self.tools_added or self.tools_removed or self.tools_changed
        return not (self.messages or self.system or self.settings or tools)


def compare(before: Any, after: Any) -> Changes:
    """Two requests of any vendor's shape."""
    old, new = request_turns(before)[:MOST_MESSAGES], request_turns(after)[:MOST_MESSAGES]
    old_system, new_system = _system(old), _system(new)
    kept, messages = _messages([t for t in old if t.role != "system"], [t for t in new if t.role != "system"])
    old_tools, new_tools = _tools(before), _tools(after)
    return Changes(
        kept,
        messages,
        diff(old_system, new_system) if old_system != new_system else [],
        _settings(before, after),
        tools_added=sorted(new_tools.keys() - old_tools.keys()),
        tools_removed=sorted(old_tools.keys() - new_tools.keys()),
        tools_changed=sorted(
            name for name in old_tools.keys() & new_tools.keys() if old_tools[name] != new_tools[name]
        ),
    )


def _messages(old: Sequence[Turn], new: Sequence[Turn]) -> tuple[int, list[Change]]:
    before, after = [_key(turn) for turn in old], [_key(turn) for turn in new]
    kept, found = 0, list[Change]()
    for tag, a1, a2, b1, b2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            kept += a2 - a1
        elif (
            tag == "replace"
            and a2 - a1 == b2 - b1
            and all(one.role == two.role for one, two in zip(old[a1:a2], new[b1:b2], strict=True))
        ):
            found += [
                Change("changed", two, tuple(diff(_text(one), _text(two))))
                for one, two in zip(old[a1:a2], new[b1:b2], strict=True)
            ]
        else:
            found += [Change("removed", turn) for turn in old[a1:a2]]
            found += [Change("added", turn) for turn in new[b1:b2]]
    return kept, found


def _key(turn: Turn) -> str:
    """What makes a message the same: its role and all that it says."""
    return f"{turn.role}\n{_text(turn)}\n{turn.hidden_reasoning}{turn.left_out}{[hash(image) for image in turn.images]}"


def _text(turn: Turn) -> str:
    calls = [f"→ {call.name}({call.arguments})" for call in turn.calls]
    returns = [f"← {one.name}: {one.content}" for one in turn.returns]
    return "\n".join([*turn.reasoning, *turn.texts, *calls, *returns])


def _system(turns: Sequence[Turn]) -> str:
    return "\n\n".join(_text(turn) for turn in turns if turn.role == "system")


def _settings(before: Any, after: Any) -> list[Line]:
    old, new = (_plain(body) for body in (before, after))
    return diff(pretty(old), pretty(new)) if old != new else []


def _plain(body: Any) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in SPOKEN} if isinstance(body, Mapping) else {}


def _tools(body: Any) -> dict[str, str]:
    """By name; the text tells two versions apart."""
    offered = body.get("tools") if isinstance(body, Mapping) else None
    tools = [tool for tool in offered if isinstance(tool, Mapping)] if isinstance(offered, list) else []
    return {name: json.dumps(tool, sort_keys=True) for tool in tools for name in [_tool_name(tool)] if name}


def tool_names(body: Any) -> list[str]:
    return list(_tools(body))


def _tool_name(tool: Mapping[str, Any]) -> str:
    inner = tool.get("function")
    return str(
        (inner.get("name") if isinstance(inner, Mapping) else None) or tool.get("name") or tool.get("type") or ""
    )
