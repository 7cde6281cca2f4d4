"""Calls to look at, one for each of what they are made of: rows and payloads as the shipper writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from core.time import now
from telemetry.trace import CallEnd, CallStart, end_row, start_row

Row = tuple[list[Any], tuple[bytes, bytes, bytes]]
END = CallEnd(
    input_tokens=1000,
    cache_read_tokens=500,
    output_tokens=200,
    cost_usd=Decimal("0.0034"),
    price_source="genai-prices 0.2.3",
    price_confidence="exact",
    price_factor=Decimal("2"),
    rate_input=Decimal("1"),
    rate_cache_read=Decimal("0.4"),
    rate_output=Decimal("2.5"),
    latency_ms=1200,
    ttft_ms=300,
    finish_reason="stop",
)


def call(organization: Any, request: Any = None, *, at: datetime | None = None, **fields: Any) -> CallStart:
    """`fields` go over the start's own."""
    known = {"agent_id": "agent-0", "conversation_id": "conv-0", "run_id": "run-0", "call_type": "agent_step"}
    return CallStart(
        **{
            "id": str(uuid4()),
            "organization_id": str(organization.pk),
            "provider": "openai",
            "provider_name": "openai",
            "model": "gpt-5-mini",
            "created_at": at or now() - timedelta(minutes=5),
            "request_json": json.dumps(request or {"messages": []}).encode(),
            **known,
            **fields,
        }
    )


def row(start: CallStart, answer: Any = None, *, kept: bool = True, **fields: Any) -> Row:
    """`fields` go over the end's own; `kept` False: nothing of what was said is there."""
    response = json.dumps(answer or {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]}).encode()
    end = replace(END, response_json=response, **fields)
    return [*start_row(start), *end_row(end)], (start.request_json, response, b"{}") if kept else (b"", b"", b"")


def calls_of(organization: Any, agents: Sequence[Any]) -> list[Row]:
    """One call of each agent."""
    return [row(call(organization, agent_id=str(agent.pk))) for agent in agents]
