"""Calls for the ledger: vendors' answers as they stand in tests/providers/ledger/cases, recorded as a model call is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from django.conf import settings

from agents.ledger import counts_of, price_call, reported_total
from agents.model_calls import Outcome, call_end
from providers import usage_extract
from providers.catalog import describe
from providers.clients.base import Credential
from providers.resolve import ResolvedModel
from providers.usage import Usage
from telemetry import segments
from telemetry.backends.clickhouse import ClickHouse
from telemetry.client import connect
from telemetry.recorder import close_recorder, recorder
from telemetry.shipper import Shipper
from telemetry.trace import CallStart

Case = Mapping[str, Any]
CASES = Path(__file__).parents[1] / "providers" / "ledger" / "cases"


def every_case() -> list[Case]:
    return [case for path in sorted(CASES.glob("*.json")) for case in orjson.loads(path.read_bytes())]


def chat_case(model: str, prompt: int = 1000, completion: int = 100) -> Case:
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {"provider_type": "openai", "dialect": "openai_chat", "model": model, "response": {"usage": counts}}


def write_case(organization_id: str, case: Case, at: datetime) -> str:
    """Into this process's spool, with what it costs at that time. Returns the call's id."""
    target = ResolvedModel(
        credential=Credential(provider_type=case["provider_type"], dialect=case["dialect"]),
        model=case["model"],
        info=describe(case["provider_type"], case["model"]),
        provider_id=None,
        category="base",
    )
    response = case["response"]
    counts = counts_of(response)
    usage = usage_extract.extract(case["provider_type"], case["dialect"], counts) if counts else None
    if broken := case.get("broken_off"):
        usage = usage_extract.broken_off(usage, broken["sent_bytes"], broken["received_bytes"])
    outcome = Outcome(call_id=str(uuid4()), usage=usage or Usage(estimated=True))
    outcome.terms = usage_extract.terms(case["provider_type"], response)
    outcome.reported_total = reported_total(target, outcome.usage, response)
    outcome.charge(price_call(target, outcome.usage, organization_id, outcome.terms, at))
    start = CallStart(
        id=outcome.call_id,
        organization_id=organization_id,
        call_type="agent_step",
        provider=case["provider_type"],
        model=case["model"],
        created_at=at,
        request_json=b"{}",
        llm_config={"dialect": case["dialect"]},
    )
    recorder().begin(start).finish(call_end(outcome, response_json=orjson.dumps(response)))
    return start.id


def forget_earlier_calls() -> None:
    """What other tests of this process left in its spool is not to be shipped with ours."""
    close_recorder()
    for path in segments.listed(recorder().directory, segments.SEALED, segments.DEAD):
        path.unlink()


def ship() -> None:
    """Everything in this process's spool, to the ClickHouse of the settings."""
    close_recorder()
    assert Shipper(recorder().directory, [ClickHouse()]).drain()


def in_clickhouse(sql: str, **settings_: Any) -> list[tuple[Any, ...]]:
    client = connect(settings.CLICKHOUSE_URL)
    try:
        found: list[tuple[Any, ...]] = client.execute(sql, settings={"mutations_sync": 2, **settings_})
        return found
    finally:
        client.disconnect()


def sums_of(table: str) -> tuple[int, int, Decimal]:
    """(calls, calls without a price, cost) in one of the sums, or in `llm_ledger`."""
    [row] = in_clickhouse(f"SELECT sum(calls), sum(unpriced_calls), sum(cost_usd) FROM {table}")
    return row
