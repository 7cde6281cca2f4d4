"""What was said to a model, on the wire: ProviderTrace of one call, and the calls of a run."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from agents.schemas.base import Wire
from telemetry.queries import Trace, TraceRow
from telemetry.said import as_object


class BillingContext(Wire):
    plan_type: str | None = None
    cost_source: str | None = None
    customer_id: str | None = None


class ProviderTrace(Wire):
    """ProviderTrace of the contract, with what the call cost and how it ended."""

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    id: str
    request_json: dict[str, Any]
    response_json: dict[str, Any]
    step_id: str | None = None
    agent_id: str | None = None
    agent_tags: list[str] | None = None
    call_type: str | None = None
    run_id: str | None = None
    source: str | None = None
    org_id: str | None = None
    user_id: str | None = None
    compaction_settings: dict[str, Any] | None = None
    llm_config: dict[str, Any] | None = None
    billing_context: BillingContext | None = None
    latency_ms: int | None = None
    ttft_ms: int | None = None
    cost_usd: Decimal | None = None
    error_type: str | None = None
    error_message: str | None = None


def provider_trace(trace: Trace) -> ProviderTrace:
    row = trace.row
    return ProviderTrace(
        created_at=row.created_at,
        updated_at=row.created_at,
        id=f"provider_trace-{row.id}",
        request_json=as_object(trace.request_json),
        response_json=as_object(trace.response_json),
        step_id=row.step_id or None,
        agent_id=row.agent_id or None,
        agent_tags=list(row.agent_tags),
        call_type=row.call_type or None,
        run_id=row.run_id or None,
        org_id=row.organization_id,
        llm_config=as_object(trace.llm_config_json) or None,
        billing_context=_billing(row),
        latency_ms=row.latency_ms,
        ttft_ms=row.ttft_ms,
        cost_usd=row.cost_usd,
        error_type=row.error_type or None,
        error_message=row.error_message or None,
    )


def call_of(row: TraceRow) -> dict[str, Any]:
    """One call of a run, by the column names of `llm_traces`; amounts are text, as JSON has no decimals."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in asdict(row).items()}


def _billing(row: TraceRow) -> BillingContext | None:
    given = (row.billing_plan_type, row.billing_cost_source, row.billing_customer_id)
    if not any(given):
        return None
    plan_type, cost_source, customer_id = (value or None for value in given)
    return BillingContext(plan_type=plan_type, cost_source=cost_source, customer_id=customer_id)
