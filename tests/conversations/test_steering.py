"""Sends into a running turn: taken in by its next step, once; else turns of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from conversations import callbacks, following, runner, sse, steering
from conversations.actions import Send, Started, cancel_conversation, cancel_run, start_run
from conversations.inputs import SendBody, fingerprint, options_of, otids_key, rows_of
from conversations.models import Conversation, Message, Run, RunStatus
from conversations.queue import begin_next
from core.errors import Conflict
from streams.follow import hub
from tests.support.api import Api, Tenant
from tests.support.turns import (
    block,
    events,
    fresh,
    lose,
    messages,
    needs_approval,
    send,
    thinker,
    traces,
    work,
)

pytestmark = pytest.mark.usefixtures("redis")
INSERT = 'tool memory_insert {"label": "human", "new_string": "one"}'
TURN = f"[[{INSERT} then say Done]]"
MORE = f"[[{INSERT} then {INSERT} then {INSERT} then say Done]]"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_CHECK_S", 0.05)


def steer(tenant: Tenant, conversation: Conversation, text: str, **more: Any) -> Started:
    source = {"messages": [{"role": "user", "content": text, **more}]}
    body = SendBody.model_validate({**source, "when_busy": "steer"})
    key = otids_key(body)
    made = Send(
        rows=rows_of(body),
        options=options_of(body),
        idempotency_key=key,
        request_hash=fingerprint(body) if key else "",
        when_busy="steer",
    )
    return start_run(tenant.caller, fresh(conversation), made)


def own(started: Started) -> Run:
    assert started.own is not None
    started.own.refresh_from_db()
    return started.own


def running(tenant: Tenant, conversation: Conversation, script: str = TURN) -> Run:
    """A turn whose first step is done."""
    run = send(tenant, conversation, script)
    runner.advance(run.pk)
    run.refresh_from_db()
    assert (run.status, run.step_count) == (RunStatus.RUNNING, 1)
    return run


def test_a_message_into_a_running_turn_is_a_part_of_its_next_step(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    first, second = steer(tenant, conversation, "Mind the gap"), steer(tenant, conversation, "[[say Minded]]")
    assert first.run.pk == second.run.pk == run.pk
    assert work(run).status == RunStatus.COMPLETED
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "tool", "user", "user", "assistant"]
    assert messages(conversation)[3:] == [
        ("user", "Mind the gap"),
        ("user", "[[say Minded]]"),
        ("assistant", "Minded"),
    ]
    assert Message.objects.filter(run=run).count() == 6
    asked = json.loads(traces(run)[-1]["request"])["messages"]
    assert [message["role"] for message in asked][-3:] == ["tool", "user", "user"]
    for started in (first, second):
        assert (own(started).status, own(started).folded_into) == (RunStatus.COMPLETED, run)
    told = [event["message"] for event in events(run) if event["type"] == "message_added"]
    assert [message["role"] for message in told] == [role for role, _ in messages(conversation)]
    assert events(own(first))[-1]["stop_reason"] == "folded"
    assert begin_next(conversation.pk) is None


def test_where_nothing_runs_it_is_a_turn_as_any(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    started = steer(tenant, conversation, "[[say Hi]]")
    assert (started.own, started.run.waits_turn) == (None, False)
    assert work(started.run).status == RunStatus.COMPLETED


def test_what_comes_too_late_for_the_turn_is_a_turn_of_its_own_and_not_lost(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    late = send_in_the_last_step(tenant, conversation, run, "[[say Late]]")
    run.refresh_from_db()
    assert run.status == RunStatus.COMPLETED
    assert (own(late).waits_turn, own(late).folded_into_id) == (False, None)
    assert work(own(late)).status == RunStatus.COMPLETED
    assert [text for role, text in messages(conversation) if role == "assistant"][1:] == ["Done", "Late"]


def send_in_the_last_step(tenant: Tenant, conversation: Conversation, run: Run, text: str) -> Started:
    """The send comes when the worker has read what there is, and does not know of it."""
    found: list[Started] = []
    load = runner.turn.load

    def loading(of: Run) -> Any:
        work = load(of)
        if not found:
            found.append(steer(tenant, conversation, text))
        return work

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.turn, "load", loading)
        runner.advance(run.pk)
    return found[0]


def test_a_turn_that_fails_leaves_it_to_be_one_of_its_own(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[error 401]]")
    waits = steer(tenant, conversation, "[[say Mine]]")
    assert work(run).status == RunStatus.FAILED
    assert work(own(waits)).status == RunStatus.COMPLETED


def test_it_is_not_taken_in_before_what_the_turn_began_with(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, TURN)
    steer(tenant, conversation, "And this")
    work(run)
    assert [role for role, _ in messages(conversation)] == ["user", "assistant", "tool", "user", "assistant"]


@pytest.mark.parametrize("folded", [False, True], ids=["before it was taken in", "after it was taken in"])
def test_a_worker_that_dies_takes_it_in_once(tenant: Tenant, folded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    steer(tenant, conversation, "[[say Minded]]")

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt  # nothing of ours catches it

    with monkeypatch.context() as patch:
        patch.setattr(*((runner, "_step", die) if folded else (steering, "fold", die)))
        with pytest.raises(KeyboardInterrupt):
            runner.advance(run.pk)
    assert Message.objects.filter(conversation=conversation, text="[[say Minded]]").exists() is folded
    lose(run)
    assert work(run).status == RunStatus.COMPLETED
    assert [text for _, text in messages(conversation)][-2:] == ["[[say Minded]]", "Minded"]
    assert Message.objects.filter(conversation=conversation, text="[[say Minded]]").count() == 1


def test_the_same_send_again_is_the_same(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    first, again = (steer(tenant, conversation, "Once", otid="o-1") for _ in range(2))
    assert (again.run.pk, again.fresh, own(again)) == (run.pk, False, own(first))
    work(run)
    after = steer(tenant, conversation, "Once", otid="o-1")
    assert (after.run.pk, after.fresh) == (run.pk, False)
    assert [text for _, text in messages(conversation)].count("Once") == 1


def test_it_can_be_cancelled_alone_or_with_the_turn_but_not_once_it_is_a_part_of_it(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation, MORE)
    alone = steer(tenant, conversation, "Alone")
    assert cancel_run(own(alone))
    part = steer(tenant, conversation, MORE)
    runner.advance(run.pk)
    assert not cancel_run(own(part))
    with_it = steer(tenant, conversation, "With it")
    assert cancel_run(run)
    assert own(with_it).status == RunStatus.CANCELLED
    assert begin_next(conversation.pk) is None
    assert [text for _, text in messages(conversation)].count(MORE) == 2
    run = running(tenant, conversation, MORE)
    steer(tenant, conversation, "[[say One]]")
    assert set(cancel_conversation(fresh(conversation)).values()) == {"cancelled"}


def test_a_pause_comes_first_and_what_follows_the_answer_takes_it_in(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    run = send(tenant, conversation, TURN)
    waits = steer(tenant, conversation, "And this")
    assert work(run).status == RunStatus.WAITING_APPROVAL
    assert async_to_sync(steering._left_alone)(own(waits)) is None
    with pytest.raises(Conflict, match="approval"):
        steer(tenant, conversation, "No")
    call = conversation.messages.get(role="approval").tool_calls[0]
    given = {"type": "approval", "tool_call_id": call["id"], "approve": True}
    answer = send(tenant, conversation, [{"type": "approval", "approvals": [given]}])
    assert work(answer).status == RunStatus.COMPLETED
    assert own(waits).folded_into == answer
    assert [role for role, _ in messages(conversation)][-3:] == ["tool", "user", "assistant"]
    assert block(conversation) == "Name: ?\none"


def test_cancelling_everything_cancels_what_waits_too_though_it_is_older_than_what_runs(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    run = send(tenant, conversation, TURN)
    waits = steer(tenant, conversation, "And this")
    work(run)
    call = conversation.messages.get(role="approval").tool_calls[0]
    given = {"type": "approval", "tool_call_id": call["id"], "approve": True}
    answer = send(tenant, conversation, [{"type": "approval", "approvals": [given]}])
    ids = {run.pk, answer.pk, own(waits).pk}
    assert cancel_conversation(fresh(conversation)) == dict.fromkeys(ids, "cancelled")


def test_its_callback_tells_of_the_turn_that_took_it_in_when_that_has_ended(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def post(url: str, body: bytes, *_: Any) -> int:
        told.append(json.loads(body))
        return 200

    monkeypatch.setattr(callbacks.outbound, "post", post)
    conversation = thinker(tenant)
    run = running(tenant, conversation, MORE)
    body = SendBody(input=MORE)
    made = Send(rows=rows_of(body), callback_url="https://example.com/x", when_busy="steer")
    start_run(tenant.caller, fresh(conversation), made)
    runner.advance(run.pk)
    assert callbacks.send_due() == 0, "the turn goes on"
    work(run)
    assert callbacks.send_due() == 1
    assert (told[0]["run_id"], told[0]["status"]) == (run.pk, "completed")


# On the wire


def test_the_sender_gets_the_run_that_runs_and_its_own_says_where_it_went(tenant: Tenant, api: Api) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    path = f"/agents/{conversation.agent_id}/messages/async"
    sent = api.post(path, {"input": "And this", "when_busy": "steer"}).ok()
    assert sent["id"] == run.pk
    own_id = sent["metadata"]["own_run_id"]
    assert api.get(f"/runs/{own_id}").ok()["status"] == "created"
    work(run)
    shown = api.get(f"/runs/{own_id}").ok()
    assert (shown["status"], shown["metadata"]["folded_into"]) == ("completed", run.pk)


def answered(started: Started, *, streams: bool) -> Any:
    async def collect() -> Any:
        try:
            if not streams:
                return (await steering.drain(started.run, started.own)).body
            assert started.own is not None
            framing = sse.framing_of(started.own, pings=False)
            framing = sse.Framing(run_id=started.run.pk, view=framing.view, pings=False)
            return b"".join([frame async for frame in steering.frames(framing, started.own)])
        finally:
            await hub().close()

    return async_to_sync(collect)()


def test_who_waits_for_the_answer_gets_that_of_the_turn_it_became_a_part_of(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    started = steer(tenant, conversation, "[[say Minded]]")
    work(run)
    body = answered(started, streams=False)
    assert [m["content"] for m in body["messages"] if m["message_type"] == "assistant_message"] == ["Minded"]
    stream = answered(started, streams=True)
    assert stream.count(b"[DONE]") == 1
    assert b"Minded" in stream


def test_who_waits_for_the_answer_gets_that_of_its_own_turn_where_it_came_too_late(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = running(tenant, conversation)
    late = send_in_the_last_step(tenant, conversation, run, "[[say Late]]")
    work(own(late))
    body = answered(late, streams=False)
    assert [m["content"] for m in body["messages"]] == ["Late"]
    stream = answered(late, streams=True)
    assert stream.count(b"[DONE]") == 1
    assert stream.index(b"Done") < stream.index(b"Late")
