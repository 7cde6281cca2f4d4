"""What the sending routes answer with, for the API's documentation; the answers themselves are made in `sse`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class StopReason(BaseModel):
    message_type: Literal["stop_reason"] = "stop_reason"
    stop_reason: str


class UsageStatistics(BaseModel):
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


class LettaResponse(BaseModel):
    messages: list[dict[str, Any]]
    stop_reason: StopReason
    usage: UsageStatistics
    logprobs: dict[str, Any] | None = None
    turns: list[dict[str, Any]] | None = None


class CompactionResponse(BaseModel):
    summary: str
    num_messages_before: int
    num_messages_after: int
