"""Each dialect's own token counts, sorted into our disjoint buckets, and a check that nothing was lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from providers.usage import Usage

Raw = Mapping[str, Any]
BYTES_PER_TOKEN = 4


def _int(raw: Raw, key: str) -> int | None:
    value = raw.get(key)
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None


def _part(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def from_chat(raw: Raw) -> Usage:
    """Chat Completions: `prompt_tokens` includes what was cached; `completion_tokens` mostly includes reasoning.

    xAI and Google leave reasoning out of `completion_tokens`: their total tells.
    """
    prompt = _int(raw, "prompt_tokens") or 0
    completion = _int(raw, "completion_tokens") or 0
    details = _part(raw, "prompt_tokens_details")
    read = _int(details, "cached_tokens")
    if read is None:
        read = _int(raw, "prompt_cache_hit_tokens")
    written = _int(details, "cache_write_tokens")
    reasoning = _int(_part(raw, "completion_tokens_details"), "reasoning_tokens")
    total = _int(raw, "total_tokens")
    if reasoning and total is not None and total == prompt + completion + reasoning:
        completion += reasoning
    return _split(prompt, read, written, completion, reasoning)


def from_responses(raw: Raw) -> Usage:
    """Responses: `input_tokens` includes what was cached, `output_tokens` the reasoning."""
    details = _part(raw, "input_tokens_details")
    return _split(
        _int(raw, "input_tokens") or 0,
        _int(details, "cached_tokens"),
        _int(details, "cache_write_tokens"),
        _int(raw, "output_tokens") or 0,
        _int(_part(raw, "output_tokens_details"), "reasoning_tokens"),
    )


def _split(prompt: int, read: int | None, written: int | None, output: int, reasoning: int | None) -> Usage:
    read = None if read is None else min(read, prompt)
    written = None if written is None else min(written, prompt - (read or 0))
    return Usage(
        input=prompt - (read or 0) - (written or 0),
        cache_read=read,
        cache_write_5m=written,
        output=output,
        reasoning=None if reasoning is None else min(reasoning, output),
    )


def from_anthropic(raw: Raw) -> Usage:
    """Messages: `input_tokens` is only what no cache touched. Without the 5 m / 1 h split, a write is taken as 5 m."""
    written = _int(raw, "cache_creation_input_tokens")
    split = _part(raw, "cache_creation")
    short, long = _int(split, "ephemeral_5m_input_tokens"), _int(split, "ephemeral_1h_input_tokens")
    if written is None and (short is not None or long is not None):
        written = (short or 0) + (long or 0)
    if written is None:
        short = long = None
    else:
        long = min(long or 0, written)
        short = written - long
    output = _int(raw, "output_tokens") or 0
    thinking = _int(_part(raw, "output_tokens_details"), "thinking_tokens")
    return Usage(
        input=_int(raw, "input_tokens") or 0,
        cache_read=_int(raw, "cache_read_input_tokens"),
        cache_write_5m=short,
        cache_write_1h=long,
        output=output,
        reasoning=None if thinking is None else min(thinking, output),
    )


def estimate(sent_bytes: int, received_bytes: int) -> Usage:
    """For a provider that says nothing, and for answers that broke off or were cancelled: four bytes a token."""
    return Usage(input=-(-sent_bytes // BYTES_PER_TOKEN), output=-(-received_bytes // BYTES_PER_TOKEN), estimated=True)


def provider_total(dialect: str, raw: Raw) -> int | None:
    """The total by the provider's own words; Anthropic gives parts alone, so theirs are added."""
    if dialect == "anthropic":
        keys = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
        return sum(_int(raw, key) or 0 for key in keys)
    return _int(raw, "total_tokens")


def audit(usage: Usage, dialect: str, raw: Raw) -> str | None:
    """None, or what does not add up."""
    if usage.estimated:
        return None
    total = provider_total(dialect, raw)
    if total is not None and total != usage.total:
        return f"buckets add up to {usage.total} tokens, the provider says {total}"
    return None
