"""Starting a turn: what is let in, what is refused, and what is known again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pydantic import ValidationError

from conversations import actions, images
from conversations.actions import Started
from conversations.images import MAX_BYTES, MAX_COUNT
from conversations.inputs import (
    AsyncBody,
    ConversationBody,
    SendBody,
    StreamingBody,
    fingerprint,
    options_of,
    otids_key,
    rows_of,
)
from conversations.models import Message, Run, RunStatus
from core.errors import BadInput, Conflict
from tests.support.api import Api, Tenant
from tests.support.elsewhere import closing, elsewhere
from tests.support.turns import messages, rang, send, sending, thinker, turn, work

pytestmark = pytest.mark.usefixtures("redis")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": text} | more


def test_a_send_queues_a_run_that_knows_all_of_it(tenant: Tenant, api: Api) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, [said("[[say Hi]]", sender_id="identity-1")], max_steps=7)
    run.refresh_from_db()
    assert (run.status, run.fence, run.worker, run.step_count) == (RunStatus.QUEUED, 0, "", 0)
    assert (run.options, run.identity_id, run.user_id) == ({"max_steps": 7}, "identity-1", str(tenant.user.pk))
    assert len(run.trace_id) == 32
    assert run.api_key_id
    assert messages(conversation) == [], "what was sent is stored with the first step"


def test_the_bell_is_rung_when_the_run_is_there(
    tenant: Tenant, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    conversation = thinker(tenant)
    with django_capture_on_commit_callbacks() as after_commit:
        run = send(tenant, conversation, "[[say Hi]]")
        assert rang() == []
    [ring] = after_commit
    ring()
    assert rang() == [(run.pk, 0)]


def test_one_turn_runs_in_a_conversation(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[say One]]")
    with pytest.raises(Conflict) as refused:
        send(tenant, conversation, "[[say Two]]")
    assert refused.value.extra == {"run_id": run.pk}
    assert send(tenant, thinker(tenant), "[[say Elsewhere]]").pk
    work(run)
    assert turn(tenant, conversation, "[[say Two]]").status == RunStatus.COMPLETED


def test_one_who_comes_as_the_turn_ends_is_let_in(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the refusal and the look at what runs, nothing may run any more."""
    conversation = thinker(tenant)
    run = send(tenant, conversation, "[[say One]]")
    busy = actions._busy

    def late(conversation: Any) -> Conflict:
        work(run)
        return busy(conversation)

    monkeypatch.setattr(actions, "_busy", late)
    second = send(tenant, conversation, "[[say Two]]")
    assert work(second).status == RunStatus.COMPLETED


def test_an_unknown_model_is_refused_and_those_that_exist_are_named(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    for handle in ("scripted/nope", "nobody/x", "no-handle"):
        with pytest.raises(BadInput, match="scripted/demo"):
            send(tenant, conversation, "Hi", override_model=handle)
    assert not Run.objects.filter(conversation=conversation).exists()


def test_what_no_database_holds_is_replaced_in_a_body_from_anywhere() -> None:
    """The API refuses it before; a websocket's command has no other door than this."""
    [row] = rows_of(body(messages=[said("a\x00b", name="A\x00", otid="\ud800")]))
    assert (row["content"][0]["text"], row["name"], row["otid"]) == ("a\ufffdb", "A\ufffd", "?")


# Known again


def test_the_same_otids_are_the_same_send(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    sent = [said("[[say Hi]]", otid="o-1")]
    first = sending(tenant, conversation, sent)
    again = sending(tenant, conversation, sent)
    assert (first.fresh, again.fresh, again.run.pk) == (True, False, first.run.pk)
    work(first.run)
    assert sending(tenant, conversation, sent).run.pk == first.run.pk
    assert len(messages(conversation)) == 2
    assert Message.objects.get(conversation=conversation, role="user").otid == "o-1"


def test_a_key_that_comes_back_with_another_request_is_refused(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    run = turn(tenant, conversation, [said("[[say Hi]]", otid="o-1")])
    with pytest.raises(Conflict, match="another request") as refused:
        send(tenant, conversation, [said("[[say Bye]]", otid="o-1")])
    assert refused.value.extra == {"run_id": run.pk}


def test_a_key_counts_within_its_conversation(tenant: Tenant) -> None:
    sent = [said("[[say Hi]]", otid="o-1")]
    runs = {send(tenant, thinker(tenant), sent).pk for _ in range(2)}
    assert len(runs) == 2


def test_messages_without_otids_are_never_the_same(tenant: Tenant) -> None:
    conversation = thinker(tenant)
    assert turn(tenant, conversation, "[[say Hi]]").pk != turn(tenant, conversation, "[[say Hi]]").pk
    otids = Message.objects.filter(conversation=conversation, role="user").values_list("otid", flat=True)
    assert len(set(otids)) == 2


@pytest.mark.parametrize("otid", [None, "o-1"], ids=["different sends", "one send, repeated"])
def test_of_many_at_once_one_is_let_in(committed: Tenant, otid: str | None) -> None:
    conversation = elsewhere(lambda: thinker(committed))
    start = threading.Barrier(6)

    def sender() -> Started | Conflict:
        start.wait(10)
        try:
            return sending(committed, conversation, [said("[[say Hi]]", otid=otid)])
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(6) as pool:
        found = [future.result(30) for future in [pool.submit(closing, sender) for _ in range(6)]]
    started = [each for each in found if isinstance(each, Started)]
    assert sum(each.fresh for each in started) == 1
    assert len({each.run.pk for each in started}) == 1
    assert len(started) == (1 if otid is None else 6)
    refused = [each for each in found if isinstance(each, Conflict)]
    assert {each.extra["run_id"] for each in refused} <= {started[0].run.pk}


# What a body may say


def body(**fields: Any) -> StreamingBody:
    return StreamingBody.model_validate(fields)


def test_exactly_one_of_input_and_messages_is_given() -> None:
    bodies: list[dict[str, Any]] = [{}, {"input": "Hi", "messages": [said("Hi")]}, {"messages": []}]
    for wrong in bodies:
        with pytest.raises(ValidationError, match="input"):
            SendBody.model_validate(wrong)


@pytest.mark.parametrize("fields", [{"stream_tokens": True}, {"background": True}, {"include_pings": False}])
def test_options_of_streams_need_a_stream(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="streaming"):
        body(input="Hi", **fields)
    assert body(input="Hi", streaming=True, **fields)


def test_conversations_stream_unless_told_otherwise() -> None:
    assert ConversationBody(input="Hi").streaming
    assert not ConversationBody(input="Hi", streaming=False).streaming


def test_a_body_is_remembered_as_far_as_it_says_something() -> None:
    assert options_of(body(input="Hi")) == {}
    assert options_of(AsyncBody(input="Hi", callback_url="https://x.test")) == {}
    tool = {"name": "f", "description": "F."}
    found = options_of(body(input="Hi", client_tools=[tool], include_return_message_types=["assistant_message"]))
    assert found == {"client_tools": [tool], "include_return_message_types": ["assistant_message"]}


@pytest.mark.parametrize("max_steps", [0, 1001, -1])
def test_steps_have_bounds(max_steps: int) -> None:
    with pytest.raises(ValidationError):
        body(input="Hi", max_steps=max_steps)


def test_equal_requests_have_equal_prints_and_keys() -> None:
    one, two = (body(messages=[said("Hi", otid=otid)]) for otid in ("a", "b"))
    assert fingerprint(one) == fingerprint(body(messages=[said("Hi", otid="a")])) != fingerprint(two)
    assert otids_key(one) != otids_key(two)
    assert otids_key(body(messages=[said("Hi")])) is None


def rows(**message: Any) -> list[dict[str, Any]]:
    return rows_of(body(messages=[{"role": "user"} | message]))


def test_an_image_is_kept_inline() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    [row] = rows(content=[{"type": "text", "text": "See:"}, {"type": "image", "source": source}])
    assert row["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image", "media_type": "image/png", "data": PIXEL, "detail": None},
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"type": "base64", "media_type": "image/tiff", "data": PIXEL}, "not an image type"),
        ({"type": "base64", "media_type": "image/png", "data": "%%%"}, "not valid base64"),
        ({"type": "base64", "media_type": "image/png", "data": "AAAA" * (MAX_BYTES // 3 + 1)}, "at most"),
        ({"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}, "none of the types"),
        ({"type": "url", "url": "data:image/png,hello"}, "base64"),
        ({"type": "url", "url": "data:image/svg+xml;base64,PHN2Zy8+"}, "none of the types"),
    ],
    ids=["type", "data", "size", "content", "data URL", "data URL's content"],
)
def test_an_image_that_no_model_takes_is_refused(source: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        rows(content=[{"type": "image", "source": source}])


def test_images_are_few_and_small_together() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    assert len(rows(content=[image] * MAX_COUNT)[0]["content"]) == MAX_COUNT
    with pytest.raises(BadInput, match=f"at most {MAX_COUNT}"):
        rows_of(body(messages=[said([image] * 15), said([image] * 6)]))  # type: ignore[arg-type]
    large = {"type": "base64", "media_type": "image/png", "data": PIXEL[:-4] + "AAAA" * (MAX_BYTES // 4)}
    with pytest.raises(BadInput, match="together"):
        rows(content=[{"type": "image", "source": large}] * 3)


def test_an_image_is_what_its_data_says() -> None:
    source = {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}
    [row] = rows(content=[{"type": "image", "source": source}])
    assert row["content"][0]["media_type"] == "image/png"


def test_an_image_for_a_model_that_reads_text_alone_is_refused(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "takes_images", lambda model: model.name != "demo")
    content = [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]
    with pytest.raises(BadInput, match="'demo' takes no images"):
        send(tenant, thinker(tenant), [{"role": "user", "content": content}])


def test_an_approval_says_what_it_approves() -> None:
    with pytest.raises(BadInput, match="approval_request_id"):
        rows_of(body(messages=[{"type": "approval"}]))
    [row] = rows_of(body(messages=[{"approvals": [{"tool_call_id": "c", "tool_return": "x"}]}]))
    assert (row["role"], row["approvals"][0]["type"]) == ("approval", "tool")
