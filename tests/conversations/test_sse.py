"""A run's events as frames: what a client reads in either mode, how it resumes, and how an answer ends."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Any

import orjson
import pytest
from asgiref.sync import async_to_sync
from redis import Redis

from conversations import following, runner, sse
from conversations.actions import cancel_run
from conversations.compacting import compact_conversation
from conversations.events import encode
from conversations.models import Conversation, Run
from conversations.retelling import ended_event
from conversations.sse import Answered, Framing, framing_of
from conversations.wire import View
from core.ids import new_id
from streams.follow import hub
from streams.publish import ENDED, Batch, append
from tests.support.api import Tenant
from tests.support.turns import fresh, messages, needs_approval, send, thinker, turn, work

pytestmark = pytest.mark.usefixtures("redis")
TOOLS = (
    '[[think Hm then say Wait then tools memory_insert {"label": "human", "new_string": "one"} ; '
    'memory_insert {"label": "human", "new_string": "two"} then say All done]]'
)
Frame = dict[str, Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_CHECK_S", 0.05)


def raw_frames(framing: Framing, after: int = 0, most: int = 1_000) -> str:
    async def collect() -> bytes:
        found = []
        frames = sse.frames(framing, after)
        try:
            async for frame in frames:
                found.append(frame)
                if len(found) == most:
                    break
        finally:
            await frames.aclose()
            await hub().close()
        return b"".join(found)

    return async_to_sync(collect)().decode()


def parsed(raw: str) -> list[Frame]:
    """The JSON of each frame; its event's name, where it has one, as `_event`."""
    assert raw.endswith("\n\n")
    found = []
    for frame in raw.removesuffix("\n\n").split("\n\n"):
        *head, data = frame.split("\n")
        assert data.startswith("data: ")
        body: Frame = {"done": True} if data == "data: [DONE]" else dict(orjson.loads(data[6:]))
        assert head in ([], ["event: error"])
        found.append(body | ({"_event": "error"} if head else {}))
    return found


def frames(run: Run, after: int = 0, **framing: Any) -> list[Frame]:
    return parsed(raw_frames(replace(framing_of(run), **framing), after))


def types(found: list[Frame]) -> list[str]:
    return ["[DONE]" if frame.get("done") else frame["message_type"] for frame in found]


def drained(run: Run) -> Answered:
    async def collect() -> Answered:
        try:
            return await sse.drain(run)
        finally:
            await hub().close()

    return async_to_sync(collect)()


ENDING = ["stop_reason", "usage_statistics", "[DONE]"]


def test_step_by_step_each_message_is_one_frame(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), TOOLS)
    found = frames(run)
    assert types(found) == [
        "ping",
        "reasoning_message",
        "assistant_message",
        "tool_call_message",
        "tool_return_message",
        "assistant_message",
        *ENDING,
    ]
    assert found[-3] == {"message_type": "stop_reason", "stop_reason": "end_turn"}
    assert found[-2]["step_count"] == 2
    assert found[-2]["total_tokens"] == run.usage["input"] + run.usage["output"]
    assert {frame["run_id"] for frame in found[:6]} == {run.pk}
    assert {frame["seq_id"] for frame in found[:6]} == {None}
    assert len(found[4]["tool_returns"]) == 2


def test_token_by_token_the_pieces_make_the_messages(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, TOOLS, stream_tokens=True)
    found = frames(run)
    pieces: dict[tuple[str, str, str], str] = defaultdict(str)
    for frame in found:
        kind = frame.get("message_type")
        key = (frame.get("id", ""), frame.get("otid") or "", kind or "")
        if kind == "reasoning_message":
            pieces[key] += frame["reasoning"]
        elif kind == "assistant_message":
            pieces[key] += frame["content"]
        elif kind == "tool_call_message":
            assert frame["tool_call"] == frame["tool_calls"]
            pieces[key] += frame["tool_call"].get("arguments", "")
    assert [text for _, text in sorted(pieces.items(), key=lambda item: list(pieces).index(item[0]))] == [
        "Hm",
        "Wait",
        '{"label": "human", "new_string": "one"}',
        '{"label": "human", "new_string": "two"}',
        "All done",
    ]
    assert len({message_id for message_id, _, _ in pieces}) == 2
    assert types(found)[-3:] == ENDING


def test_pieces_have_the_otids_of_the_stored_messages(tenant: Tenant) -> None:
    script = '[[think Hm then say Wait then tool memory_insert {"label": "human", "new_string": "x"} then say Done]]'
    run = turn(tenant, thinker(tenant), script, stream_tokens=True)
    told = {(f["id"], f["otid"], f["message_type"]) for f in frames(run) if f.get("otid")}
    stored = {(f["id"], f["otid"], f["message_type"]) for f in frames(run, tokens=False) if f.get("otid")}
    assert told == stored


def test_parallel_returns_come_one_by_one_with_their_call(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), TOOLS, stream_tokens=True)
    found = frames(run)
    called = [f["tool_call"]["tool_call_id"] for f in found if f.get("tool_call", {}).get("name")]
    returned = [f for f in found if f.get("message_type") == "tool_return_message"]
    assert [f["tool_call_id"] for f in returned] == called
    assert [len(f["tool_returns"]) for f in returned] == [1, 1]


def test_a_call_that_waits_is_streamed_as_a_request(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    needs_approval(conversation, "memory_insert")
    script = '[[tool memory_insert {"label": "human", "new_string": "x"} then say Done]]'
    run = turn(tenant, conversation, script, stream_tokens=True)
    pending = fresh(conversation).pending_approval_id
    for tokens in (True, False):
        found = frames(run, tokens=tokens)
        asked = found[1:-3]
        assert {f["message_type"] for f in asked} == {"approval_request_message"}
        assert {(f["id"], f["otid"]) for f in asked} == {(pending, pending)}
        assert found[-3]["stop_reason"] == "requires_approval"


def test_some_kinds_alone_are_sent_where_asked_and_the_end_always(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), TOOLS, include_return_message_types=["tool_return_message"])
    assert types(frames(run)) == ["ping", "tool_return_message", *ENDING]


def test_a_request_without_pings_gets_none(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), "[[say Hi]]")
    assert types(frames(run, pings=False)) == ["assistant_message", *ENDING]


def test_silence_is_filled_with_pings(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEPALIVE_S", 0.05)
    run = send(tenant, thinker(tenant), "[[say Hi]]", background=True)
    found = parsed(raw_frames(framing_of(run), most=2))
    assert types(found) == ["ping", "ping"]
    assert {frame["run_id"] for frame in found} == {run.pk}


# Resumed


@pytest.mark.parametrize("tokens", [False, True], ids=["steps", "tokens"])
def test_resuming_behind_any_frame_misses_none_and_repeats_none(tenant: Tenant, tokens: bool) -> None:
    run = turn(tenant, thinker(tenant), TOOLS, background=True, stream_tokens=tokens)
    whole = [frame for frame in frames(run) if frame.get("message_type") != "ping"]
    numbers = [frame["seq_id"] for frame in whole if frame.get("seq_id") is not None]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == len(whole) - 3
    first = frames(run)[0]
    assert (first["message_type"], first["run_id"]) == ("ping", run.pk)
    for n, number in enumerate(numbers):
        assert frames(run, after=number) == whole[n + 1 :]


def test_one_who_resumes_while_the_run_goes_on_sees_the_rest(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), TOOLS, background=True)
    runner.advance(run.pk)
    seen = parsed(raw_frames(framing_of(run), most=3))
    work(run)
    rest = frames(run, after=seen[-1]["seq_id"])
    assert types(seen + rest) == types(frames(run))


def test_a_number_beyond_the_end_gives_the_end(tenant: Tenant, redis: Redis) -> None:
    run = turn(tenant, thinker(tenant), "[[say Hi]]", background=True)
    last = max(frame["seq_id"] for frame in frames(run) if frame.get("seq_id"))
    assert types(frames(run, after=last)) == ENDING
    assert types(frames(run, after=100_000)) == ENDING
    redis.flushdb()
    assert types(frames(run, after=last)) == ENDING


# How it ends


def test_a_failure_is_a_stop_an_error_and_the_end(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), "[[error 401]]")
    found = frames(run)
    assert types(found) == ["ping", "stop_reason", "error_message", "[DONE]"]
    assert found[1]["stop_reason"] == "llm_api_error"
    error = found[2]
    assert error.pop("_event") == "error"
    assert set(error) == {"message_type", "run_id", "error_type", "message", "detail", "seq_id"}
    assert (error["error_type"], error["run_id"]) == ("llm_authentication", run.pk)


def test_a_cancelled_run_stops_and_ends(tenant: Tenant) -> None:
    run = send(tenant, thinker(tenant), "[[say Hi]]")
    cancel_run(run)
    found = frames(run)
    assert types(found) == ["ping", "stop_reason", "[DONE]"]
    assert found[1]["stop_reason"] == "cancelled"


def test_without_redis_an_answer_that_has_begun_breaks_off_in_order(tenant: Tenant, settings: Any) -> None:
    run = send(tenant, thinker(tenant), "[[say Hi]]", background=True)
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    found = frames(run)
    assert types(found) == ["stop_reason", "error_message", "[DONE]"]
    assert (found[0]["stop_reason"], found[1]["error_type"]) == ("error", "stream_incomplete")


def test_what_the_stream_lost_is_made_from_the_database(tenant: Tenant, redis: Redis) -> None:
    run = turn(tenant, thinker(tenant), TOOLS)
    told = types(frames(run))
    redis.flushdb()
    assert types(frames(run)) == told
    assert [m["message_type"] for m in drained(run).body["messages"]] == told[1:-3]


def test_one_who_resumed_is_told_what_the_worker_did_not_live_to_tell(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = send(tenant, thinker(tenant), TOOLS, background=True)
    runner.advance(run.pk)
    seen = parsed(raw_frames(framing_of(run), most=3))
    with monkeypatch.context() as patch:
        patch.setattr(runner, "_announce", lambda *_: None)
        work(run)
    rest = frames(run, after=seen[-1]["seq_id"])
    assert types(rest) == ["assistant_message", *ENDING]
    assert rest[0]["content"] == "All done"
    assert frames(run, after=seen[-1]["seq_id"]) == rest


def test_a_run_that_was_deleted_ends_as_not_found(tenant: Tenant) -> None:
    framing = Framing(run_id=new_id("run"), view=View())
    found = parsed(raw_frames(framing))
    assert types(found) == ["ping", "stop_reason", "error_message", "[DONE]"]
    assert found[2]["error_type"] == "not_found"


# Summaries


@pytest.mark.parametrize("wanted", [True, False])
def test_compaction_is_told_to_those_who_asked(tenant: Tenant, wanted: bool) -> None:
    conversation = thinker(tenant, context_window_limit=2_000)
    turn(tenant, conversation, "[[say One]]")
    turn(tenant, conversation, "[[usage 2000 10 then say Two]]")
    run = turn(tenant, conversation, "[[say Three]]", include_compaction_messages=wanted)
    found = frames(run)
    expected = ["event_message", "summary_message"] if wanted else []
    assert types(found) == ["ping", *expected, "assistant_message", *ENDING]
    if wanted:
        assert found[1]["event_type"] == "compaction"
        assert set(found[1]["event_data"]) == {"trigger", "context_token_estimate", "context_window"}
        assert found[2]["compaction_stats"]["trigger"] == "post_step_context_check"
    assert compact_conversation(tenant.caller, fresh(conversation), {"mode": "all"})["num_messages_after"] == 2


# In one answer


def test_an_answer_that_does_not_stream_holds_the_same_messages(tenant: Tenant) -> None:
    run = turn(tenant, thinker(tenant), TOOLS)
    answered = drained(run)
    assert answered.status == 200
    assert set(answered.body) == {"messages", "stop_reason", "usage", "logprobs", "turns"}
    streamed = frames(run)
    assert answered.body["messages"] == streamed[1:-3]
    assert answered.body["usage"] == streamed[-2]


@pytest.mark.parametrize(
    ("script", "status", "shape"),
    [("[[error 429]]", 429, "error"), ("[[error 401]]", 401, "error"), ("[[overflow]]", 400, "detail")],
)
def test_a_failure_is_answered_with_its_status(
    tenant: Tenant, settings: Any, script: str, status: int, shape: str
) -> None:
    settings.MODEL_MAX_ATTEMPTS = 1
    answered = drained(turn(tenant, thinker(tenant), script))
    assert (answered.status, set(answered.body)) == (status, {shape})
    if shape == "error":
        assert set(answered.body["error"]) == {"type", "message", "detail"}


def test_a_follower_waits_for_the_end_however_late_it_is_told(tenant: Tenant) -> None:
    """A run that goes on is not given up for being silent."""
    conversation: Conversation = thinker(tenant)
    run = send(tenant, conversation, "[[say Hi]]")

    async def late() -> Answered:
        waiting = asyncio.create_task(sse.drain(run))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        append(run.pk, 1, Batch([encode(ended_event(run))], "1.1", ENDED))
        try:
            return await asyncio.wait_for(waiting, 5)
        finally:
            await hub().close()

    assert async_to_sync(late)().status == 200
    assert messages(conversation) == []
