"""Making room in a full context: what is cut away, and how the model is asked to sum it up.

Pure. The caller calls the model and stores the result; in context it becomes [system, summary, kept ...]. A mode that
cannot be done, or whose model call fails, gives way to the next of `fallbacks(mode)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents.prompts import sentences, text
from providers.types import ImagePart, Message, TextPart, ToolSpec

Mode = Literal["sliding_window", "all", "self_compact_sliding_window", "self_compact_all"]
Trigger = Literal["context_window_exceeded", "post_step_context_check", "manual"]

FULL = 0.9
STEP = 0.1
SUMMARY_TOKENS = 1_000
TRANSCRIPT_SHARE = 0.6
CHARS_PER_TOKEN = 4
CLIPPED_RETURN_CHARS = 2_000
_SUMMARIZERS = {
    "anthropic": "claude-haiku-4-5",
    "openai": "gpt-5-mini",
    "google_ai": "gemini-2.5-flash",
}
_FALLBACKS: dict[str, tuple[Mode, ...]] = {
    "self_compact_all": ("self_compact_all", "self_compact_sliding_window", "all"),
    "self_compact_sliding_window": ("self_compact_sliding_window", "all"),
    "sliding_window": ("sliding_window", "all"),
    "all": ("all",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`model`: the summarizer's handle. `clip_chars`: the most that a summary may have; None: no limit."""

    mode: Mode = "sliding_window"
    model: str | None = None
    model_settings: Mapping[str, Any] | None = None
    prompt: str | None = None
    prompt_acknowledgement: bool = False
    clip_chars: int | None = 50_000
    sliding_window_percentage: float = 0.3

    @classmethod
    def parse(cls, *wire: Mapping[str, Any] | None) -> Settings:
        """From the wire's CompactionSettings; a later one (of the call) wins field by field over the agent's."""
        fields = {name for name in cls.__dataclass_fields__ if name != "clip_chars"}
        merged: dict[str, Any] = {}
        for given in wire:
            known = {k: v for k, v in (given or {}).items() if k in fields and v is not None}
            if given and "clip_chars" in given:
                known["clip_chars"] = given["clip_chars"]
            merged |= known
        return cls(**merged)


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in context, as far as cutting needs to know it. `calls`, `returns`: tool call ids."""

    role: str
    tokens: int
    calls: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cut:
    """Messages 1 to `index` (without it) are summed up; `index` and all after it stay. Tokens are estimates."""

    mode: Mode
    index: int
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True)
class SummaryCall:
    """What to ask: of the agent's own model in the self modes, else of the first of `summarizers` that answers."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]


def is_self(mode: str) -> bool:
    return mode.startswith("self_compact")


def fallbacks(mode: Mode) -> tuple[Mode, ...]:
    """The mode itself, then what is tried instead, in order."""
    return _FALLBACKS[mode]


def is_full(context_tokens: int, window: int) -> bool:
    return context_tokens > FULL * window


def stored(row: Mapping[str, Any], tokens: int) -> Stored:
    """From a stored message (columns of `conversations.models.Message`)."""
    return Stored(
        row["role"],
        tokens,
        tuple(call["id"] for call in row.get("tool_calls") or ()),
        tuple(item["tool_call_id"] for item in row.get("tool_returns") or ()),
    )


def summarizers(settings: Settings, agent_handle: str, provider_type: str) -> tuple[str, ...]:
    """Handles to try, in order, for a mode that is not the agent's own: the agent's own model is the last resort."""
    small = _SUMMARIZERS.get(provider_type)
    default = f"{agent_handle.partition('/')[0]}/{small}" if small else agent_handle
    return tuple(dict.fromkeys((settings.model or default, agent_handle)))


def plan(settings: Settings, mode: Mode, messages: Sequence[Stored], window: int, fixed_tokens: int = 0) -> Cut | None:
    """Where to cut; None if this mode cannot make the context smaller. `fixed_tokens`: of tool definitions.

    The first message is the system prompt and stays. The sliding modes cut away a share of the oldest messages, and
    10 % more as long as the rest is over its goal, always just before an answer of the model.
    """
    before = fixed_tokens + sum(message.tokens for message in messages)
    if mode in ("all", "self_compact_all"):
        index = _first_to_keep(messages)
    else:
        found = _slide(settings, messages, window, fixed_tokens)
        if found is None:
            return None
        index = found
    if 2 + len(messages) - index >= len(messages):
        return None
    return Cut(mode, index, before, _after(messages, index, window, fixed_tokens))


def summary_call(
    settings: Settings, mode: Mode, messages: Sequence[Message], tools: Sequence[ToolSpec], window: int
) -> SummaryCall:
    """The call that sums up `messages`: the system message, then all that is cut away.

    The agent's own model gets them just as in its last step, with the same tools before, so that its provider's cache
    holds; another model gets a transcript. `window`: of the model that is asked.
    """
    instructions = settings.prompt or text(f"summary_{mode}")
    if is_self(mode):
        ask = f"{instructions}\n\n{sentences('summary')['request']}"
        return SummaryCall((*messages, _said("user", ask)), tuple(tools))
    wrapped = sentences("summary")["transcript"].format(
        transcript=transcript(messages[1:], int(window * TRANSCRIPT_SHARE * CHARS_PER_TOKEN))
    )
    if settings.prompt_acknowledgement:
        acknowledged = _said("assistant", sentences("summary")["acknowledgement"])
        return SummaryCall((_said("user", instructions), acknowledged, _said("user", wrapped)), ())
    return SummaryCall((_said("system", instructions), _said("user", wrapped)), ())


def finish_summary(settings: Settings, answer: str) -> str:
    """The model's answer, within the limit that the settings put on it."""
    return _clip(answer.strip(), settings.clip_chars) if settings.clip_chars else answer.strip()


def stats(trigger: Trigger, cut: Cut, tokens_after: int, window: int, counts: tuple[int, int]) -> dict[str, Any]:
    """The contract's CompactionStats. `counts`: messages in context before and after."""
    return {
        "trigger": trigger,
        "context_tokens_before": cut.tokens_before,
        "context_tokens_after": tokens_after,
        "context_window": window,
        "messages_count_before": counts[0],
        "messages_count_after": counts[1],
    }


def transcript(messages: Iterable[Message], max_chars: int) -> str:
    """The messages as text. Too long: first the tool returns are shortened, then the middle is left out."""
    messages = list(messages)
    whole = "\n\n".join(filter(None, (_line(message, None) for message in messages)))
    if len(whole) <= max_chars:
        return whole
    short = "\n\n".join(filter(None, (_line(message, CLIPPED_RETURN_CHARS) for message in messages)))
    return _clip(short, max_chars)


def _first_to_keep(messages: Sequence[Stored]) -> int:
    """All goes, but for calls at the end that still wait for their returns."""
    returned = {call_id for message in messages for call_id in message.returns}
    for index in range(len(messages) - 1, 0, -1):
        message = messages[index]
        if message.calls:
            return index if set(message.calls) - returned else len(messages)
        if message.role not in ("approval", "tool"):
            break
    return len(messages)


def _slide(settings: Settings, messages: Sequence[Stored], window: int, fixed_tokens: int) -> int | None:
    goal = (1 - settings.sliding_window_percentage) * window
    boundaries = _boundaries(messages)
    share = settings.sliding_window_percentage
    while share < 1:
        least = max(1, int(share * len(messages)))
        index = next((boundary for boundary in boundaries if boundary > least), None)
        if index is None:
            return None
        if _after(messages, index, window, fixed_tokens) <= goal:
            return index
        share += STEP
    return None


def _boundaries(messages: Sequence[Stored]) -> list[int]:
    """Where an answer of the model begins, and no call before it has its return after it."""
    last = _first_to_keep(messages)
    called_at: dict[str, int] = {}
    reach = list(range(len(messages)))
    for index, message in enumerate(messages):
        called_at |= dict.fromkeys(message.calls, index)
        for call_id in message.returns:
            start = called_at.get(call_id)
            if start is not None:
                reach[start] = max(reach[start], index)
    found, furthest = [], 0  # a cut before the third message would swap one message for another
    for index, message in enumerate(messages):
        begins = message.role == "assistant" or (message.role == "approval" and bool(message.calls))
        if index > 2 and begins and furthest < index <= last:
            found.append(index)
        furthest = max(furthest, reach[index])
    return found


def _after(messages: Sequence[Stored], index: int, window: int, fixed_tokens: int) -> int:
    kept = messages[0].tokens + sum(message.tokens for message in messages[index:])
    return fixed_tokens + kept + min(SUMMARY_TOKENS, window // 10)


def _line(message: Message, max_return: int | None) -> str:
    said = message.text
    if any(isinstance(part, ImagePart) for part in message.content):
        said = f"{said} [image]".strip()
    lines = [f"{message.role}: {said}"] if said else []
    lines += [f"{message.role} calls {call.name}({call.arguments})" for call in message.tool_calls]
    for item in message.tool_returns:
        content = item.content if max_return is None else _clip(item.content, max_return)
        lines.append(f"{item.name or 'tool'} returns: {content}")
    return "\n".join(lines)


def _clip(value: str, limit: int) -> str:
    """At most `limit` characters: the beginning and the end, with a note of what is missing between."""
    if len(value) <= limit:
        return value
    note = sentences("summary")["clipped"].format(count=len(value))
    room = max(0, limit - len(note))
    head = room // 3
    tail = room - head
    note = sentences("summary")["clipped"].format(count=len(value) - room)
    return (value[:head] + note + (value[-tail:] if tail else ""))[:limit]


def _said(role: Literal["system", "user", "assistant"], said: str) -> Message:
    return Message(role, (TextPart(said),))
