"""What the SDK reads of a step's and a run's calls when PostgreSQL is the first back end of the setting."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from letta_client.types import ProviderTrace as SdkTrace
from letta_client.types.runs import UsageRetrieveResponse

from agents.models import Agent
from conversations.models import Run, Step
from core.time import now
from telemetry.backends.postgres import Postgres
from telemetry.shipper import Shipper
from telemetry.spool import Spool
from telemetry.trace import CallEnd, CallStart
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_run, make_step

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden" / "contract_keys.json").read_text())


@pytest.fixture
def step(tenant: Tenant, settings: Any) -> Step:
    settings.PROVIDER_TRACE_BACKENDS = ["postgres", "clickhouse"]
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"
    agent: Agent = make_agent(tenant.organization)
    return make_step(make_run(default_of(agent)))


def call_was_made(step: Step, folder: Path, attempt: int, end: CallEnd) -> str:
    """Through the spool and the shipper, as in an installation."""
    start = CallStart(
        id=str(uuid4()),
        organization_id=step.organization_id,
        agent_id=step.agent_id,
        agent_tags=("a", "b"),
        run_id=step.run_id,
        step_id=step.pk,
        call_type="agent_step",
        provider="openai",
        model="demo",
        created_at=now(),
        attempt=attempt,
        request_json=b'{"model": "demo"}',
        llm_config={"handle": "openai/demo"},
    )
    spool = Spool(folder)
    spool.begin(start).finish(end)
    spool.close()
    assert Shipper(folder, [Postgres()]).drain()
    return start.id


def test_traces_are_read_from_the_first_back_end_while_another_is_down(
    api: Api, their_api: Api, step: Step, tmp_path: Path
) -> None:
    failed = call_was_made(step, tmp_path, 1, CallEnd(error_type="Overloaded", error_message="529"))
    answered = CallEnd(response_json=b'{"ok": true}', output_tokens=3, cost_usd=Decimal("0.25"), ttft_ms=12)
    call_id = call_was_made(step, tmp_path, 2, answered)
    shown = api.get(f"/steps/{step.pk}/trace").ok()
    assert set(shown) >= set(KEYS["provider_trace"])
    assert (shown["id"], shown["step_id"]) == (f"provider_trace-{call_id}", step.pk)
    assert (shown["request_json"], shown["response_json"]) == ({"model": "demo"}, {"ok": True})
    assert (shown["llm_config"], Decimal(shown["cost_usd"])) == ({"handle": "openai/demo"}, Decimal("0.25"))
    assert SdkTrace.model_validate(shown).agent_tags == ["a", "b"]
    assert api.get(f"/telemetry/{step.pk}").ok() == shown
    calls = api.get(f"/runs/{step.run_id}/trace").ok()
    assert [(call["id"], call["attempt"], call["error_type"]) for call in calls] == [
        (failed, 1, "Overloaded"),
        (call_id, 2, ""),
    ]
    assert their_api.get(f"/steps/{step.pk}/trace").status == 404


def test_a_runs_usage_needs_no_back_end(api: Api, step: Step, settings: Any) -> None:
    settings.PROVIDER_TRACE_BACKENDS = ["socket"]
    Run.objects.filter(pk=step.run_id).update(usage=step.usage)
    shown = api.get(f"/runs/{step.run_id}/usage").ok()
    assert UsageRetrieveResponse.model_validate(shown).total_tokens == 170
    refused = api.get(f"/steps/{step.pk}/trace")
    assert refused.status == 503
    assert "PROVIDER_TRACE_BACKENDS" in refused.detail
