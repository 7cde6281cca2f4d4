"""/v1/jobs: sends of /messages/async, as clients of old look after them."""

from __future__ import annotations

import pytest

from agents.models import Agent
from conversations.models import Run, RunStatus
from tests.support.api import Api, Tenant
from tests.support.factories import make_agent, make_conversation, make_run


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


def job_id(run: Run) -> str:
    return run.pk.replace("run-", "job-")


def asynchronous(agent: Agent, status: str = RunStatus.COMPLETED) -> Run:
    return make_run(make_conversation(agent), status=status, run_type="send_message_async", background=True)


def test_only_asynchronous_sends_are_jobs_the_newest_first(api: Api, agent: Agent) -> None:
    make_run(make_conversation(agent))
    done, going = asynchronous(agent), asynchronous(agent, RunStatus.RUNNING)
    listed = api.get("/jobs/").ok()
    assert [(job["id"], job["status"], job["job_type"]) for job in listed] == [
        (job_id(going), "running", "run"),
        (job_id(done), "completed", "run"),
    ]
    assert [job["id"] for job in api.get("/jobs/", ascending=True).ok()] == [job_id(done), job_id(going)]
    assert [job["id"] for job in api.get("/jobs/", after=job_id(going)).ok()] == [job_id(done)]
    assert [job["id"] for job in api.get("/jobs/", active=True).ok()] == [job_id(going)]
    assert api.get("/jobs/active").ok() == api.get("/jobs/", active=True).ok()
    assert api.get("/jobs/", source_id="source-1").ok() == []


def test_a_job_is_read_cancelled_and_deleted(api: Api, agent: Agent, their_api: Api) -> None:
    run = asynchronous(agent, RunStatus.RUNNING)
    path = f"/jobs/{job_id(run)}"
    assert api.get(path).ok()["agent_id"] == agent.pk
    for refused in (their_api.get(path), their_api.patch(f"{path}/cancel"), their_api.delete(path)):
        assert (refused.status, refused.detail) == (404, f"Job with ID {job_id(run)} not found")
    assert api.patch(f"{path}/cancel").ok()["status"] == "cancelled"
    assert api.patch(f"{path}/cancel").ok()["stop_reason"] == "cancelled"
    assert api.delete(path).ok()["id"] == job_id(run)
    assert not Run.objects.filter(pk=run.pk).exists()
