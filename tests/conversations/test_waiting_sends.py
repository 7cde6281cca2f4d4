"""Sends that wait for the turn before them: in their order, each once, and never past an approval."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from conversations import queue, runner
from conversations.actions import Send, cancel_conversation, cancel_run, start_run
from conversations.inputs import SendBody, rows_of
from conversations.models import Conversation, Run, RunStatus
from conversations.tasks import sweep_runs
from core.errors import Conflict
from tests.support.api import Api, Tenant
from tests.support.elsewhere import closing, elsewhere
from tests.support.turns import fresh, messages, needs_approval, rang, send, thinker, work

pytestmark = pytest.mark.usefixtures("redis")


def queued(tenant: Tenant, conversation: Conversation, text: str) -> Run:
    made = Send(rows=rows_of(SendBody(input=text)), when_busy="queue")
    return start_run(tenant.caller, fresh(conversation), made).run


def waiting(*runs: Run) -> list[bool]:
    for run in runs:
        run.refresh_from_db()
    return [run.status == RunStatus.QUEUED and run.waits_turn for run in runs]


def test_sends_that_may_wait_begin_one_after_another_in_their_order(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    first = queued(tenant, conversation, "[[say One]]")
    second, third = queued(tenant, conversation, "[[say Two]]"), queued(tenant, conversation, "[[say Three]]")
    assert waiting(first, second, third) == [False, True, True]
    runner.advance(third.pk)
    assert waiting(third) == [True], "a ring does not let it past the others"
    work(first)
    assert rang() == [], "the bell is rung after the commit"
    assert waiting(second, third) == [False, True]
    work(second)
    work(third)
    said = [text for role, text in messages(conversation) if role == "assistant"]
    assert said == ["One", "Two", "Three"]


def test_who_does_not_ask_to_wait_is_refused_as_ever_and_does_not_jump_the_queue(tenant: Tenant, api: Api) -> None:
    conversation = thinker(tenant)
    first, second = queued(tenant, conversation, "[[say One]]"), queued(tenant, conversation, "[[say Two]]")
    path = f"/agents/{conversation.agent_id}/messages/async"
    refused = api.post(path, {"input": "Hi"})
    assert (refused.status, refused.json["run_id"]) == (409, first.pk)
    Run.objects.filter(pk=first.pk).update(status=RunStatus.COMPLETED)  # and its worker died
    assert api.post(path, {"input": "Hi"}).json["run_id"] == second.pk
    waits = api.post(path, {"input": "[[say Three]]", "when_busy": "queue"}).ok()
    assert waits["status"] == "created"
    sweep_runs()
    assert waiting(second, Run.objects.get(pk=waits["id"])) == [False, True]
    assert api.post(path, {"input": "Hi", "when_busy": "shout"}).status == 422


def test_a_send_that_waits_can_be_cancelled_and_so_can_the_turn_before_it(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    first, second = queued(tenant, conversation, "[[say One]]"), queued(tenant, conversation, "[[say Two]]")
    third = queued(tenant, conversation, "[[say Three]]")
    assert cancel_run(second)
    assert cancel_run(first)
    assert waiting(third) == [False]
    assert work(third).status == RunStatus.COMPLETED
    runs = [queued(tenant, conversation, "[[say More]]") for _ in range(3)]
    assert set(cancel_conversation(fresh(conversation)).values()) == {"cancelled"}
    assert not Run.objects.filter(pk__in=[run.pk for run in runs]).exclude(status=RunStatus.CANCELLED).exists()


def test_a_turn_that_fails_lets_the_next_one_begin(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    first, second = queued(tenant, conversation, "[[error 401]]"), queued(tenant, conversation, "[[say Two]]")
    assert work(first).status == RunStatus.FAILED
    assert waiting(second) == [False]


def test_an_approval_comes_before_what_waits(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    first = send(tenant, conversation, '[[tool memory_insert {"label": "human", "new_string": "x"} then say Done]]')
    second = queued(tenant, conversation, "[[say Two]]")
    assert work(first).status == RunStatus.WAITING_APPROVAL
    assert queue.begin_next(conversation.pk) is None
    sweep_runs()
    assert waiting(second) == [True]
    request = conversation.messages.get(role="approval")
    call: Any = request.tool_calls[0]
    given = {"type": "approval", "tool_call_id": call["id"], "approve": True}
    answer = SendBody.model_validate({"messages": [{"type": "approval", "approvals": [given]}]})
    resumed = start_run(tenant.caller, fresh(conversation), Send(rows=rows_of(answer), when_busy="queue")).run
    assert not resumed.waits_turn
    assert work(resumed).status == RunStatus.COMPLETED
    assert waiting(second) == [False]


def test_a_queue_has_an_end(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_WAITING", 1)
    conversation = thinker(tenant)
    for text in ("One", "Two"):
        queued(tenant, conversation, text)
    with pytest.raises(Conflict, match="1 sends wait"):
        queued(tenant, conversation, "Three")


def test_many_at_once_begin_one_turn_each_exactly_once(committed: Tenant) -> None:
    conversation, many = elsewhere(lambda: thinker(committed)), 6
    start = threading.Barrier(many)

    def one(number: int) -> str:
        start.wait(10)
        return queued(committed, conversation, f"[[say {number}]]").pk

    with ThreadPoolExecutor(many) as pool:
        ids = list(pool.map(lambda number: closing(lambda: one(number)), range(many)))
    begun = []
    while ring := rang():
        assert len(ring) == 1, "one turn at a time"
        run = Run.objects.get(pk=ring[0][0])
        begun.append(run.pk)
        with ThreadPoolExecutor(2) as pool:  # two workers hear of its end, or of its ring
            list(pool.map(lambda _: closing(lambda: runner.advance(run.pk)), range(2)))  # noqa: B023
    assert sorted(begun) == sorted(ids)
    assert sum(role == "assistant" for role, _ in messages(conversation)) == many
