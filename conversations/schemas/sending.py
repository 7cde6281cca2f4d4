"""What the sending and compacting routes answer with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from agents.schemas.agents import Handle, StopReason
from agents.schemas.base import Wire
from conversations.schemas.messages import MessageOut


class StopReasonOut(Wire):
    message_type: Literal["stop_reason"] = "stop_reason"
    stop_reason: StopReason


class UsageStatistics(Wire):
    """`context_tokens`: what the last model call had before it."""

    message_type: Literal["usage_statistics"] = "usage_statistics"
    completion_tokens: int = 0
    prompt_tokens: int = 0
    total_tokens: int = 0
    step_count: int = 0
    run_ids: list[str] | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    context_tokens: int | None = None


class LettaResponse(Wire):
    """Where streaming is asked for, the same messages come as server-sent events, then stop reason and usage.

    `logprobs`: of the last answer; `turns`: the tokens of all of them, and what tools returned between. Null where they
    were not asked for or the model's vendor does not tell them.
    """

    messages: list[MessageOut]
    stop_reason: StopReasonOut
    usage: UsageStatistics
    logprobs: dict[str, Any] | None = None
    turns: list[dict[str, Any]] | None = None


class GenerateBody(Wire):
    """`response_schema`: a JSON schema that the answer is to keep to, where the model can."""

    prompt: Annotated[str, Field(min_length=1)]
    system_prompt: str | None = None
    override_model: Handle | None = None
    response_schema: dict[str, Any] | None = None


class GenerateResponse(Wire):
    content: str
    model: str
    usage: UsageStatistics


class CompactionResponse(Wire):
    summary: str
    num_messages_before: int
    num_messages_after: int
