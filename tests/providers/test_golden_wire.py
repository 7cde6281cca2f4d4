"""The wire, byte by byte: requests as vendors document them, and their recorded replies read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.clients import anthropic_wire, google_wire
from providers.clients.anthropic_read import MessagesReader
from providers.clients.google_read import GeminiReader
from providers.clients.openai_chat_read import ChatReader
from providers.clients.openai_responses_read import ResponsesReader
from providers.clients.reading import Reader
from providers.clients.salvage import TextGate
from providers.clients.sse import payloads
from providers.events import Finished, ModelEvent, ReasoningDelta, RedactedReasoning, TextDelta, ToolCallDelta
from providers.types import (
    Message,
    ModelRequest,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCall,
    ToolReturn,
    ToolSpec,
)
from providers.usage import Usage
from tests.providers.golden_cases import FOLDER, cases, pretty

REPLIES = Path(__file__).parent / "golden" / "replies"
OFFERED = (
    ToolSpec(
        "memory_insert", "", {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    ),
    ToolSpec("search", "", {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}),
)
SEARCH = ("search", {"query": "x"})
INSERT = ("memory_insert", {"label": "human"})


@pytest.mark.parametrize("name", sorted(cases()))
def test_a_request_has_its_documented_form(name: str) -> None:
    assert pretty(cases()[name]) == (FOLDER / f"{name}.json").read_text()


def test_every_recorded_request_has_a_case() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(cases())


def reader_of(name: str) -> Reader:
    if name.startswith("anthropic"):
        return MessagesReader(400)
    if name.startswith("google"):
        return GeminiReader(400)
    if name.startswith("responses"):
        return ResponsesReader(400)
    return ChatReader(OFFERED, 400, hidden_reasoning=False, gate=TextGate(salvage=True))


def read(name: str, chunks: list[bytes] | None = None) -> tuple[list[ModelEvent], Finished]:
    reader = reader_of(name)
    events: list[ModelEvent] = []
    for data in payloads(chunks if chunks is not None else [(REPLIES / f"{name}.sse").read_bytes()]):
        events += reader.feed(data, "")
    rest, finished = reader.finish()
    return [*events, *rest], finished


def text(events: list[ModelEvent], kind: type[TextDelta] | type[ReasoningDelta]) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


def calls(finished: Finished) -> list[tuple[str, Any]]:
    return [(call.name, orjson.loads(call.arguments)) for call in finished.message.tool_calls]


ALL = sorted(path.stem for path in REPLIES.glob("*.sse"))


@pytest.mark.parametrize("name", ALL)
def test_the_events_add_up_to_the_message(name: str) -> None:
    events, finished = read(name)
    assert text(events, TextDelta) == finished.message.text
    thought = "".join(part.text for part in finished.message.content if isinstance(part, ReasoningPart))
    assert text(events, ReasoningDelta) == thought
    for index, call in enumerate(finished.message.tool_calls):
        deltas = [event for event in events if isinstance(event, ToolCallDelta) and event.index == index]
        assert (deltas[0].id, deltas[0].name) == (call.id, call.name)
        assert all(delta.id == call.id and delta.name is None for delta in deltas[1:])
        assert "".join(delta.arguments for delta in deltas) == ("" if call.arguments == "{}" else call.arguments)
    assert len({call.id for call in finished.message.tool_calls}) == len(finished.message.tool_calls)
    assert finished.response.get("model") or finished.response["modelVersion"]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALL), st.data())
def test_a_stream_reads_the_same_however_the_network_cuts_it(name: str, data: st.DataObject) -> None:
    raw = (REPLIES / f"{name}.sse").read_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    whole, cut = read(name)[1], read(name, chunks)[1]
    assert cut.message.content == whole.message.content
    made = [[(call.name, call.arguments) for call in answer.message.tool_calls] for answer in (cut, whole)]
    assert made[0] == made[1]
    assert (cut.usage, cut.finish_reason) == (whole.usage, whole.finish_reason)


@pytest.mark.parametrize(
    ("name", "made", "said"),
    [
        ("chat_openai_parallel", [SEARCH, INSERT], ""),
        ("chat_ollama_whole_calls", [SEARCH, INSERT], ""),
        ("chat_lmstudio_nameless_pieces", [SEARCH], ""),
        ("chat_google_no_index_no_id", [SEARCH, INSERT], ""),
        ("chat_qwen_bare_json", [INSERT], ""),
        ("chat_qwen_fenced_json", [SEARCH], ""),
        ("chat_hermes_tag_after_text", [SEARCH, INSERT], "I will look. "),
        ("responses_reasoning_and_call", [SEARCH], "Let me see."),
        ("responses_items_only_at_their_end", [SEARCH], "Let me see."),
        ("google_thinking_and_calls", [SEARCH, ("memory_insert", {})], "Let me see."),
        ("google_calls_without_ids", [SEARCH, INSERT], ""),
    ],
)
def test_calls_are_found_in_every_servers_shape(name: str, made: list[Any], said: str) -> None:
    _, finished = read(name)
    assert calls(finished) == made
    assert finished.message.text == said
    assert finished.finish_reason == "tool_calls"


@pytest.mark.parametrize("name", ["chat_json_that_is_no_call", "chat_json_that_does_not_fit"])
def test_json_that_names_no_offered_tool_or_does_not_fit_stays_text(name: str) -> None:
    _, finished = read(name)
    assert finished.message.tool_calls == ()
    assert orjson.loads(finished.message.text)["name"]
    assert finished.finish_reason == "stop"


@pytest.mark.parametrize(
    ("name", "thought", "said"),
    [
        ("chat_deepseek_reasoning", "I think so.", "Yes."),
        ("chat_openrouter_comments", "Hm.", "Hi"),
        ("chat_llamacpp_think_tags", "Let me see.", "It is five < six."),
        ("chat_crlf_and_no_done", "", "Hi there"),
    ],
)
def test_thinking_is_told_from_the_answer(name: str, thought: str, said: str) -> None:
    events, finished = read(name)
    assert text(events, ReasoningDelta) == thought
    assert finished.message.text == said


def test_anthropics_thinking_keeps_its_signature_and_what_is_redacted() -> None:
    events, finished = read("anthropic_thinking_and_calls")
    assert finished.message.content == (
        ReasoningPart("I should look.", signature="EqQB"),
        RedactedReasoningPart("EmwK"),
        TextPart("Let me see."),
    )
    assert ReasoningDelta("", "EqQB") in events
    assert RedactedReasoning("EmwK") in events
    assert calls(finished) == [SEARCH, ("memory_insert", {})]
    assert finished.response["content"][0]["signature"] == "EqQB"


def test_googles_signatures_stay_with_the_parts_that_they_came_with() -> None:
    _, finished = read("google_thinking_and_calls")
    assert finished.message.content == (ReasoningPart("I should look."), TextPart("Let me see."))
    assert [call.signature for call in finished.message.tool_calls] == ["c2lnLTE=", None]
    assert finished.response["candidates"][0]["content"]["parts"][2]["thoughtSignature"] == "c2lnLTE="
    _, plain = read("google_text_signed_at_its_end")
    assert plain.message.content == (TextPart("It is noon.", signature="c2lnLTI="),)
    back = orjson.loads(
        google_wire.body(ModelRequest(model="gemini-3-pro-preview", messages=(finished.message, plain.message)))
    )
    sent = [part.get("thoughtSignature") for part in back["contents"][1]["parts"]]
    assert sent == [None, "c2lnLTE=", None, "c2lnLTI="]


def test_responses_keeps_encrypted_reasoning_by_its_id() -> None:
    _, finished = read("responses_reasoning_and_call")
    assert finished.message.content == (
        ReasoningPart("First.\n\nThen.", id="rs_1", encrypted="gAAA"),
        ReasoningPart("", id="rs_2", encrypted="gBBB"),
        TextPart("Let me see."),
    )
    assert "instructions" not in finished.response


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("chat_openai_text", Usage(input=36, cache_read=64, output=20, reasoning=0)),
        ("chat_deepseek_reasoning", Usage(input=36, cache_read=64, output=20, reasoning=12)),
        ("chat_openrouter_comments", Usage(input=20, cache_read=0, cache_write_5m=80, output=20)),
        ("chat_xai_reasoning_beside", Usage(input=100, output=20, reasoning=15)),
        (
            "anthropic_thinking_and_calls",
            Usage(input=30, cache_read=60, cache_write_5m=4, cache_write_1h=6, output=89),
        ),
        ("responses_reasoning_and_call", Usage(input=36, cache_read=64, output=50, reasoning=30)),
        ("chat_qwen_bare_json", Usage(input=100, output=15, estimated=True)),
        ("google_thinking_and_calls", Usage(input=36, cache_read=64, output=50, reasoning=30)),
    ],
)
def test_usage_is_read_from_every_servers_shape(name: str, usage: Usage) -> None:
    assert read(name)[1].usage == usage


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("anthropic_refusal", "refusal"),
        ("anthropic_max_tokens_in_a_call", "length"),
        ("responses_incomplete", "length"),
        ("chat_openai_text", "stop"),
        ("google_text_signed_at_its_end", "stop"),
        ("google_filtered", "content_filter"),
    ],
)
def test_why_an_answer_ended_is_told(name: str, reason: str) -> None:
    assert read(name)[1].finish_reason == reason


@pytest.mark.parametrize(("thought", "thinks"), [((), False), ((ReasoningPart("Hm.", signature="s"),), True)])
def test_anthropic_thinks_on_behind_a_call_only_where_it_thought_before_whatever_is_said_in_between(
    thought: tuple[Any, ...], thinks: bool
) -> None:
    user = Message("user", (TextPart("Mind the gap."),))
    calling = Message("assistant", thought, (ToolCall("1", "search", "{}"),))
    returned = Message("tool", tool_returns=(ToolReturn("1", "search", "found"),))
    for said in ((), (user,)):
        asked = ModelRequest(model="claude-sonnet-4-5", messages=(user, calling, returned, *said), thinking_budget=2000)
        assert anthropic_wire.thinks(asked) is thinks
    ended = ModelRequest(
        model="claude-sonnet-4-5", messages=(user, Message("assistant", (TextPart("Hi"),)), user), thinking_budget=1
    )
    assert anthropic_wire.thinks(ended)
