"""/v1/steps as the SDK reads it: tokens by bucket, times, feedback, and what was said to the model."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from letta_client.types import ProviderTrace as SdkTrace
from letta_client.types import Step as SdkStep
from letta_client.types.steps import MetricRetrieveResponse

from accounts.models import Project
from agents.models import Agent
from conversations.models import Step
from core.time import now
from telemetry.batches import CREATED
from telemetry.client import connect
from telemetry.inserter import INSERT_PAYLOADS, INSERT_TRACES
from telemetry.trace import CallEnd, CallStart, end_row, start_row
from tests.support.api import Api, Tenant
from tests.support.factories import HANDLE, default_of, make_agent, make_conversation, make_run, make_step

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden" / "contract_keys.json").read_text())
EXTRA = {"attempt", "cost_usd", "price_source", "price_tier", "price_confidence"}
TRACE_EXTRA = {"latency_ms", "ttft_ms", "cost_usd", "error_type", "error_message"}
UNKNOWN = "step-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


@pytest.fixture
def step(agent: Agent) -> Step:
    return make_step(make_run(default_of(agent)))


def ids(steps: list[dict[str, Any]]) -> list[str]:
    return [step["id"] for step in steps]


def write_call(url: str, step: Step, request: bytes = b'{"model": "demo"}', response: bytes = b'{"ok": true}') -> str:
    """One call as the shipper writes it."""
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
        request_json=request,
        billing_plan_type="pro",
    )
    end = CallEnd(response_json=response, output_tokens=3, cost_usd=Decimal("0.25"), latency_ms=90, ttft_ms=12)
    row, payloads = [*start_row(start), *end_row(end)], (request, response, b'{"handle": "openai/demo"}')
    client = connect(url)
    client.execute(INSERT_TRACES, [[value] for value in row], columnar=True)
    client.disconnect()
    client = connect(url, settings={"strings_as_bytes": True})
    said = (row[0].encode(), row[1].encode(), row[CREATED], *payloads)
    client.execute(INSERT_PAYLOADS, [[value] for value in said], columnar=True)
    client.disconnect()
    return start.id


def test_a_step_has_the_shape_of_the_contract_and_its_cost(api: Api, step: Step, tenant: Tenant) -> None:
    shown = api.get(f"/steps/{step.pk}").ok()
    assert set(shown) == {*KEYS["step"], *EXTRA}
    assert (shown["organization_id"], shown["model"], shown["model_handle"]) == (tenant.organization.pk, "demo", HANDLE)
    assert (shown["trace_id"], shown["request_id"], shown["provider_id"]) == (step.run.trace_id, None, None)
    assert (shown["cost_usd"], shown["price_source"]) == ("0.000123456789", "genai-prices")
    read = SdkStep.model_validate(shown)
    assert (read.status, read.stop_reason, read.total_tokens) == ("success", "end_turn", 170)


def test_disjoint_buckets_come_as_the_wires_overlapping_counts(api: Api, step: Step) -> None:
    shown = api.get(f"/steps/{step.pk}").ok()
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["total_tokens"]) == (150, 20, 170)
    assert (shown["cached_input_tokens"], shown["cache_write_tokens"], shown["reasoning_tokens"]) == (40, 10, 5)
    assert shown["prompt_tokens_details"] == {
        "cached_tokens": 40,
        "cache_read_tokens": 40,
        "cache_creation_tokens": 10,
    }
    assert shown["completion_tokens_details"] == {"reasoning_tokens": 5}
    assert sorted(shown["prompt_tokens_details"]) == KEYS["step.prompt_tokens_details"]


def test_a_step_whose_worker_died_counts_no_tokens(api: Api, agent: Agent) -> None:
    error = {"message": "The worker died."}
    run = make_run(default_of(agent))
    lost = make_step(run, usage={}, status="failed", stop_reason=None, error_type="worker_lost", error_data=error)
    shown = api.get(f"/steps/{lost.pk}").ok()
    assert (shown["prompt_tokens"], shown["total_tokens"], shown["prompt_tokens_details"]) == (None, None, None)
    assert (shown["status"], shown["error_type"], shown["error_data"]) == ("failed", "worker_lost", error)


def test_metrics_are_in_nanoseconds(api: Api, step: Step) -> None:
    shown = api.get(f"/steps/{step.pk}/metrics").ok()
    assert sorted(shown) == KEYS["step_metrics"]
    assert (shown["llm_request_ns"], shown["tool_execution_ns"], shown["step_ns"]) == (
        90_000_000,
        3_000_000,
        100_000_000,
    )
    assert MetricRetrieveResponse.model_validate(shown).run_id == step.run_id


def test_steps_are_found_by_each_filter(api: Api, tenant: Tenant, agent: Agent) -> None:
    project = Project.objects.create(organization=tenant.organization, name="Support")
    one = make_step(make_run(default_of(agent)), feedback="positive", tags=["good", "x"])
    two = make_step(make_run(make_conversation(agent), project=project), model="big", model_handle="openai/big")
    three = make_step(make_run(default_of(make_agent(tenant.organization))), feedback="negative", tags=["bad"])
    for days, step in enumerate((one, two, three)):
        Step.objects.filter(pk=step.pk).update(created_at=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=days))
    cases: list[tuple[dict[str, Any], list[Step]]] = [
        ({}, [three, two, one]),
        ({"order": "asc"}, [one, two, three]),
        ({"agent_id": agent.pk}, [two, one]),
        ({"model": "big"}, [two]),
        ({"model": "openai/big"}, [two]),
        ({"start_date": "2026-03-02"}, [three, two]),
        ({"end_date": "2026-03-02T00:00:00Z"}, [two, one]),
        ({"start_date": "2026-03-01T12:00:00+00:00", "end_date": "2026-03-02T12:00:00+00:00"}, [two]),
        ({"feedback": "positive"}, [one]),
        ({"has_feedback": True}, [three, one]),
        ({"has_feedback": False}, [two]),
        ({"tags": ["good", "bad"]}, [three, one]),
        ({"trace_ids": [one.run.trace_id, three.run.trace_id]}, [three, one]),
        ({"project_id": project.pk}, [two]),
        ({"limit": 2}, [three, two]),
        ({"after": three.pk}, [two, one]),
        ({"before": one.pk, "limit": 1}, [two]),
    ]
    for query, wanted in cases:
        assert ids(api.get("/steps/", **query).ok()) == [step.pk for step in wanted], query


@pytest.mark.parametrize("query", [{"start_date": "soon"}, {"feedback": "meh"}, {"limit": "abc"}, {"agent_id": "x"}])
def test_a_wrong_filter_is_422_and_names_it(api: Api, query: dict[str, Any]) -> None:
    answer = api.get("/steps/", **query)
    assert answer.status == 422
    assert next(iter(query)) in answer.detail


def test_a_billing_transaction_is_noted(api: Api, step: Step, their_api: Api) -> None:
    assert api.patch(f"/steps/{step.pk}/transaction/tx-7").ok()["tid"] == "tx-7"
    assert api.get(f"/steps/{step.pk}").ok()["tid"] == "tx-7"
    assert their_api.patch(f"/steps/{step.pk}/transaction/tx-8").status == 404


def test_feedback_is_given_and_taken_back(api: Api, step: Step) -> None:
    path = f"/steps/{step.pk}/feedback"
    shown = api.patch(path, {"feedback": "positive", "tags": ["kind"]}).ok()
    assert (shown["feedback"], shown["tags"]) == ("positive", ["kind"])
    assert set(shown) == {*KEYS["step"], *EXTRA}
    again = api.patch(path, {"feedback": None, "tags": None}).ok()
    assert (again["feedback"], again["tags"]) == (None, ["kind"])
    assert api.patch(path, {"feedback": "meh"}).status == 422


def test_a_steps_trace_tells_what_was_said_to_the_model(api: Api, step: Step, clickhouse: str) -> None:
    call_id = write_call(clickhouse, step)
    shown = api.get(f"/steps/{step.pk}/trace").ok()
    assert set(shown) == {*KEYS["provider_trace"], *TRACE_EXTRA}
    assert (shown["id"], shown["step_id"]) == (f"provider_trace-{call_id}", step.pk)
    assert (shown["request_json"], shown["response_json"]) == ({"model": "demo"}, {"ok": True})
    assert (shown["latency_ms"], shown["ttft_ms"], Decimal(shown["cost_usd"])) == (90, 12, Decimal("0.25"))
    assert shown["billing_context"] == {"plan_type": "pro", "cost_source": None, "customer_id": None}
    assert shown["llm_config"] == {"handle": "openai/demo"}
    assert SdkTrace.model_validate(shown).agent_tags == ["a", "b"]
    assert api.get(f"/telemetry/{step.pk}").ok() == shown


def test_an_answer_that_was_no_json_object_is_kept_as_it_came(api: Api, step: Step, clickhouse: str) -> None:
    write_call(clickhouse, step, request=b"[1, 2]", response=b"<html>")
    shown = api.get(f"/steps/{step.pk}/trace").ok()
    assert (shown["request_json"], shown["response_json"]) == ({"_value": [1, 2]}, {"_raw": "<html>"})


def test_a_trace_that_is_not_there_yet_is_null(api: Api, step: Step, clickhouse: str) -> None:
    assert api.get(f"/steps/{step.pk}/trace").ok() is None


def test_a_runs_trace_lists_its_calls(api: Api, step: Step, clickhouse: str) -> None:
    path = f"/runs/{step.run_id}/trace"
    assert api.get(path).ok() == []
    calls = [write_call(clickhouse, step) for _ in range(2)]
    shown = api.get(path).ok()
    assert {call["id"] for call in shown} == set(calls)
    assert (shown[0]["model"], Decimal(shown[0]["cost_usd"])) == ("demo", Decimal("0.25"))
    assert len(api.get(path, limit=1).ok()) == 1
    assert api.get(path, limit=5001).status == 422


@pytest.fixture
def no_clickhouse(settings: Any) -> None:
    settings.CLICKHOUSE_URL = "clickhouse://127.0.0.1:9/none"


def test_without_clickhouse_a_trace_is_503_and_the_step_is_still_read(
    api: Api, step: Step, no_clickhouse: None
) -> None:
    assert api.get(f"/steps/{step.pk}/trace").status == 503
    assert api.get(f"/runs/{step.run_id}/trace").status == 503
    assert api.get(f"/steps/{step.pk}").ok()["id"] == step.pk


def test_an_unknown_step_is_404_and_a_malformed_id_422(api: Api) -> None:
    answer = api.get(f"/steps/{UNKNOWN}")
    assert (answer.status, answer.detail) == (404, f"Step with ID {UNKNOWN} not found")
    assert api.get("/steps/step-1/trace").status == 422


def test_another_organization_finds_no_step(their_api: Api, step: Step, clickhouse: str) -> None:
    write_call(clickhouse, step)
    for path in (f"/steps/{step.pk}{rest}" for rest in ("", "/messages", "/metrics", "/trace")):
        assert their_api.get(path).status == 404, path
    assert their_api.get(f"/telemetry/{step.pk}").status == 404
    assert their_api.patch(f"/steps/{step.pk}/feedback", {"feedback": "negative"}).status == 404
    assert their_api.get("/steps/").ok() == their_api.get("/steps/", agent_id=step.agent_id).ok() == []
    step.refresh_from_db()
    assert step.feedback is None
