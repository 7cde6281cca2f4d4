"""Token counts on the wire, from the disjoint buckets of `providers.usage`."""

from __future__ import annotations

from agents.schemas.base import Wire
from providers.usage import Usage


class PromptTokensDetails(Wire):
    cached_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None


class CompletionTokensDetails(Wire):
    reasoning_tokens: int | None = None


class UsageOut(Wire):
    """UsageStatistics of the contract. A null detail was not reported by the provider."""

    completion_tokens: int = 0
    prompt_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


def usage_out(usage: Usage) -> UsageOut:
    return UsageOut(
        completion_tokens=usage.output,
        prompt_tokens=usage.prompt,
        total_tokens=usage.total,
        prompt_tokens_details=prompt_details(usage),
        completion_tokens_details=completion_details(usage),
    )


def prompt_details(usage: Usage) -> PromptTokensDetails | None:
    if usage.cache_read is None and usage.cache_write is None:
        return None
    return PromptTokensDetails(
        cached_tokens=usage.cache_read, cache_read_tokens=usage.cache_read, cache_creation_tokens=usage.cache_write
    )


def completion_details(usage: Usage) -> CompletionTokensDetails | None:
    return None if usage.reasoning is None else CompletionTokensDetails(reasoning_tokens=usage.reasoning)
