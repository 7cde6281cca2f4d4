"""The pure loop: what is asked of the model, how its stream is told, and whether the turn goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents import loop
from agents.loop import Answer, Turn
from agents.tool_rules import Called, Rules
from providers import events as model
from providers.types import Message, TextPart, ToolCall, ToolSpec
from providers.usage import Usage

TOOLS = tuple(ToolSpec(name, f"Does {name}.", {"type": "object", "properties": {}}) for name in ("a", "b", "c"))


def rule(kind: str, tool: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "tool_name": tool, **fields}


def turn(*rules: dict[str, Any], **fields: Any) -> Turn:
    known: dict[str, Any] = {
        "step_id": "step-1",
        "message_id": "message-1",
        "date": "2026-11-24T12:00:00+00:00",
        "step_index": 0,
        "max_steps": 5,
        "messages": (Message("system", (TextPart("Be brief."),)), Message("user", (TextPart("Hello"),))),
        "tools": TOOLS,
        "rules": Rules.parse(rules),
        "called": (),
    }
    return Turn(**(known | fields))


def calls(*names: str) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(f"call_{n}", name, "{}") for n, name in enumerate(names))


def answer(*names: str, finish: Any = "stop") -> Answer:
    made = calls(*names)
    return Answer(message=Message("assistant", (), made), calls=made, finish_reason=finish, usage=Usage())


def finished(*names: str) -> model.Finished:
    return model.Finished(Message("assistant", (TextPart("Hi"),), calls(*names)), "stop", Usage(output=3), {})


def told(turn: Turn, *stream: model.ModelEvent, parallel: bool = True) -> tuple[list[Any], Answer]:
    events: list[Any] = []
    thinking = loop.think(turn, parallel, iter(stream))
    while True:
        try:
            events.append(next(thinking))
        except StopIteration as end:
            return events, end.value


def test_a_request_holds_the_messages_the_tools_and_the_settings() -> None:
    request = loop.request_of(turn(settings={"temperature": 0.5}), "m-1")
    assert (request.model, request.temperature, request.tool_choice) == ("m-1", 0.5, "auto")
    assert request.tools == TOOLS
    assert [message.text for message in request.messages] == ["Be brief.", "Hello"]
    assert request.parallel_tool_calls


def test_the_first_tool_of_a_rule_is_forced_and_alone() -> None:
    request = loop.request_of(turn(rule("run_first", "b", args={"x": 1})), "m")
    assert [tool.name for tool in request.tools] == ["b"]
    assert request.tool_choice == "b"


def test_calls_come_one_at_a_time_where_rules_or_settings_say_so() -> None:
    assert not loop.request_of(turn(rule("constrain_child_tools", "a", children=["b"])), "m").parallel_tool_calls
    assert loop.request_of(turn(rule("exit_loop", "a")), "m").parallel_tool_calls
    assert not loop.request_of(turn(settings={"parallel_tool_calls": False}), "m").parallel_tool_calls


def test_without_tools_no_tool_is_chosen() -> None:
    request = loop.request_of(turn(rule("run_first", "a"), tools=()), "m")
    assert (request.tools, request.tool_choice) == ((), "auto")


def test_the_kinds_of_a_message_are_numbered_in_the_order_in_which_they_come() -> None:
    events, _ = told(
        turn(),
        model.ReasoningDelta("Hm"),
        model.ReasoningDelta("", "sig"),
        model.TextDelta("One"),
        model.ToolCallDelta(0, "call_0", "a", ""),
        model.ToolCallDelta(0, "call_0", None, "{}"),
        model.ToolCallDelta(1, "call_1", "b", "{}"),
        finished("a", "b"),
    )
    assert [(event.type, event.index) for event in events] == [
        ("reasoning_delta", 0),
        ("reasoning_delta", 0),
        ("text_delta", 1),
        ("tool_call_delta", 2),
        ("tool_call_delta", 2),
        ("tool_call_delta", 3),
    ]
    assert {(event.message_id, event.step_id) for event in events} == {("message-1", "step-1")}


def test_a_kind_that_comes_again_keeps_its_number() -> None:
    """Clients join pieces by number; the stored message joins them too."""
    events, _ = told(
        turn(rule("requires_approval", "b")),
        model.ReasoningDelta("Hm"),
        model.TextDelta("One"),
        model.ReasoningDelta("again"),
        model.ToolCallDelta(0, "call_0", "a", ""),
        model.ToolCallDelta(1, "call_1", "b", ""),
        model.ToolCallDelta(0, "call_0", None, "{}"),
        finished("a", "b"),
    )
    assert [event.index for event in events] == [0, 1, 0, 2, 3, 2]
    assert [event.needs_approval for event in events[3:]] == [False, True, False]


def test_hidden_thinking_is_told_without_its_content() -> None:
    events, _ = told(turn(), model.RedactedReasoning("opaque"), model.TextDelta("Hi"), finished())
    assert [(event.type, event.index) for event in events] == [("hidden_reasoning", 0), ("text_delta", 1)]


def test_calls_beyond_the_first_are_neither_told_nor_kept_where_they_must_be_single() -> None:
    stream = (
        model.ToolCallDelta(0, "call_0", "a", "{}"),
        model.ToolCallDelta(1, "call_1", "b", "{}"),
        finished("a", "b"),
    )
    events, single = told(turn(), *stream, parallel=False)
    assert [event.tool_call_id for event in events] == ["call_0"]
    assert [call.name for call in single.calls] == ["a"]
    assert [call.name for call in told(turn(), *stream)[1].calls] == ["a", "b"]


def test_a_stream_without_an_end_is_a_fault_of_the_client() -> None:
    with pytest.raises(AssertionError):
        told(turn(), model.TextDelta("Hi"))


def test_a_failure_of_the_stream_passes_through() -> None:
    def broken() -> Iterator[model.ModelEvent]:
        yield model.TextDelta("Hi")
        raise ValueError("torn")

    thinking = loop.think(turn(), True, broken())
    assert next(thinking).type == "text_delta"
    with pytest.raises(ValueError, match="torn"):
        next(thinking)


@pytest.mark.parametrize(
    ("name", "waits"), [("a", False), ("b", True), ("c", True)], ids=["free", "needs approval", "of the client"]
)
def test_a_step_pauses_for_a_human_or_for_the_client(name: str, waits: bool) -> None:
    given = turn(rule("requires_approval", "b"), client_tools=frozenset({"c"}))
    assert loop.paused(given, calls("a", name)) is waits


@pytest.mark.parametrize(
    ("given", "said", "stop_reason"),
    [
        (turn(), answer(), "end_turn"),
        (turn(), answer(finish="refusal"), "end_turn"),
        (turn(), answer(finish="length"), "max_tokens_exceeded"),
        (turn(), answer("a"), None),
        (turn(step_index=4), answer("a"), "max_steps"),
        (turn(step_index=4), answer(), "end_turn"),
        (turn(rule("exit_loop", "a")), answer("a"), "tool_rule"),
        (turn(rule("exit_loop", "a"), step_index=4), answer("a"), "tool_rule"),
        (turn(rule("exit_loop", "a")), answer("b"), None),
        (turn(rule("required_before_exit", "a"), step_index=4), answer(), "max_steps"),
    ],
)
def test_a_turn_ends_where_the_answer_or_a_rule_ends_it(given: Turn, said: Answer, stop_reason: str | None) -> None:
    returned = [Called(call.name, given.step_index) for call in said.calls]
    assert loop.verdict(given, said, returned).stop_reason == stop_reason


def test_a_terminal_tool_that_failed_does_not_end_the_turn() -> None:
    given = turn(rule("exit_loop", "a"))
    assert loop.verdict(given, answer("a"), [Called("a", 0, failed=True)]).stop_reason is None


def test_an_answer_before_its_time_is_nudged_to_the_missing_tool() -> None:
    given = turn(rule("required_before_exit", "a"), rule("required_before_exit", "b"), called=(Called("a", 0),))
    verdict = loop.verdict(given, answer(), ())
    assert verdict.stop_reason is None
    assert verdict.nudge is not None
    assert "these tools were called: b." in verdict.nudge
