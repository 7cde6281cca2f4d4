"""Each dialect's own token counts, sorted into our disjoint buckets, and a check that nothing was lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from providers.catalog import preset_of
from providers.usage import Usage

Raw = Mapping[str, Any]
BYTES_PER_TOKEN = 4
_TICKS_PER_USD = Decimal(10_000_000_000)
# What stands for the ordinary price in the vendors' words.
_STANDARD = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "traffic_type_unspecified"})
_UNKNOWN_PLACES = frozenset({"", "global", "not_available"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an answer says of its own price: its service tier, where it was made, and what it was charged at (USD).

    `model`: what answered, where the name that was asked for does not say it (a deployment at Azure).
    """

    service_tier: str | None = None
    region: str | None = None
    model: str | None = None
    given_cost_usd: Decimal | None = None


def _int(raw: Raw, key: str) -> int | None:
    value = raw.get(key)
    if isinstance(value, float):
        return int(value) if value.is_integer() and value >= 0 else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _part(raw: Raw, key: str) -> Raw:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _most(*counts: int | None) -> int | None:
    """One count that a vendor may give under several names: they are never added."""
    return max((count for count in counts if count is not None), default=None)


def from_chat(raw: Raw, *, unlisted_reasoning: bool = False) -> Usage:
    """Chat Completions: `prompt_tokens` includes what was cached; `completion_tokens` mostly includes reasoning.

    xAI and Google leave reasoning out of `completion_tokens`: their total tells. `unlisted_reasoning`: the vendor does
    so without listing it (Google), so what its total has over its parts is reasoning.
    """
    prompt = _int(raw, "prompt_tokens") or 0
    details = _part(raw, "prompt_tokens_details")
    read = _most(
        _int(details, "cached_tokens"),
        _int(raw, "prompt_cache_hit_tokens"),  # DeepSeek
        _int(raw, "cached_tokens"),  # Together, Moonshot
        _int(raw, "num_cached_tokens"),  # Mistral
        _int(raw, "cache_read_input_tokens"),  # LiteLLM's proxy
    )
    written = _most(
        _int(details, "cache_write_tokens"),
        _int(details, "cache_creation_tokens"),
        _int(raw, "cache_creation_input_tokens"),
    )
    reasoning = _int(_part(raw, "completion_tokens_details"), "reasoning_tokens")
    if reasoning is None:
        reasoning = _int(raw, "reasoning_tokens")  # SGLang
    completion = _int(raw, "completion_tokens") or 0
    total = _int(raw, "total_tokens")
    if unlisted_reasoning and not reasoning and total is not None and total > prompt + completion:
        reasoning = total - prompt - completion
    return _split(prompt, read, written, _said(prompt, completion, reasoning, total), reasoning)


def from_responses(raw: Raw) -> Usage:
    """Responses: `input_tokens` includes what was cached, `output_tokens` the reasoning (unless the total says not)."""
    details = _part(raw, "input_tokens_details")
    prompt, output = _int(raw, "input_tokens") or 0, _int(raw, "output_tokens") or 0
    reasoning = _int(_part(raw, "output_tokens_details"), "reasoning_tokens")
    return _split(
        prompt,
        _int(details, "cached_tokens"),
        _int(details, "cache_write_tokens"),
        _said(prompt, output, reasoning, _int(raw, "total_tokens")),
        reasoning,
    )


def _said(prompt: int, output: int, reasoning: int | None, total: int | None) -> int:
    """All output. Reasoning lies beside `output` where the total says so, or where it could not lie within."""
    if not reasoning:
        return output
    beside = reasoning > output if total is None else total == prompt + output + reasoning
    return output + reasoning if beside else output


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


def _anthropic_written(raw: Raw) -> int | None:
    """All that was written to the cache; some servers give the split by lifetime alone."""
    written = _int(raw, "cache_creation_input_tokens")
    if written is not None:
        return written
    split = _part(raw, "cache_creation")
    short, long = _int(split, "ephemeral_5m_input_tokens"), _int(split, "ephemeral_1h_input_tokens")
    return None if short is None and long is None else (short or 0) + (long or 0)


def from_anthropic(raw: Raw) -> Usage:
    """Messages: `input_tokens` is only what no cache touched. Without the 5 m / 1 h split, a write is taken as 5 m."""
    written = _anthropic_written(raw)
    short = long = None
    if written is not None:
        long = min(_int(_part(raw, "cache_creation"), "ephemeral_1h_input_tokens") or 0, written)
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


def from_google(raw: Raw) -> Usage:
    """`usageMetadata`: the prompt includes what was cached, not what tools put into it; thoughts lie beside the answer.

    A field that is zero is left out. Where the total says that the thoughts lie within the answer, they do.
    """
    own = _int(raw, "promptTokenCount") or 0
    prompt = own + (_int(raw, "toolUsePromptTokenCount") or 0)
    cached = _int(raw, "cachedContentTokenCount")
    thoughts = _int(raw, "thoughtsTokenCount")
    said = _int(raw, "candidatesTokenCount") or 0
    if _int(raw, "totalTokenCount") != prompt + said:
        said += thoughts or 0
    return _split(prompt, None if cached is None else min(cached, own), None, said, thoughts)


def from_converse(raw: Raw) -> Usage:
    """Converse: `inputTokens` is what no cache touched, save of some models, whose total tells that it is all.

    Writes to the cache are of five minutes, but what `cacheDetails` says of an hour.
    """
    sent, output = _int(raw, "inputTokens") or 0, _int(raw, "outputTokens") or 0
    read, written = _int(raw, "cacheReadInputTokens"), _int(raw, "cacheWriteInputTokens")
    cached = (read or 0) + (written or 0)
    if cached <= sent and _int(raw, "totalTokens") == sent + output:
        sent -= cached
    details = raw.get("cacheDetails")
    hourly = [_int(d, "inputTokens") or 0 for d in details if d.get("ttl") == "1h"] if isinstance(details, list) else []
    long = None if written is None or not hourly else min(sum(hourly), written)
    short = None if written is None else written - (long or 0)
    return Usage(input=sent, cache_read=read, cache_write_5m=short, cache_write_1h=long, output=output)


_READERS: dict[str, Callable[[Raw], Usage]] = {
    "converse": from_converse,
    "openai_responses": from_responses,
    "anthropic": from_anthropic,
    "google": from_google,
}


def extract(provider_type: str, dialect: str, raw: Raw) -> Usage:
    """The buckets of a stored usage object. Raises KeyError for an unknown dialect."""
    if dialect == "openai_chat":
        return from_chat(raw, unlisted_reasoning=preset_of(provider_type).unlisted_reasoning)
    return _READERS[dialect](raw)


def estimate(sent_bytes: int, received_bytes: int) -> Usage:
    """For a provider that says nothing, and for answers that broke off or were cancelled: four bytes a token."""
    return Usage(input=-(-sent_bytes // BYTES_PER_TOKEN), output=-(-received_bytes // BYTES_PER_TOKEN), estimated=True)


def broken_off(counted: Usage | None, sent_bytes: int, received_bytes: int) -> Usage:
    """Of an answer that broke off: its prompt as counted so far, if at all; its output at least as long as was seen."""
    guess = estimate(sent_bytes, received_bytes)
    if counted is None or not counted.prompt:
        return guess
    return replace(counted, output=max(counted.output, guess.output), estimated=True)


def provider_total(dialect: str, raw: Raw) -> int | None:
    """The total by the provider's own words; Anthropic gives parts alone, so theirs are added."""
    if dialect == "anthropic":
        keys = ("input_tokens", "cache_read_input_tokens", "output_tokens")
        return sum(_int(raw, key) or 0 for key in keys) + (_anthropic_written(raw) or 0)
    return _int(raw, {"google": "totalTokenCount", "converse": "totalTokens"}.get(dialect, "total_tokens"))


def audit(usage: Usage, dialect: str, raw: Raw) -> str | None:
    """None, or what does not add up."""
    if usage.estimated:
        return None
    total = provider_total(dialect, raw)
    if total is not None and total != usage.total:
        return f"buckets add up to {usage.total} tokens, the provider says {total}"
    return None


def terms(provider_type: str, response: Raw) -> Terms:
    """From a whole answer in its non-streamed shape. The tier that served a call may be another than was asked for."""
    usage = _part(response, "usage") or _part(response, "usageMetadata")
    return Terms(
        service_tier=_service_tier(response, usage),
        region=_region(response, usage),
        model=(response.get("model") or None) if provider_type == "azure" else None,
        given_cost_usd=given_cost(provider_type, usage),
    )


def _service_tier(response: Raw, usage: Raw) -> str | None:
    """In our words: flex, priority, batch, fast …; None for the ordinary one."""
    if usage.get("speed") == "fast":  # Anthropic
        return "fast"
    named = response.get("service_tier") or usage.get("service_tier")
    named = named or usage.get("serviceTier") or usage.get("trafficType")  # Google
    named = named or _part(response, "serviceTier").get("type")  # Converse
    if not isinstance(named, str):
        return None
    tier = named.lower().removeprefix("on_demand_")
    return None if tier in _STANDARD else tier


def _region(response: Raw, usage: Raw) -> str | None:
    place = response.get("location") or usage.get("inference_geo")  # our own word at Vertex; Anthropic's
    return place if isinstance(place, str) and place not in _UNKNOWN_PLACES else None


def _usd(value: Any) -> Decimal | None:
    """As the vendor wrote it: the shortest digits that mean this float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    amount = Decimal(repr(value))
    return amount if amount.is_finite() and amount >= 0 else None


def given_cost(provider_type: str, usage: Raw) -> Decimal | None:
    """What a vendor says it charged. Only of those whose unit is known: elsewhere `cost` may mean anything."""
    if provider_type == "xai":
        ticks = _int(usage, "cost_in_usd_ticks")
        return None if ticks is None else ticks / _TICKS_PER_USD
    if provider_type != "openrouter":
        return None
    cost = _usd(usage.get("cost"))
    if cost is None or usage.get("is_byok") is False:
        return cost
    # With the caller's own key there, `cost` is the fee alone, and the vendor behind charges the rest.
    return cost + (_usd(_part(usage, "cost_details").get("upstream_inference_cost")) or 0)
