"""A recorded call counted and priced once more: for audits, which compare, and for re-pricing, which corrects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.ledger import LISTED_TERMS, counts_of, price_columns, purchase
from providers import pricing, usage_extract
from providers.catalog import preset_of
from providers.pricing import Override, Price
from providers.usage import Usage
from providers.usage_extract import Terms
from telemetry import explain
from telemetry.ledger import Answer
from telemetry.queries import TraceRow
from telemetry.trace import ESTIMATED, METADATA, NOT_BILLED, UNPRICED

BUCKETS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
CHAT = "openai_chat"
DIALECTS = frozenset({CHAT, "openai_responses", "anthropic", "google", "converse"})


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`kind`: buckets, vendor_total, tokens, cost, price, missing_row, doubled_row, step_cost, sums."""

    kind: str
    id: str
    said: str


@dataclass(frozen=True, slots=True)
class Checked:
    """`unchecked`: why a part could not be checked."""

    mismatches: tuple[Mismatch, ...] = ()
    unchecked: tuple[str, ...] = ()


def usage_of(row: TraceRow) -> Usage:
    return Usage(
        input=row.input_tokens,
        cache_read=row.cached_input_tokens,
        cache_write_5m=row.cache_write_5m_tokens,
        cache_write_1h=row.cache_write_1h_tokens,
        output=row.completion_tokens,
        reasoning=row.reasoning_tokens,
        estimated=bool(row.usage_estimated),
    )


def check(row: TraceRow, answer: Answer | None, overrides: Sequence[Override]) -> Checked:
    """One call against its own columns, its answer, and the price list of its time."""
    found = [*_buckets(row), *_cost(row)]
    tokens = _tokens(row, answer)
    price = _price(row, overrides)
    unchecked = [said for said in (tokens, price) if isinstance(said, str)]
    if row.cost_usd is not None and explain.recomputed(row) is None:
        unchecked.append("cost: what it was made from was not kept then")
    found += [said for said in (tokens, price) if isinstance(said, Mismatch)]
    return Checked(tuple(found), tuple(unchecked))


def _buckets(row: TraceRow) -> Iterator[Mismatch]:
    usage = usage_of(row)
    if (row.prompt_tokens, row.total_tokens) != (usage.prompt, usage.total) or (
        (row.cache_write_tokens or 0) != (usage.cache_write or 0)
    ):
        said = f"buckets give {usage.prompt} + {usage.output}, the row says {row.prompt_tokens} and {row.total_tokens}"
        yield Mismatch("buckets", row.id, said)
    if (usage.reasoning or 0) > usage.output:
        yield Mismatch("buckets", row.id, f"{usage.reasoning} reasoning tokens in {usage.output} of output")
    if explain.is_mismatched(row):
        said = f"buckets add up to {row.total_tokens}, the provider says {row.reported_total_tokens}"
        yield Mismatch("vendor_total", row.id, said)


def _cost(row: TraceRow) -> Iterator[Mismatch]:
    if (row.cost_usd is None) != (row.price_source == UNPRICED):
        yield Mismatch("cost", row.id, f"it costs {row.cost_usd} by {row.price_source}")
        return
    made = explain.recomputed(row)
    if row.cost_usd is not None and made is not None and made != row.cost_usd:
        yield Mismatch("cost", row.id, f"its unit prices give {made:f} USD, the row says {row.cost_usd:f}")


def _tokens(row: TraceRow, answer: Answer | None) -> Mismatch | str | None:
    if row.price_source == NOT_BILLED:
        return None
    if row.usage_estimated:
        return "tokens: estimated"
    if row.content == METADATA:
        return "tokens: metadata only is kept"
    if answer is None:
        return "tokens: the payload has expired or was never kept"
    counts = counts_of(answer.said)
    if counts is None:
        return "tokens: the answer gives none"
    usage = usage_extract.extract(row.provider, dialect_of(row.provider, answer), counts)
    kept = usage_of(row)
    wrong = [
        f"{name} {getattr(kept, name) or 0} instead of {getattr(usage, name) or 0}"
        for name in BUCKETS
        if (getattr(kept, name) or 0) != (getattr(usage, name) or 0)
    ]
    return Mismatch("tokens", row.id, f"the answer gives other counts: {', '.join(wrong)}") if wrong else None


def dialect_of(provider_type: str, answer: Answer) -> str:
    found = answer.dialect or preset_of(provider_type).dialect
    if found == "google" and "usageMetadata" not in answer.said:  # of the time when Google was asked in OpenAI's form
        return CHAT
    return found if found in DIALECTS else CHAT  # the scripted provider answers in that shape


def _price(row: TraceRow, overrides: Sequence[Override]) -> Mismatch | str | None:
    """By the price list, at the time of the call. Prices of one's own may have been changed since."""
    if row.price_source in (NOT_BILLED, ESTIMATED):
        return None
    price = _at_its_time(row, terms_of(row, None), overrides)
    if price.cost_usd == row.cost_usd and price.source == row.price_source:
        return None
    if price.source != row.price_source:
        return f"price: by {row.price_source} then, by {price.source} now"
    if price.factor != row.price_factor or row.price_source == pricing.OVERRIDE:
        return "price: the organization's own price was changed since"
    if not row.price_confidence:
        return "price: the terms were not kept then"
    return Mismatch("price", row.id, f"the price list of that time gives {price.cost_usd} USD, not {row.cost_usd}")


def terms_of(row: TraceRow, answer: Answer | None) -> Terms:
    """As they are on the row; of a row from before there were columns for it, as they are in its answer."""
    if not row.price_confidence and answer is not None:
        return usage_extract.terms(row.provider, answer.said)
    if not row.price_confidence:
        return LISTED_TERMS
    return Terms(
        service_tier=row.service_tier or None,
        region=row.service_region or None,
        given_cost_usd=row.given_cost_usd,
    )


def _at_its_time(row: TraceRow, terms: Terms, overrides: Sequence[Override]) -> Price:
    bought = purchase(row.provider, row.model, terms, row.created_at)
    return pricing.price(usage_of(row), bought, overrides)


def priced_anew(row: TraceRow, answer: Answer | None, overrides: Sequence[Override]) -> dict[str, Any] | None:
    """The row's PRICE_COLUMNS by today's price data, valid at the call's time; None where nothing is to be corrected.

    A known price is never taken away: where today's data has none, the old one stays.
    """
    if row.price_source == NOT_BILLED:
        return None
    terms = terms_of(row, answer)
    if row.price_source == pricing.GIVEN and terms.given_cost_usd is None:
        return None  # what the provider said is not kept any more, and no list knows better
    price = _at_its_time(row, terms, overrides)
    if price.cost_usd is None or price.cost_usd == row.cost_usd:
        return None
    rates: dict[str, Decimal | None] = dict.fromkeys(
        ("rate_input", "rate_cache_read", "rate_cache_write_5m", "rate_cache_write_1h", "rate_output")
    )
    known = {"cost_usd": price.cost_usd, "price_source": price.source}
    return {**rates, **price_columns(price, terms, usage_of(row)), **known}
