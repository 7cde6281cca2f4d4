"""The ledger against vendors' answers: tokens, totals, unit prices and costs, as they stand in cases/*.json.

Each case holds what the vendor sends, how it is known (recorded, or in the published shape with invented counts), and
what must come of it. The expected cost was worked out from the figures beside it, without any of the code under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import usage_extract
from providers.catalog import preset_of, price_provider
from providers.clients.anthropic_read import MessagesReader
from providers.clients.openai_chat_read import ChatReader
from providers.clients.openai_responses_read import ResponsesReader
from providers.clients.reading import Reader
from providers.pricing import Price, Purchase, price
from providers.usage import Usage

Case = Mapping[str, Any]
FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
CASES: list[Case] = [case for path in FILES for case in orjson.loads(path.read_bytes())]
BUCKETS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


def named(case: Case) -> str:
    return f"{case['provider_type']}: {case['name']}"


every_case = pytest.mark.parametrize("case", CASES, ids=named)
every_stream = pytest.mark.parametrize("case", [case for case in CASES if "stream" in case], ids=named)


def counts_of(case: Case) -> dict[str, Any] | None:
    response = case["response"]
    return response.get("usage") or response.get("usageMetadata")


def usage_of(case: Case) -> Usage:
    counts = counts_of(case)
    usage = usage_extract.extract(case["provider_type"], case["dialect"], counts) if counts else None
    if broken := case.get("broken_off"):
        return usage_extract.broken_off(usage, broken["sent_bytes"], broken["received_bytes"])
    assert usage is not None
    return usage


def expected_usage(case: Case) -> Usage:
    expected = case["expected"]
    return Usage(**expected["buckets"], estimated=expected.get("estimated", False))


def price_of(case: Case) -> Price:
    terms = usage_extract.terms(case["provider_type"], case["response"])
    bought = Purchase(
        provider_type=case["provider_type"],
        model=case["model"],
        at=datetime.fromisoformat(case["at"]),
        service_tier=terms.service_tier,
        region=terms.region,
        given_cost_usd=terms.given_cost_usd,
    )
    return price(usage_of(case), bought)


def digits(amount: Decimal) -> str:
    return f"{amount:f}".rstrip("0").rstrip(".") if "." in f"{amount:f}" else f"{amount:f}"


def test_the_table_is_as_large_and_as_wide_as_was_asked() -> None:
    assert len(CASES) >= 60
    vendors = Counter(case["provider_type"] for case in CASES)
    wanted = {"openai", "anthropic", "google_ai", "deepseek", "openrouter", "groq", "together", "mistral", "xai"}
    assert wanted | {"fireworks", "ollama", "llamacpp", "vllm"} <= set(vendors)
    assert all(case["source"].startswith(("recorded: ", "documented shape")) for case in CASES)


@every_case
def test_tokens_fall_into_the_buckets_of_the_case(case: Case) -> None:
    assert usage_of(case) == expected_usage(case)


@every_case
def test_the_buckets_add_up_to_the_vendors_total(case: Case) -> None:
    usage, total = usage_of(case), case["expected"]["total"]
    assert (usage.reasoning or 0) <= usage.output
    if total is None:
        return
    assert usage.total == total
    counts = counts_of(case)
    assert counts is not None
    assert usage_extract.provider_total(case["dialect"], counts) == total
    assert usage_extract.audit(usage, case["dialect"], counts) is None


@every_case
def test_the_cost_is_that_of_the_hand_calculation_to_the_last_digit(case: Case) -> None:
    found, expected = price_of(case), case["expected"]
    cost = None if found.cost_usd is None else digits(found.cost_usd)
    assert cost == expected["cost_usd"]
    assert found.source.startswith(expected["source"])
    assert (found.tier, found.confidence) == (expected["tier"], expected["confidence"])
    assert found.cost_usd is None or sum(found.buckets.values(), Decimal(0)) == found.cost_usd


@pytest.mark.parametrize("case", [case for case in CASES if "rates" in case["expected"]], ids=named)
def test_the_unit_prices_used_are_those_of_the_case_and_give_its_cost(case: Case) -> None:
    rates = {name: None if rate is None else Decimal(rate) for name, rate in case["expected"]["rates"].items()}
    found = price_of(case).rates
    assert found is not None
    assert {name: getattr(found, name) for name in BUCKETS} == rates
    write = rates["cache_write_5m"] or rates["input"]
    instead = {"cache_read": rates["input"], "cache_write_5m": rates["input"], "cache_write_1h": write, "output": 0}
    tokens = case["expected"]["buckets"]
    parts = [Decimal(tokens[name] or 0) * Decimal(rates[name] or instead.get(name) or 0) for name in BUCKETS]
    cost = sum(parts, Decimal(0))
    assert cost / 1_000_000 == Decimal(case["expected"]["cost_usd"])


# Where data/price_rules.json knows more than the package.
RULED = {
    "anthropic: long on Claude Sonnet 4, by our own rule",
    "anthropic: batch on an older model, by our own rule",
    "anthropic: kept in the US",
}


@pytest.mark.parametrize("case", [case for case in CASES if "rates" in case["expected"]], ids=named)
def test_the_price_lists_own_calculator_agrees_wherever_no_rule_of_ours_says_more(case: Case) -> None:
    tokens = {name: count or 0 for name, count in case["expected"]["buckets"].items()}
    written = tokens["cache_write_5m"] + tokens["cache_write_1h"]
    usage = genai_prices.Usage(
        input_tokens=tokens["input"] + tokens["cache_read"] + written,
        cache_read_tokens=tokens["cache_read"] or None,
        cache_write_tokens=written or None,
        cache_write_1h_tokens=tokens["cache_write_1h"] or None,
        output_tokens=tokens["output"],
    )
    tier = usage_extract.terms(case["provider_type"], case["response"]).service_tier
    theirs = genai_prices.calc_price(
        usage,
        model_ref=case["model"],
        provider_id=price_provider(case["provider_type"]),
        genai_request_timestamp=datetime.fromisoformat(case["at"]),
        price_context={"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else None,
    )
    agrees = theirs.total_price == Decimal(case["expected"]["cost_usd"])
    assert agrees is (named(case) not in RULED)


@every_stream
def test_a_stream_counts_what_the_whole_answer_counts(case: Case) -> None:
    broken = case.get("broken_off")
    sent = broken["sent_bytes"] if broken else 0
    unlisted = preset_of(case["provider_type"]).unlisted_reasoning
    readers: dict[str, Callable[[], Reader]] = {
        "openai_chat": lambda: ChatReader((), sent, hidden_reasoning=False, gate=None, unlisted_reasoning=unlisted),
        "openai_responses": lambda: ResponsesReader(sent),
        "anthropic": lambda: MessagesReader(sent),
    }
    reader = readers[case["dialect"]]()
    for event in case["stream"]:
        reader.feed(orjson.dumps(event), "")
    usage, response = reader.so_far()
    assert usage == expected_usage(case)
    if not broken:
        whole = usage_extract.terms(case["provider_type"], case["response"])
        assert usage_extract.terms(case["provider_type"], response) == whole


# ---- no answer, however odd, is counted twice

counts = st.integers(0, 10**7)
maybe = st.none() | counts
NAMES = {
    "openai_chat": (
        *("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "num_cached_tokens"),
        *("reasoning_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    ),
    "openai_responses": ("input_tokens", "output_tokens", "total_tokens"),
    "anthropic": ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    "google": (
        *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
        *("cachedContentTokenCount", "toolUsePromptTokenCount", "totalTokenCount"),
    ),
}
DETAILS = {
    "prompt_tokens_details": ("cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens"),
    "completion_tokens_details": ("reasoning_tokens", "audio_tokens"),
    "input_tokens_details": ("cached_tokens", "cache_write_tokens"),
    "output_tokens_details": ("reasoning_tokens", "thinking_tokens"),
    "cache_creation": ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
}
odd: st.SearchStrategy[Any] = st.none() | counts | st.booleans() | st.floats() | st.text(max_size=3) | st.just([])


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """(dialect, a usage object with any of the fields that any vendor of it sends)."""
    details = {name: st.fixed_dictionaries({}, optional=dict.fromkeys(keys, values)) for name, keys in DETAILS.items()}
    return st.sampled_from(sorted(NAMES)).flatmap(
        lambda dialect: st.tuples(
            st.just(dialect),
            st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES[dialect], values) | details),
        )
    )


def most(dialect: str, raw: Mapping[str, Any]) -> tuple[int, int]:
    """(all that was sent, the most that can have been said), each token once."""

    def of(*names: str) -> int:
        return sum(raw.get(name) or 0 for name in names)

    if dialect == "google":
        return of("promptTokenCount", "toolUsePromptTokenCount"), of("candidatesTokenCount", "thoughtsTokenCount")
    if dialect == "anthropic":
        written = raw.get("cache_creation_input_tokens")
        if written is None:
            written = sum(value or 0 for value in raw.get("cache_creation", {}).values())
        return of("input_tokens", "cache_read_input_tokens") + written, of("output_tokens")
    if dialect == "openai_responses":
        thought = raw.get("output_tokens_details", {}).get("reasoning_tokens") or 0
        return of("input_tokens"), of("output_tokens") + thought
    thought = raw.get("completion_tokens_details", {}).get("reasoning_tokens")
    return of("prompt_tokens"), of("completion_tokens") + (of("reasoning_tokens") if thought is None else thought)


@given(objects(maybe))
def test_every_token_sent_is_counted_once_and_none_said_is_counted_twice(made: tuple[str, dict[str, Any]]) -> None:
    dialect, raw = made
    usage = usage_extract.extract("openai", dialect, raw)
    sent, said = most(dialect, raw)
    assert usage.prompt == sent
    assert usage.output <= said
    assert (usage.reasoning or 0) <= usage.output
    assert min(usage.input, usage.cache_read or 0, usage.cache_write_5m or 0, usage.cache_write_1h or 0) >= 0


@given(objects(odd), st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_usage_object_is_so_odd_that_it_fails_a_call(made: tuple[str, dict[str, Any]], sent: int, got: int) -> None:
    dialect, raw = made
    usage = usage_extract.extract("google_ai", dialect, raw)
    usage_extract.audit(usage, dialect, raw)
    usage_extract.terms("openrouter", {"usage": raw})
    broken = usage_extract.broken_off(usage, sent, got)
    assert broken.estimated
    assert broken.output >= got // 4


@given(counts, counts, counts, counts, st.booleans())
def test_googles_counts_add_up_to_its_total(own: int, tools: int, said: int, thoughts: int, listed: bool) -> None:
    total = own + tools + said + thoughts
    raw = {"promptTokenCount": own, "toolUsePromptTokenCount": tools, "candidatesTokenCount": said}
    raw |= {"thoughtsTokenCount": thoughts, "totalTokenCount": total}
    assert usage_extract.audit(usage_extract.from_google(raw), "google", raw) is None
    chat: dict[str, Any] = {"prompt_tokens": own, "completion_tokens": said, "total_tokens": own + said + thoughts}
    if listed:
        chat["completion_tokens_details"] = {"reasoning_tokens": thoughts}
    usage = usage_extract.from_chat(chat, unlisted_reasoning=True)
    assert usage_extract.audit(usage, "openai_chat", chat) is None
    assert (usage.reasoning or 0) == thoughts
