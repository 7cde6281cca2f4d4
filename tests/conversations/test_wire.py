"""Stored messages as the wire shows them: which API messages a row gives, in which order, with which ids."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from letta_client.types.agents import Message
from pydantic import TypeAdapter

from agents.events import ReasoningDelta, TextDelta, ToolCallDelta
from conversations import events, wire
from conversations.wire import View, message_of, messages_of, otid_of

ID = "message-0b1f6b0e-6f3c-4d7a-9a51-7f3f1c2d4e80"
BARE = ID[8:]
SDK: TypeAdapter[Any] = TypeAdapter(Message)
CALLS = [{"id": f"call_{name}", "name": name, "arguments": f'{{"of": "{name}"}}'} for name in "ab"]


def row(role: str, *content: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "role": role,
        "content": list(content),
        "tool_calls": [],
        "tool_returns": [],
        "approvals": None,
        "stats": None,
        "name": None,
        "otid": None,
        "sender_id": None,
        "step_id": "step-1",
        "run_id": "run-1",
        "group_id": None,
        "is_err": False,
        "created_at": "2026-11-24T12:00:00.123456+00:00",
        "date": "2026-11-24T12:00:00+00:00",
        **columns,
    }


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def reasoning(thought: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "text": thought, **more}


def returned(call_id: str, content: str = "ok", **more: Any) -> dict[str, Any]:
    return {"tool_call_id": call_id, "name": "a", "content": content, "is_error": False, **more}


def types(shown: list[dict[str, Any]]) -> list[str]:
    return [message["message_type"] for message in shown]


ROWS = [
    row("system", text("Be brief.")),
    row("user", text("Hello"), otid="own", sender_id="ada", name="Ada"),
    row("user", text("See"), {"type": "image", "media_type": "image/png", "data": "aGk=", "detail": "low"}),
    row("assistant", reasoning("Hm", signature="s"), text("Hi"), tool_calls=CALLS),
    row("assistant", {"type": "redacted_reasoning", "data": "opaque"}, text("Hi")),
    row("tool", tool_returns=[returned("call_a"), returned("call_b", is_error=True, stderr=["bad"])]),
    row("approval", text("May I?"), tool_calls=CALLS, stats={"awaits": ["call_b"]}),
    row(
        "approval",
        approvals=[{"type": "approval", "tool_call_id": "call_b", "approve": False, "reason": "no"}],
        group_id="message-asked",
    ),
    row("approval", approvals=[{"type": "tool", "tool_call_id": "c", "tool_return": "x", "status": "success"}]),
]


@pytest.mark.parametrize("stored", ROWS, ids=lambda stored: stored["role"])
def test_what_is_shown_reads_as_the_sdks_types(stored: dict[str, Any]) -> None:
    shown = message_of(stored)
    assert shown
    for message in shown:
        read = SDK.validate_python(message)
        assert (read.id, read.message_type) == (ID, message["message_type"])
        assert (message["date"], message["step_id"], message["run_id"]) == (stored["date"], "step-1", "run-1")


def test_an_answer_comes_as_reasoning_text_and_calls() -> None:
    shown = message_of(row("assistant", text("Hi"), reasoning("H"), reasoning("m", signature="s"), tool_calls=CALLS))
    assert types(shown) == ["reasoning_message", "assistant_message", "tool_call_message"]
    assert (shown[0]["reasoning"], shown[0]["signature"]) == ("Hm", "s")
    assert shown[1]["content"] == "Hi"
    assert shown[2]["tool_call"] == shown[2]["tool_calls"][0]
    assert [call["tool_call_id"] for call in shown[2]["tool_calls"]] == ["call_a", "call_b"]
    assert [message["otid"] for message in shown] == [otid_of(ID, n) for n in range(3)]


def test_hidden_thinking_is_redacted_or_omitted() -> None:
    for data, state in (("opaque", "redacted"), ("", "omitted")):
        [hidden, _] = message_of(row("assistant", {"type": "redacted_reasoning", "data": data}, text("Hi")))
        assert (hidden["state"], hidden["hidden_reasoning"]) == (state, data or None)


def test_parallel_returns_are_one_message() -> None:
    [shown] = message_of(row("tool", tool_returns=[returned("call_a"), returned("call_b", "no", is_error=True)]))
    assert (shown["tool_return"], shown["status"], shown["tool_call_id"]) == ("ok", "success", "call_a")
    assert [(each["tool_call_id"], each["status"]) for each in shown["tool_returns"]] == [
        ("call_a", "success"),
        ("call_b", "error"),
    ]
    assert shown["name"] == "a"
    assert message_of(row("tool")) == []


def test_a_request_shows_the_calls_that_wait() -> None:
    [spoken, shown] = message_of(row("approval", text("May I?"), tool_calls=CALLS, stats={"awaits": ["call_b"]}))
    assert (spoken["message_type"], spoken["otid"]) == ("assistant_message", otid_of(ID, 0))
    assert [call["tool_call_id"] for call in shown["tool_calls"]] == ["call_b"]
    assert shown["otid"] == ID
    [_, all_of_them] = message_of(row("approval", text("May I?"), tool_calls=CALLS))
    assert len(all_of_them["tool_calls"]) == 2


def test_an_answer_to_a_request_names_it() -> None:
    given = [{"type": "approval", "tool_call_id": "c", "approve": True, "reason": None}]
    [shown] = message_of(row("approval", approvals=given, group_id="message-asked"))
    assert (shown["approvals"], shown["approve"], shown["approval_request_id"]) == (given, True, "message-asked")


SENT = row("assistant", tool_calls=[{"id": "c", "name": "send_message", "arguments": '{"message": "Ahoy"}'}, CALLS[0]])


def test_what_an_old_agent_sends_is_shown_as_said() -> None:
    said, called = message_of(SENT)
    assert (said["message_type"], said["content"]) == ("assistant_message", "Ahoy")
    assert [call["name"] for call in called["tool_calls"]] == ["a"]
    assert types(message_of(SENT, View(use_assistant_message=False))) == ["tool_call_message"]
    own = View(assistant_tool="a", assistant_kwarg="of")
    assert [m.get("content") for m in message_of(SENT, own)] == ["a", None]
    broken = row("assistant", tool_calls=[{"id": "c", "name": "send_message", "arguments": "{oops"}])
    assert message_of(broken)[0]["content"] == "{oops"


def test_packed_user_messages_are_shown_bare() -> None:
    packed = json.dumps({"type": "user_message", "message": "Hello", "time": "now"})
    assert message_of(row("user", text(packed)))[0]["content"] == "Hello"
    for odd in ('{"type": "user_message", oops', '{"type": "user_message"}'):
        assert message_of(row("user", text(odd)))[0]["content"] == odd


def test_a_reader_may_ask_for_some_kinds_alone() -> None:
    view = View(include=["assistant_message", "tool_return_message"])
    assert types(messages_of(ROWS, view)) == [
        "assistant_message",
        "assistant_message",
        "tool_return_message",
        "assistant_message",
    ]
    assert messages_of(ROWS, View(include=[])) == []


@given(st.uuids(version=4), st.integers(0, 127), st.integers(0, 127))
def test_otids_are_uuids_that_differ_by_their_place_alone(message: UUID, one: int, two: int) -> None:
    first, second = (otid_of(f"message-{message}", index) for index in (one, two))
    assert UUID(first).int & ~0x7F == UUID(second).int & ~0x7F == message.int & ~0x7F
    assert UUID(first).int & 0x7F == one
    assert (first == second) is (one == two)


# Pieces on their way out


def piece(made: Any) -> Any:
    return events.delta(made)


COMMON: dict[str, Any] = {"message_id": ID, "step_id": "step-1", "date": "2026-11-24T12:00:00+00:00"}


def joined(*made: Any) -> list[dict[str, Any]]:
    """What is published of these pieces if all of them wait."""
    waiting: list[Any] = []
    for event in made:
        both = waiting[-1].join(piece(event)) if waiting else None
        if both is None:
            waiting.append(piece(event))
        else:
            waiting[-1] = both
    return [json.loads(each.encode()) for each in waiting]


def test_pieces_of_one_kind_and_place_are_joined() -> None:
    found = joined(
        ReasoningDelta(text="H", index=0, **COMMON),
        ReasoningDelta(text="m", index=0, **COMMON),
        ReasoningDelta(text="", signature="s", index=0, **COMMON),
        TextDelta(text="a", index=1, **COMMON),
        TextDelta(text="b", index=1, **COMMON),
        TextDelta(text="c", index=2, **COMMON),
    )
    assert [(each["text"], each["index"]) for each in found] == [("Hm", 0), ("ab", 1), ("c", 2)]
    assert found[0]["signature"] == "s"


def test_thinking_that_was_signed_is_closed() -> None:
    signed = ReasoningDelta(text="H", signature="s", index=0, **COMMON)
    assert len(joined(signed, ReasoningDelta(text="m", index=0, **COMMON))) == 2


def test_the_piece_with_a_calls_name_stays_alone() -> None:
    first = ToolCallDelta(tool_call_id="c", name="a", index=0, **COMMON)
    more = [ToolCallDelta(tool_call_id="c", arguments=part, index=0, **COMMON) for part in ("{", '"x": 1', "}")]
    second = ToolCallDelta(tool_call_id="d", name="a", index=1, **COMMON)
    found = joined(first, *more, second)
    assert [(each["name"], each["arguments"]) for each in found] == [("a", ""), (None, '{"x": 1}'), ("a", "")]


def test_an_error_is_shown_as_one() -> None:
    assert wire.base("user_message", row("user", is_err=True), None)["is_err"] is True
    assert wire.base("user_message", row("user"), None)["is_err"] is None
