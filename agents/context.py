"""What the model is shown: the compiled system prompt, and stored messages as messages of a model call.

Pure: the same input gives the same bytes, because vendors' caches hold only for an unchanged prefix.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agents.prompts import sentences
from agents.tool_rules import Rules
from providers.types import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCall,
    ToolReturn,
    ToolSpec,
)

CORE_MEMORY = "{CORE_MEMORY}"
WITHOUT_BLOCKS = frozenset({"react_agent", "workflow_agent"})
WITH_LINE_NUMBERS = frozenset({"letta_v1_agent", "memgpt_v2_agent", "sleeptime_agent"})
PACKS_USER_MESSAGES = frozenset({"memgpt_agent", "split_thread_agent"})
IMAGE_TOKENS = 1_200
_COUNTS = re.compile(r"^- (.*?)\d+(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BlockView:
    label: str
    description: str | None
    value: str
    limit: int
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptInput:
    """`conversation_id` None: the default one. `earlier_messages`: those stored but out of view."""

    agent_id: str
    agent_type: str
    system: str
    blocks: Sequence[BlockView] = ()
    tool_rules: Sequence[Mapping[str, Any]] = ()
    conversation_id: str | None = None
    compiled_at: datetime
    timezone: str = "UTC"
    earlier_messages: int = 0
    archival_passages: int = 0
    archive_tags: Sequence[str] = ()
    line_numbers: bool = False


def wants_line_numbers(agent_type: str, provider_type: str) -> bool:
    return provider_type == "anthropic" and agent_type in WITH_LINE_NUMBERS


def compile_system_prompt(prompt: PromptInput) -> str:
    before, after = _around(prompt)
    return before + metadata_section(prompt) + after


def differs(stored: str, prompt: PromptInput) -> bool:
    """Whether the stored text, compiled anew, would change in anything but its time and counts.

    Where it would not, it is best left as it is: every byte that changes costs the vendor's cache.
    """
    before, after = _around(prompt)
    if len(stored) < len(before) + len(after) or not (stored.startswith(before) and stored.endswith(after)):
        return True
    section = stored[len(before) : len(stored) - len(after)]
    return _masked(section) != _masked(metadata_section(prompt))


def memory_section(prompt: PromptInput) -> str:
    """`<memory_blocks>`, or nothing where there is no block to show."""
    if not prompt.blocks or prompt.agent_type in WITHOUT_BLOCKS:
        return ""
    said = sentences("memory")
    parts = [f"<memory_blocks>\n{said['intro']}"]
    parts += [_block(block, said["line_numbers"] if prompt.line_numbers else "") for block in prompt.blocks]
    return "\n\n".join(parts) + "\n\n</memory_blocks>"


def rules_section(prompt: PromptInput) -> str:
    described = Rules.parse(prompt.tool_rules).describe()
    if not described:
        return ""
    lines = "\n".join(f"- {sentence}" for sentence in described)
    return f"<tool_usage_rules>\n{sentences('rules')['intro']}\n{lines}\n</tool_usage_rules>"


def metadata_section(prompt: PromptInput) -> str:
    said = sentences("metadata")
    lines = [
        said["agent"].format(prompt.agent_id),
        said["conversation"].format(prompt.conversation_id or "default"),
        said["compiled"].format(to_local(prompt.compiled_at, prompt.timezone)),
        said["earlier"].format(prompt.earlier_messages),
    ]
    if prompt.archival_passages:
        lines.append(said["archival"].format(prompt.archival_passages))
    if prompt.archive_tags:
        lines.append(said["tags"].format(", ".join(prompt.archive_tags)))
    return "<memory_metadata>\n" + "\n".join(f"- {line}" for line in lines) + "\n</memory_metadata>"


def skills_section(skills: Iterable[Mapping[str, str]]) -> str:
    """`<available_skills>`: name, description and location of each, in the form that agentskills.io proposes."""
    lines = ["<available_skills>", sentences("skills")["intro"]]
    for skill in skills:
        fields = (f"<{name}>{escape(skill[name])}</{name}>" for name in ("name", "description", "location"))
        lines += ["<skill>", *fields, "</skill>"]
    return "\n".join([*lines, "</available_skills>"])


def to_local(at: datetime, timezone: str) -> str:
    """`2026-11-24 07:57:34 AM UTC+0000`, in the agent's time zone."""
    try:
        zone: Any = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %I:%M:%S %p} {local.tzname() or 'UTC'}{local:%z}"


def to_model_message(
    row: Mapping[str, Any], *, agent_type: str = "letta_v1_agent", timezone: str = "UTC"
) -> Message | None:
    """A stored message (columns of `conversations.models.Message`) as the model sees it; None: it does not see it."""
    role = row["role"]
    if role == "tool":
        at = to_local(_time(row["created_at"]), timezone)
        returns = tuple(_tool_return(each, at) for each in row.get("tool_returns") or ())
        return Message("tool", tool_returns=returns) if returns else None
    if role == "summary":
        return Message("user", (TextPart(pack_summary(_text(row), _time(row["created_at"]), timezone)),))
    if role == "user" and agent_type in PACKS_USER_MESSAGES:
        content = _packed(row, to_local(_time(row["created_at"]), timezone))
        return Message("user", content, name=row.get("name"))
    content = tuple(map(to_part, row.get("content") or ()))
    calls = tuple(ToolCall(c["id"], c["name"], c["arguments"], c.get("signature")) for c in row.get("tool_calls") or ())
    if not content and not calls:
        return None
    if role in ("assistant", "approval"):
        return Message("assistant", content, tool_calls=calls, name=row.get("name"))
    return Message(role, content, name=row.get("name"))


def pack_summary(summary: str, at: datetime, timezone: str = "UTC", stats: Mapping[str, Any] | None = None) -> str:
    """A summary as the user message that stands for it, to the model and (with `stats`) on the wire."""
    packed: dict[str, Any] = {
        "type": "system_alert",
        "message": sentences("summary")["packed"].format(summary=summary),
        "time": to_local(at, timezone),
    }
    if stats is not None:
        packed["compaction_stats"] = dict(stats)
    return json.dumps(packed, indent=2, ensure_ascii=False)


def to_part(stored: Mapping[str, Any]) -> Part:
    """One part of `Message.content`, the JSON column."""
    kind = stored["type"]
    if kind == "text":
        return TextPart(stored["text"], stored.get("signature"))
    if kind == "image":
        return ImagePart(stored["media_type"], stored["data"], stored.get("detail"))
    if kind == "reasoning":
        return ReasoningPart(stored["text"], stored.get("signature"), stored.get("id"), stored.get("encrypted"))
    return RedactedReasoningPart(stored["data"])


def from_part(part: Part) -> dict[str, Any]:
    """The opposite of `to_part`; fields that are None are left out."""
    kinds = {
        TextPart: "text",
        ImagePart: "image",
        ReasoningPart: "reasoning",
        RedactedReasoningPart: "redacted_reasoning",
    }
    fields = {name: getattr(part, name) for name in part.__slots__}
    return {"type": kinds[type(part)], **{name: value for name, value in fields.items() if value is not None}}


def estimate_tokens(value: Any) -> int:
    """A quarter of the bytes, rounded up: good to about a fifth for prose and code, and free.

    Takes text, messages, tool specs, or any JSON value; an image counts as a fixed sum.
    """
    if isinstance(value, Message):
        return _message_tokens(value)
    if isinstance(value, ToolSpec):
        return _quarter(value.name) + _quarter(value.description) + estimate_tokens(dict(value.parameters))
    if isinstance(value, str):
        return _quarter(value)
    if isinstance(value, tuple | list) and value and isinstance(value[0], Message | ToolSpec):
        return sum(map(estimate_tokens, value))
    return 0 if value is None else _quarter(json.dumps(value, ensure_ascii=False, default=str))


def _around(prompt: PromptInput) -> tuple[str, str]:
    """The prompt before and after its metadata."""
    sections = [part for part in (memory_section(prompt), rules_section(prompt)) if part]
    memory = "".join(f"{part}\n\n" for part in sections)
    before, token, after = prompt.system.partition(CORE_MEMORY)
    if not token:
        return (f"{prompt.system}\n\n" if prompt.system else "") + memory, ""
    return before + memory, after


def _masked(section: str) -> str:
    """The section without its time and counts. The tags stay whole, and so do the ids."""
    said = sentences("metadata")
    kept = []
    for line in section.split("\n"):
        if line.startswith(f"- {_lead(said['compiled'])}"):
            kept.append("- compiled")
        elif line.endswith((said["earlier"].partition("{0}")[2], said["archival"].partition("{0}")[2])):
            kept.append(_COUNTS.sub(r"- \1#\2", line))
        else:
            kept.append(line)
    return "\n".join(kept)


def _lead(sentence: str) -> str:
    return sentence.partition("{0}")[0]


def _block(block: BlockView, warning: str) -> str:
    lines = [f"<{block.label}>", "<description>", block.description or "", "</description>", "<metadata>"]
    if block.read_only:
        lines.append("- read_only=true")
    lines += [f"- chars_current={len(block.value)}", f"- chars_limit={block.limit}", "</metadata>"]
    if warning:
        lines += ["<warning>", warning, "</warning>"]
    value = "\n".join(f"{n}→ {line}" for n, line in enumerate(block.value.split("\n"), 1)) if warning else block.value
    return "\n".join([*lines, "<value>", value, "</value>", f"</{block.label}>"])


def _tool_return(stored: Mapping[str, Any], at: str) -> ToolReturn:
    is_error = bool(stored.get("is_error"))
    content = stored.get("content") or ""
    if not isinstance(content, str):
        content = "".join(part.get("text", "") for part in content)
    return ToolReturn(stored["tool_call_id"], stored.get("name") or "", _packed_return(content, at, stored), is_error)


def _packed_return(content: str, at: str, stored: Mapping[str, Any]) -> str:
    packed = {"status": "Failed" if stored.get("is_error") else "OK", "message": content, "time": at}
    if stored.get("edited_arguments") is not None:
        packed["arguments_edited_by_human"] = stored["edited_arguments"]
    return json.dumps(packed, ensure_ascii=False)


def _packed_text(text: str, at: str) -> str:
    return json.dumps({"type": "user_message", "message": text, "time": at}, ensure_ascii=False)


def _packed(row: Mapping[str, Any], at: str) -> tuple[Part, ...]:
    rest = tuple(to_part(part) for part in row.get("content") or () if part["type"] != "text")
    return (TextPart(_packed_text(_text(row), at)), *rest)


def _text(row: Mapping[str, Any]) -> str:
    return "\n".join(part["text"] for part in row.get("content") or () if part["type"] == "text")


def _time(value: datetime | str) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _quarter(text: str) -> int:
    return (len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) + 3 >> 2


def _message_tokens(message: Message) -> int:
    pieces: Iterable[str] = (
        *(part.text for part in message.content if isinstance(part, TextPart | ReasoningPart)),
        *(part.data for part in message.content if isinstance(part, RedactedReasoningPart)),
        *(f"{call.name}{call.arguments}" for call in message.tool_calls),
        *(each.content for each in message.tool_returns),
    )
    images = sum(isinstance(part, ImagePart) for part in message.content)
    return 4 + sum(map(_quarter, pieces)) + images * IMAGE_TOKENS
