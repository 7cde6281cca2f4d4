"""Cancelling: seen at once by who follows, obeyed by who works, and the conversation goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conversations import runner
from conversations.actions import cancel_conversation, cancel_run, cancel_runs
from conversations.models import Message, Run, RunStatus, Step
from core.errors import Conflict
from providers.clients import scripted
from streams import publish
from streams.publish import RunWriter
from tests.support.api import Tenant
from tests.support.turns import block, events, fresh, kinds, messages, rang, send, thinker, traces, turn, work

pytestmark = pytest.mark.usefixtures("redis")
INSERT = '{"label": "human", "new_string": "x"}'
LONG = "[[tokens 50]]"


@pytest.fixture
def in_the_middle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen after the third piece of the next answer."""

    def arrange(happens: Callable[[], object]) -> None:
        answer = scripted.Scripted.stream
        happened: list[bool] = []

        def interrupted(client: Any, request: Any) -> Iterator[Any]:
            for n, event in enumerate(answer(client, request)):
                if n == 3 and not happened:
                    happened.append(True)
                    happens()
                    time.sleep(2 * RunWriter.INTERVAL_S)  # so that the next piece goes out, and is refused
                yield event

        monkeypatch.setattr(scripted.Scripted, "stream", interrupted)

    return arrange


def test_a_queued_run_never_begins(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[say Hi]]")
    assert cancel_run(run)
    runner.advance(run.pk)
    run.refresh_from_db()
    assert (run.status, run.stop_reason, run.step_count) == (RunStatus.CANCELLED, "cancelled", 0)
    assert run.completed_at is not None
    assert kinds(run) == ["run_ended"]
    assert messages(conversation) == []
    assert traces(run) == []


def test_an_answer_is_broken_off_and_its_beginning_accounted_for(
    tenant: Tenant, in_the_middle: Callable[..., None]
) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, LONG, stream_tokens=True)
    in_the_middle(lambda: cancel_run(run))
    runner.advance(run.pk)
    run.refresh_from_db()
    assert (run.status, run.step_count) == (RunStatus.CANCELLED, 0)
    told = kinds(run)
    assert told.count("run_ended") == 1
    assert told[-1] == "run_ended"
    assert messages(conversation) == []
    assert not Step.objects.filter(run=run).exists()
    [trace] = traces(run)
    assert (trace["error_type"], trace["usage_estimated"]) == ("cancelled", 1)
    assert 0 < trace["completion_tokens"] < 50
    assert rang() == []


def test_a_tool_call_of_a_cancelled_run_has_no_effect(tenant: Tenant, in_the_middle: Callable[..., None]) -> None:
    """Cancelled after its last piece: the commit is what notices."""
    conversation = thinker(tenant)
    run = send(tenant, conversation, f"[[tool memory_insert {INSERT} then say Done]]")
    in_the_middle(lambda: cancel_run(run))
    runner.advance(run.pk)
    assert block(conversation) == "Name: ?"
    assert messages(conversation) == []


def test_what_was_committed_stays_and_the_context_is_one_a_model_can_read(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, f"[[tool memory_insert {INSERT} then say Done]]")
    runner.advance(run.pk)
    assert cancel_conversation(fresh(conversation)) == {run.pk: "cancelled"}
    runner.advance(run.pk)
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "tool"]
    assert block(conversation) == "Name: ?\nx"
    ended = events(run)[-1]
    assert (ended["status"], ended["step_count"]) == ("cancelled", 1)
    assert ended["usage"]["total_tokens"] > 0
    after = turn(tenant, conversation, "[[say On]]")
    assert after.status == RunStatus.COMPLETED
    roles = [message["role"] for message in json.loads(traces(after)[-1]["request"])["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]


def test_cancelling_twice_is_cancelling_once(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), "[[say Hi]]")
    assert cancel_runs([run]) == {run.pk: "cancelled"}
    run.refresh_from_db()
    assert not cancel_run(run)
    assert cancel_runs([run]) == {run.pk: "cancelled"}
    assert kinds(run) == ["run_ended"]


def test_a_run_that_has_ended_otherwise_cannot_be_cancelled(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, "[[say Hi]]")
    assert cancel_runs([run]) == {run.pk: "failed"}
    run.refresh_from_db()
    assert run.status == RunStatus.COMPLETED
    with pytest.raises(Conflict, match="No active run"):
        cancel_conversation(fresh(conversation))


def test_a_run_that_began_to_wait_meanwhile_is_cancelled_as_one_that_waits(tenant: Tenant) -> None:
    """The canceller's look at the run may be old: what counts is what it is when it is cancelled."""
    tool = {"name": "ring_bell", "description": "Rings."}
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[tool ring_bell {} then say Rung]]", client_tools=[tool])
    seen_before = Run.objects.get(pk=run.pk)
    work(run)
    assert cancel_run(seen_before)
    assert fresh(conversation).pending_approval_id == ""
    assert Message.objects.filter(conversation=conversation, role="tool").count() == 1
    assert turn(tenant, conversation, "[[say On]]").status == RunStatus.COMPLETED


def test_followers_need_not_be_told_for_a_run_to_end(tenant: Tenant, settings: Any) -> None:
    run = send(tenant, thinker(tenant), "[[say Hi]]")
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    publish._client.cache_clear()
    publish._script.cache_clear()
    try:
        assert cancel_run(run)
    finally:
        publish._client.cache_clear()
        publish._script.cache_clear()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
