"""What is said to a model and what comes back, free of any vendor's wire format.

Frozen values only. A message is written once and sent many times, so each keeps its wire form per dialect
(`wire`): a client serialises a message once in its life, however long the conversation grows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """`signature` (Google) must be sent back unchanged."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image, inline: `data` is base64, `media_type` as in `image/png`."""

    media_type: str
    data: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ReasoningPart:
    """Thinking that the model showed.

    `signature` (Anthropic) or `encrypted` (OpenAI Responses) must be sent back unchanged.
    """

    text: str
    signature: str | None = None
    id: str | None = None
    encrypted: str | None = None


@dataclass(frozen=True, slots=True)
class RedactedReasoningPart:
    """Thinking that the model kept to itself; `data` is opaque and must be sent back unchanged."""

    data: str


Part = TextPart | ImagePart | ReasoningPart | RedactedReasoningPart


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is the JSON text as the model wrote it: it may be invalid.

    `signature` (Google) must be sent back unchanged.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class ToolReturn:
    """`content` is the text the model reads; `is_error` says that the call failed."""

    tool_call_id: str
    name: str
    content: str
    is_error: bool = False


@dataclass(frozen=True)
class Message:
    """One message of a conversation: role=tool carries `tool_returns`, role=assistant may carry `tool_calls`."""

    role: Role
    content: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_returns: tuple[ToolReturn, ...] = ()
    name: str | None = None
    wire: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as offered to the model; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One call. `model` is the vendor's own name, without the provider's prefix.

    `tool_choice`: "auto", "required", "none", or the name of the one tool that must be called.
    `reasoning_effort`: none|minimal|low|medium|high|xhigh|max; None leaves it to the vendor.
    `thinking_budget`: tokens; None: no thinking asked for; -1: as the model sees fit (Google).
    `show_thinking`: False where it is to think, but not to show it (Google).
    `top_logprobs`: how likely each token was, with so many alternatives to it; None: not asked for. `token_ids`: the
    numbers of the tokens too. Not every vendor tells either.
    `thinking`, `keep_thinking`: on or off, and whether earlier thoughts stay, where that is a switch (Z.ai).
    `verbosity`: low|medium|high (OpenAI, from GPT-5 on).
    `timeout_s` bounds the wait for each chunk, the first one included.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: int | None = None
    temperature: float | None = None
    reasoning_effort: str | None = None
    thinking_budget: int | None = None
    show_thinking: bool = True
    thinking: bool | None = None
    keep_thinking: bool | None = None
    verbosity: str | None = None
    response_format: Mapping[str, Any] | None = None
    end_user: str | None = None
    cache_key: str | None = None
    top_logprobs: int | None = None
    token_ids: bool = False
    timeout_s: float = 120.0


FinishReason = Literal["stop", "length", "tool_calls", "refusal", "content_filter"]
