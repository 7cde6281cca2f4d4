"""What a model's stream says, event by event; the last one is always `Finished`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from providers.types import FinishReason, Message
from providers.usage import Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of shown thinking, or (text empty) its closing signature."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class RedactedReasoning:
    """Thinking that is not shown; `data` may be empty (OpenAI's omitted reasoning)."""

    data: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of call number `index` (0, 1, ...); the first piece of a call carries its id and name."""

    index: int
    id: str
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The whole answer. `response` is the vendor's own non-streamed shape, for the trace.

    `logprobs` (an item a token, as OpenAI's Chat Completions has them) and `token_ids`: where they were asked for.
    """

    message: Message
    finish_reason: FinishReason
    usage: Usage
    response: dict[str, Any]
    logprobs: list[dict[str, Any]] | None = None
    token_ids: list[int] | None = None


ModelEvent = TextDelta | ReasoningDelta | RedactedReasoning | ToolCallDelta | Finished
