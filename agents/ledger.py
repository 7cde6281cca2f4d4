"""What a call cost, and what its trace keeps of how that came about."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from core.time import now
from providers import pricing, usage_extract
from providers.catalog import preset_of
from providers.price_list import Rates
from providers.resolve import ResolvedModel, price_overrides
from providers.usage import Usage
from providers.usage_extract import Terms
from telemetry.trace import NOT_BILLED

logger = logging.getLogger(__name__)

UNBILLED = pricing.Price(cost_usd=Decimal(0), source=NOT_BILLED, tier="", confidence="own")
LISTED_TERMS = Terms()
MAX_TOLD = 1_000
_told: set[tuple[str, str]] = set()


def price_call(
    target: ResolvedModel,
    usage: Usage,
    organization_id: str,
    terms: Terms = LISTED_TERMS,
    at: datetime | None = None,
) -> pricing.Price:
    """`terms`: what the answer says of its tier, its region and its own cost. `at`: when the call was begun."""
    bought = purchase(target.credential.provider_type, target.model, terms, at or now())
    return pricing.price(usage, bought, price_overrides(organization_id))


def purchase(provider_type: str, model: str, terms: Terms, at: datetime) -> pricing.Purchase:
    return pricing.Purchase(
        provider_type=provider_type,
        model=terms.model or model,
        at=at,
        service_tier=terms.service_tier,
        region=terms.region,
        given_cost_usd=terms.given_cost_usd,
    )


def price_columns(price: pricing.Price, terms: Terms, usage: Usage) -> dict[str, Any]:
    """Fields of CallEnd."""
    columns: dict[str, Any] = {
        "price_tier": price.tier,
        "price_confidence": price.confidence,
        "price_factor": price.factor,
        "service_tier": terms.service_tier or "",
        "service_region": terms.region or "",
        "given_cost_usd": None if usage.estimated else terms.given_cost_usd,
    }
    return columns if price.rates is None else columns | rate_columns(price.rates)


@lru_cache(maxsize=4096)
def rate_columns(rates: Rates) -> dict[str, Decimal | None]:
    """What each bucket was charged at, also where another bucket's price stood in."""
    used = rates.applied()
    return {
        "rate_input": used.input,
        "rate_cache_read": used.cache_read,
        "rate_cache_write_5m": used.cache_write_5m,
        "rate_cache_write_1h": used.cache_write_1h,
        "rate_output": used.output,
    }


def counts_of(response: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The usage object of an answer in its non-streamed shape."""
    for name in ("usage", "usageMetadata"):
        counts = response.get(name)
        if isinstance(counts, Mapping) and counts:
            return counts
    return None


def reported_total(target: ResolvedModel, usage: Usage, response: Mapping[str, Any]) -> int | None:
    """What the provider says that the buckets add up to. Where they do not, the row says so, and the log once."""
    counts = None if usage.estimated else counts_of(response)
    if counts is None:
        return None
    provider_type = target.credential.provider_type
    dialect = target.credential.dialect or preset_of(provider_type).dialect
    total = usage_extract.provider_total(dialect, counts)
    about = (provider_type, target.model)
    if total is not None and total != usage.total and about not in _told and len(_told) < MAX_TOLD:
        _told.add(about)
        logger.error(
            "%s/%s: buckets add up to %d tokens, the provider says %d; `manage.py verify_ledger` lists such calls",
            *about,
            usage.total,
            total,
        )
    return total
