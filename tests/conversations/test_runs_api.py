"""/v1/runs as the SDK reads it: states in the wire's words, filters, sums, and what another organization sees of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from letta_client.types.agents import Run as SdkRun
from letta_client.types.runs import UsageRetrieveResponse

from accounts.models import Project
from agents.models import Agent, Tool
from conversations.models import Message, Run, RunStatus
from core.time import now
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_conversation, make_run, make_step, make_tool_turn

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden" / "contract_keys.json").read_text())
QUICK_SLOW_GOING = (RunStatus.COMPLETED, RunStatus.COMPLETED, RunStatus.RUNNING)
UNKNOWN = "run-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


def ids(runs: list[dict[str, Any]]) -> list[str]:
    return [run["id"] for run in runs]


def test_a_run_has_the_shape_of_the_contract_and_its_cost(api: Api, agent: Agent) -> None:
    run = make_run(make_conversation(agent), background=True, run_type="send_message_async")
    shown = api.get(f"/runs/{run.pk}").ok()
    assert set(shown) == {*KEYS["run"], "cost_usd", "step_count"}
    assert sorted(shown["request_config"]) == KEYS["run.request_config"]
    assert (shown["status"], shown["stop_reason"], shown["background"]) == ("completed", "end_turn", True)
    assert (shown["cost_usd"], shown["step_count"]) == ("0.000123456789", 1)
    assert shown["metadata"] == {"run_type": "send_message_async"}
    assert shown["ttft_ns"] == 12_000_000
    assert shown["total_duration_ns"] == 250_000_000
    read = SdkRun.model_validate(shown)
    assert (read.conversation_id, read.status) == (run.conversation_id, "completed")


def test_a_run_of_the_default_conversation_names_none(api: Api, agent: Agent) -> None:
    assert api.get(f"/runs/{make_run(default_of(agent)).pk}").ok()["conversation_id"] is None


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (RunStatus.QUEUED, "created"),
        (RunStatus.RUNNING, "running"),
        (RunStatus.WAITING_APPROVAL, "completed"),
        (RunStatus.COMPLETED, "completed"),
        (RunStatus.FAILED, "failed"),
        (RunStatus.CANCELLED, "cancelled"),
    ],
)
def test_states_come_in_the_wires_words_and_are_found_by_them(
    api: Api, agent: Agent, status: RunStatus, shown: str
) -> None:
    run = make_run(make_conversation(agent), status=status)
    make_run(make_conversation(agent), status=RunStatus.FAILED if shown != "failed" else RunStatus.CANCELLED)
    found = api.get("/runs/", statuses=[shown]).ok()
    assert [(one["id"], one["status"]) for one in found] == [(run.pk, shown)]


def test_a_failure_is_told_in_the_metadata(api: Api, agent: Agent) -> None:
    error = {"type": "llm_rate_limit", "message": "Slow down.", "detail": "429", "status": 429}
    run = make_run(default_of(agent), status=RunStatus.FAILED, stop_reason="llm_api_error", error=error)
    told = api.get(f"/runs/{run.pk}").ok()["metadata"]["error"]
    assert told == {"type": "llm_rate_limit", "message": "Slow down.", "detail": "429"}


def test_what_was_asked_of_the_shape_of_messages_is_shown(api: Api, agent: Agent) -> None:
    options = {"use_assistant_message": False, "include_return_message_types": ["user_message"], "max_steps": 3}
    shown = api.get(f"/runs/{make_run(default_of(agent), options=options).pk}").ok()["request_config"]
    assert shown == {
        "use_assistant_message": False,
        "assistant_message_tool_name": "send_message",
        "assistant_message_tool_kwarg": "message",
        "include_return_message_types": ["user_message"],
    }


def test_runs_are_found_by_each_filter(api: Api, tenant: Tenant, agent: Agent) -> None:
    other = make_agent(tenant.organization)
    conversation = make_conversation(agent)
    one = make_run(default_of(agent), background=True)
    two = make_run(conversation, status=RunStatus.RUNNING)
    three = make_run(default_of(other), stop_reason="max_steps")
    cases: list[tuple[dict[str, Any], list[Run]]] = [
        ({}, [three, two, one]),
        ({"order": "asc"}, [one, two, three]),
        ({"ascending": True}, [one, two, three]),
        ({"agent_id": agent.pk}, [two, one]),
        ({"agent_ids": [agent.pk, other.pk]}, [three, two, one]),
        ({"conversation_id": conversation.pk}, [two]),
        ({"conversation_id": "default"}, [three, one]),
        ({"conversation_id": "default", "agent_id": agent.pk}, [one]),
        ({"conversation_id": agent.pk}, [one]),
        ({"conversation_id": agent.pk, "agent_id": other.pk}, []),
        ({"active": True}, [two]),
        ({"background": True}, [one]),
        ({"background": False}, [three, two]),
        ({"stop_reason": "max_steps"}, [three]),
        ({"statuses": ["running", "completed"], "agent_id": agent.pk}, [two, one]),
        ({"limit": 1}, [three]),
        ({"after": three.pk, "limit": 1}, [two]),
        ({"before": one.pk}, [three, two]),
    ]
    for query, wanted in cases:
        assert ids(api.get("/runs/", **query).ok()) == [run.pk for run in wanted], query
    assert ids(api.get("/runs/active", agent_id=agent.pk).ok()) == [two.pk]


def test_runs_are_found_by_what_they_did(api: Api, tenant: Tenant, agent: Agent) -> None:
    used = make_tool_turn(make_conversation(agent)).run
    quick, slow, going = (make_run(make_conversation(agent), status=status) for status in QUICK_SLOW_GOING)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for day, (run, seconds) in enumerate(((used, 2), (quick, 1), (slow, 9), (going, None))):
        at = start + timedelta(days=day)
        ended = None if seconds is None else at + timedelta(seconds=seconds)
        Run.objects.filter(pk=run.pk).update(created_at=at, completed_at=ended)
    tool = Tool.objects.get(name="memory_insert", organization=None)
    second = 10**9
    cases: list[tuple[dict[str, Any], list[Run]]] = [
        ({}, [going, slow, quick, used]),
        ({"run_id": slow.pk}, [slow]),
        ({"tools_used": ["memory_insert"]}, [used]),
        ({"tools_used": [tool.pk, "other"]}, [used]),
        ({"tools_used": ["other"]}, []),
        ({"step_count": 2}, [used]),
        ({"step_count": 1, "step_count_operator": "gte"}, [slow, quick, used]),
        ({"step_count": 1, "step_count_operator": "lte"}, [going, slow, quick]),
        ({"start_date": "2026-03-02", "end_date": "2026-03-03T12:00:00Z"}, [slow, quick]),
        ({"duration_value": second, "duration_operator": "gt"}, [slow, used]),
        ({"duration_value": 2 * second, "duration_operator": "lt"}, [quick]),
        ({"duration_value": 2 * second, "duration_operator": "eq"}, [used]),
        ({"duration_percentile": 50}, [slow, used]),
        ({"duration_percentile": 100, "agent_id": agent.pk}, [slow]),
        ({"duration_percentile": 50, "active": True}, []),
        ({"order_by": "duration"}, [slow, used, quick, going]),
        ({"order_by": "duration", "order": "asc", "after": quick.pk}, [used, slow]),
        ({"active": True}, [going]),
        ({"template_family": "x"}, []),
    ]
    for query, wanted in cases:
        assert ids(api.get("/_internal_runs/", **query).ok()) == [run.pk for run in wanted], query
    assert api.get("/_internal_runs/", duration_value=10**19).status == 422


@pytest.mark.parametrize("query", [{"statuses": ["nope"]}, {"limit": 0}, {"limit": 1001}, {"agent_id": "x"}])
def test_a_wrong_filter_is_422(api: Api, query: dict[str, Any]) -> None:
    assert api.get("/runs/", **query).status == 422


def test_a_projects_header_narrows_the_list(api: Api, tenant: Tenant, agent: Agent) -> None:
    project = Project.objects.create(organization=tenant.organization, name="Support")
    inside = make_run(default_of(agent), project=project)
    make_run(make_conversation(agent))
    assert ids(api.get("/runs/", headers={"X-Project-Id": project.pk}).ok()) == [inside.pk]


def test_usage_sums_up_with_its_details(api: Api, agent: Agent) -> None:
    shown = api.get(f"/runs/{make_run(default_of(agent)).pk}/usage").ok()
    assert shown == {
        "completion_tokens": 20,
        "prompt_tokens": 150,
        "total_tokens": 170,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_read_tokens": 40, "cache_creation_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    assert UsageRetrieveResponse.model_validate(shown).total_tokens == 170


def test_a_detail_that_the_provider_did_not_report_is_null(api: Api, agent: Agent) -> None:
    shown = api.get(f"/runs/{make_run(default_of(agent), usage={'input': 3, 'output': 2}).pk}/usage").ok()
    assert (shown["total_tokens"], shown["prompt_tokens_details"], shown["completion_tokens_details"]) == (
        5,
        None,
        None,
    )


def test_a_run_that_has_not_begun_used_nothing(api: Api, agent: Agent) -> None:
    shown = api.get(f"/runs/{make_run(default_of(agent), status=RunStatus.QUEUED).pk}/usage").ok()
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (0, 0)


def test_metrics_tell_steps_tools_and_time(api: Api, agent: Agent) -> None:
    run = make_tool_turn(default_of(agent)).run
    started = now() - timedelta(seconds=2)
    Run.objects.filter(pk=run.pk).update(created_at=started, completed_at=started + timedelta(milliseconds=1500))
    shown = api.get(f"/runs/{run.pk}/metrics").ok()
    assert sorted(shown) == KEYS["run_metrics"]
    assert (shown["num_steps"], shown["tools_used"], shown["run_ns"]) == (2, ["memory_insert"], 1_500_000_000)
    assert shown["run_start_ns"] == int(started.timestamp()) * 10**9 + started.microsecond * 1000


def test_a_runs_steps_come_newest_first_unless_asked(api: Api, agent: Agent) -> None:
    turn = make_tool_turn(default_of(agent))
    path = f"/runs/{turn.run.pk}/steps"
    assert ids(api.get(path).ok()) == [turn.steps[1].pk, turn.steps[0].pk]
    assert ids(api.get(path, order="asc").ok()) == [turn.steps[0].pk, turn.steps[1].pk]
    assert ids(api.get(path, after=turn.steps[1].pk).ok()) == [turn.steps[0].pk]


def test_a_deleted_run_takes_its_steps_and_leaves_its_messages(api: Api, agent: Agent) -> None:
    turn = make_tool_turn(default_of(agent))
    assert api.delete(f"/runs/{turn.run.pk}").ok() is None
    assert api.get(f"/runs/{turn.run.pk}").status == 404
    assert api.get(f"/steps/{turn.steps[0].pk}").status == 404
    assert Message.objects.filter(pk__in=[m.pk for m in turn.messages], run=None, step=None).count() == 4


def test_lists_cost_the_same_queries_whatever_their_length(api: Api, agent: Agent) -> None:
    api.get("/agents/")
    for count in (1, 8):
        for _ in range(count):
            run = make_run(make_conversation(agent))
            for index in range(count):
                make_step(run, index)
        for path, wanted in (("/runs/", 2), (f"/runs/{run.pk}/steps", 3), ("/steps/", 2)):
            with CaptureQueriesContext(connection) as queries:
                assert api.get(path).ok()
            assert len(queries) == wanted, path


def test_what_was_sent_is_not_read_for_a_list(api: Api, agent: Agent) -> None:
    make_run(default_of(agent), input=[{"role": "user", "content": "large"}])
    with CaptureQueriesContext(connection) as queries:
        api.get("/runs/").ok()
    assert not any('"conversations_run"."input"' in query["sql"] for query in queries)


def test_an_unknown_run_is_404_and_a_malformed_id_422(api: Api) -> None:
    answer = api.get(f"/runs/{UNKNOWN}")
    assert (answer.status, answer.detail) == (404, f"Run with ID {UNKNOWN} not found")
    assert api.get("/runs/run-1").status == 422


def test_another_organization_finds_no_run(their_api: Api, agent: Agent) -> None:
    run = make_tool_turn(default_of(agent)).run
    for path in ("", "/messages", "/steps", "/usage", "/metrics", "/trace"):
        assert their_api.get(f"/runs/{run.pk}{path}").status == 404, path
    assert their_api.delete(f"/runs/{run.pk}").status == 404
    assert their_api.get("/runs/").ok() == their_api.get("/runs/", agent_id=agent.pk).ok() == []
    assert Run.objects.filter(pk=run.pk).exists()
