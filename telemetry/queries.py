"""Reading single traces, and those of a run. The organization is the first condition of every query; None is for
superusers alone.

Values are bound by the server, never written into SQL. Times are UTC. Every function
raises TelemetryUnavailable when ClickHouse does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from telemetry.repriced import Repricing, latest
from telemetry.select import select
from telemetry.trace import epoch_ms


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One call without what was said. The fields are the table's columns, in its order."""

    id: str
    organization_id: str
    project_id: str
    agent_id: str
    agent_tags: Sequence[str]
    conversation_id: str
    run_id: str
    step_id: str
    trace_id: str
    call_type: str
    provider: str
    provider_name: str
    provider_key_id: str
    is_byok: int
    model: str
    attempt: int
    identity_id: str
    api_key_id: str
    created_at: datetime
    request_size_bytes: int
    billing_plan_type: str
    billing_cost_source: str
    billing_customer_id: str
    response_size_bytes: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    input_tokens: int
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    cache_write_5m_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    usage_estimated: int
    cost_usd: Decimal | None
    price_source: str
    latency_ms: int
    ttft_ms: int | None
    finish_reason: str
    is_error: int
    error_type: str
    error_message: str
    price_tier: str
    price_confidence: str
    price_factor: Decimal
    rate_input: Decimal | None
    rate_cache_read: Decimal | None
    rate_cache_write_5m: Decimal | None
    rate_cache_write_1h: Decimal | None
    rate_output: Decimal | None
    given_cost_usd: Decimal | None
    service_tier: str
    service_region: str
    reported_total_tokens: int | None
    content: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One call with what was said; all three are "" when the payload has expired or was dropped.

    `repricing`: the last correction of its cost, which is in `row` already. `is_corrected`: it was looked for.
    """

    row: TraceRow
    request_json: str
    response_json: str
    llm_config_json: str
    repricing: Repricing | None = None
    is_corrected: bool = False


def get_trace(organization_id: str | None, trace_id: str) -> Trace | None:
    """By the id of the call."""
    return _with_payload(select("trace_by_id", organization_id, id=trace_id))


def trace_of_step(organization_id: str | None, step_id: str) -> Trace | None:
    """The newest call of the step: the attempt that counted."""
    return _with_payload(select("trace_of_step", organization_id, step_id=step_id))


def traces_of_run(organization_id: str | None, run_id: str, limit: int = 1000) -> list[TraceRow]:
    """Every call of the run, the oldest first."""
    rows = select("traces_of_run", organization_id, run_id=run_id, limit=limit)
    return effective(organization_id, [TraceRow(*row) for row in rows])


def effective(organization_id: str | None, rows: Sequence[TraceRow]) -> list[TraceRow]:
    """The rows with what they cost since they were last re-priced. One query."""
    found = latest(organization_id, [(row.id, epoch_ms(row.created_at)) for row in rows])
    return [replace(row, **found[row.id].prices) if row.id in found else row for row in rows]


def corrected(trace: Trace) -> Trace:
    """With what it cost since it was last re-priced."""
    row = trace.row
    repricing = latest(row.organization_id, [(row.id, epoch_ms(row.created_at))]).get(row.id)
    if repricing is not None:
        row = replace(row, **repricing.prices)
    return replace(trace, row=row, repricing=repricing, is_corrected=True)


def _with_payload(rows: Sequence[Sequence[Any]]) -> Trace | None:
    if not rows:
        return None
    row = TraceRow(*rows[0])
    payload = select("payload", row.organization_id, created_at=epoch_ms(row.created_at), id=row.id)
    request, response, config = payload[0] if payload else ("", "", "")
    return corrected(Trace(row, request, response, config))
