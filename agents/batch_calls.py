"""A model call that goes through its vendor's batch API: held for, priced and traced as others are, but over a day.

Nothing of it lives in a process between the asking and the answer: what is known at the start is kept as JSON.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from agents import ledger, spending
from agents.ledger import LISTED_TERMS, UNBILLED, price_call
from agents.model_calls import CallContext, Outcome, call_end, call_start, failed_end
from providers import usage_extract
from providers.clients.batching import TIER
from providers.errors import ProviderError
from providers.events import Finished
from providers.resolve import ResolvedModel
from providers.types import ModelRequest
from providers.usage import Usage
from telemetry.trace import CallEnd, CallStart

HELD_S = 28 * 3600.0  # a vendor takes a day; then it is looked for and settled
BATCH_TERMS = replace(LISTED_TERMS, service_tier=TIER)
_APART = ("request_json", "secrets")


def ask(target: ResolvedModel, request: ModelRequest, context: CallContext, body: bytes) -> tuple[CallStart, bool]:
    """The call as it begins, and whether it is held for. Raises AppError where it may not be made, RateLimited."""

    def cost_of(usage: Usage) -> Decimal | None:
        return price_call(target, usage, context.organization_id, BATCH_TERMS).cost_usd

    start = call_start(target, context, 1, body, request)
    start = replace(
        start,
        llm_config={**start.llm_config, "service_tier": TIER},
        estimated_cost_usd=cost_of(Usage(input=start.estimated_prompt_tokens, estimated=True)),
    )
    held = spending.hold(start, request.max_output_tokens, cost_of, HELD_S)
    return start, held.facts is not None


def answered(target: ResolvedModel, start: CallStart, answer: Finished, took_ms: int) -> tuple[Outcome, CallEnd]:
    """What it cost, to the vendor's terms for batches, and the end of its trace."""
    terms = usage_extract.terms(target.credential.provider_type, answer.response)
    outcome = Outcome(
        call_id=start.id,
        usage=answer.usage,
        model_ms=took_ms,
        terms=replace(terms, service_tier=TIER),
        reported_total=ledger.reported_total(target, answer.usage, answer.response),
    )
    outcome.charge(price_call(target, answer.usage, start.organization_id, outcome.terms, start.created_at))
    response = orjson.dumps(answer.response)
    return outcome, call_end(outcome, response_json=response, finish_reason=answer.finish_reason)


def failed(start: CallStart, error: ProviderError, took_ms: int) -> tuple[Outcome, CallEnd]:
    """Vendors bill no call of a batch that failed, expired or was cancelled."""
    outcome = Outcome(call_id=start.id, model_ms=took_ms)
    outcome.charge(UNBILLED)
    return outcome, failed_end(outcome, error.error_type, error.message)


def settle(start: CallStart, outcome: Outcome, *, billed: bool) -> None:
    spending.settle(spending.held_by(start), outcome, billed=billed)


def release(start: CallStart) -> None:
    """It is not made after all."""
    outcome = Outcome(call_id=start.id)
    outcome.charge(UNBILLED)
    settle(start, outcome, billed=False)


def dumped(start: CallStart) -> dict[str, Any]:
    """As JSON, without the request and what is secret."""
    kept = {name: value for name, value in asdict(start).items() if name not in _APART}
    cost = start.estimated_cost_usd
    return kept | {
        "created_at": start.created_at.isoformat(),
        "estimated_cost_usd": None if cost is None else str(cost),
        "agent_tags": list(start.agent_tags),
    }


def loaded(kept: dict[str, Any], request_json: bytes = b"", secrets: tuple[str, ...] = ()) -> CallStart:
    cost = kept["estimated_cost_usd"]
    read = {
        "created_at": datetime.fromisoformat(kept["created_at"]),
        "estimated_cost_usd": None if cost is None else Decimal(cost),
        "agent_tags": tuple(kept["agent_tags"]),
    }
    return CallStart(**{**kept, **read}, request_json=request_json, secrets=secrets)
