"""Bedrock's Converse: streams and whole answers, refusals that are mended, failures. A server here stands in for AWS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import usage_extract
from providers.catalog import bare, describe, takes_images
from providers.clients.aws import event_payloads
from providers.clients.base import Credential, client_for, close_all
from providers.clients.converse_read import ConverseReader
from providers.errors import (
    BadRequest,
    BadResponse,
    ContextWindowExceeded,
    Overloaded,
    ProviderError,
    RateLimited,
    StreamInterrupted,
)
from providers.events import Finished, ModelEvent, ReasoningDelta, RedactedReasoning, TextDelta, ToolCallDelta
from providers.resolve import _with_dialect
from providers.types import Message, ModelRequest, ReasoningPart, RedactedReasoningPart, TextPart, ToolSpec
from providers.usage import Usage
from tests.providers.fake_server import FakeServer, Reply
from tests.support.aws import frame, told

LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"
TOOLS = (ToolSpec("search", "Look up", {"type": "object", "properties": {}}),)
ASKED = ModelRequest(model=LLAMA, messages=(Message("user", (TextPart("Hi"),)),), tools=TOOLS)
USAGE = {"inputTokens": 30, "outputTokens": 12, "totalTokens": 42}


def piece(index: int, **delta: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta, "p": "abc"}}


def call(index: int, call_id: str, name: str) -> dict[str, Any]:
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return {"contentBlockStart": {"contentBlockIndex": index, "start": start, "p": "ab"}}


def end(reason: str, **usage: Any) -> tuple[dict[str, Any], ...]:
    said = {"usage": {**USAGE, **usage}, "metrics": {"latencyMs": 900}, "p": "abcd"}
    return {"messageStop": {"stopReason": reason, "p": "a"}}, {"metadata": said}


EVENTS: tuple[dict[str, Any], ...] = (
    {"messageStart": {"role": "assistant", "p": "abcdefg"}},
    piece(0, reasoningContent={"text": "I should "}),
    piece(0, reasoningContent={"text": "look."}),
    piece(0, reasoningContent={"signature": "sig-1"}),
    {"contentBlockStop": {"contentBlockIndex": 0}},
    piece(1, reasoningContent={"redactedContent": "b3BhcXVl"}),
    piece(2, text="Let me "),
    piece(2, text="see."),
    {"contentBlockStop": {"contentBlockIndex": 2}},
    call(3, "tooluse_1", "search"),
    piece(3, toolUse={"input": '{"query": '}),
    piece(3, toolUse={"input": '"x"}'}),
    call(4, "tooluse_2", "search"),
    *end("tool_use", cacheReadInputTokens=100, cacheWriteInputTokens=8, totalTokens=150),
)
WHOLE = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "I should look.", "signature": "sig-1"}}},
                {"reasoningContent": {"redactedContent": "b3BhcXVl"}},
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "tooluse_1", "name": "search", "input": {"query": "x"}}},
                {"toolUse": {"toolUseId": "tooluse_2", "name": "search", "input": {}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": EVENTS[-1]["metadata"]["usage"],
    "metrics": {"latencyMs": 900},
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


def bedrock(server: FakeServer) -> Credential:
    credential = Credential(
        provider_type="bedrock",
        base_url=server.url,
        access_key="AKIDEXAMPLE",
        api_key="aws-secret-key-1234",
        region="us-east-1",
    )
    return _with_dialect(credential, LLAMA)


def ask(server: FakeServer, asked: ModelRequest = ASKED) -> tuple[list[ModelEvent], Finished]:
    events = list(client_for(bedrock(server)).stream(asked))
    assert isinstance(events[-1], Finished)
    return events, events[-1]


def read(*chunks: bytes) -> Finished:
    reader = ConverseReader(400)
    for data in event_payloads(chunks):
        reader.feed(data)
    return reader.finish()[1]


def check(finished: Finished) -> None:
    assert finished.message.content == (
        ReasoningPart("I should look.", signature="sig-1"),
        RedactedReasoningPart("b3BhcXVl"),
        TextPart("Let me see."),
    )
    made = [(one.id, one.name, orjson.loads(one.arguments)) for one in finished.message.tool_calls]
    assert made == [("tooluse_1", "search", {"query": "x"}), ("tooluse_2", "search", {})]
    assert finished.finish_reason == "tool_calls"
    assert finished.usage == Usage(input=30, cache_read=100, cache_write_5m=8, output=12)
    assert finished.usage.total == usage_extract.provider_total("converse", finished.response["usage"])
    assert finished.response == WHOLE


def test_a_stream_and_a_whole_answer_say_the_same(fake_server: FakeServer) -> None:
    fake_server.replies = [Reply(stream=told(*EVENTS)), Reply(WHOLE)]
    for _ in range(2):
        events, finished = ask(fake_server)
        check(finished)
        assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "Let me see."
        assert ReasoningDelta("", "sig-1") in events
        assert RedactedReasoning("b3BhcXVl") in events
        deltas = [one for one in events if isinstance(one, ToolCallDelta)]
        assert {(one.index, one.id) for one in deltas} == {(0, "tooluse_1"), (1, "tooluse_2")}
        assert [one.name for one in deltas if one.name] == ["search", "search"]
        assert orjson.loads("".join(one.arguments for one in deltas)) == {"query": "x"}
    assert fake_server.paths[0] == f"/model/{LLAMA}/converse-stream"
    assert fake_server.headers[0]["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "x-api-key" not in fake_server.headers[0]


@given(st.lists(st.integers(0, len(told(*EVENTS))), max_size=8))
def test_a_stream_reads_the_same_however_the_network_cuts_it(cuts: list[int]) -> None:
    raw = told(*EVENTS)
    places = sorted(cuts)
    check(read(*(raw[a:b] for a, b in zip([0, *places], [*places, len(raw)], strict=True))))


def refusal(message: str) -> Reply:
    return Reply({"message": message}, 400, headers={"x-amzn-ErrorType": "ValidationException:http://x/"})


def test_what_a_model_cannot_do_is_left_out_and_not_asked_again(fake_server: FakeServer) -> None:
    """The sentences are Bedrock's own, as public reports have them."""
    fake_server.replies = [
        refusal("This model doesn't support the toolConfig.toolChoice.any field. Remove it and try again."),
        refusal("This model doesn't support tool use in streaming mode."),
        Reply(WHOLE),
    ]
    forced = replace(ASKED, tool_choice="required")
    check(ask(fake_server, forced)[1])
    check(ask(fake_server, replace(forced, temperature=0.5))[1])
    deeds = [path.rpartition("/")[2] for path in fake_server.paths]
    assert deeds == ["converse-stream", "converse-stream", "converse", "converse"]
    assert ["toolChoice" in sent["toolConfig"] for sent in fake_server.sent] == [True, False, False, False]
    fake_server.replies = [Reply(stream=told(piece(0, text="Hi"), *end("end_turn")))]
    assert ask(fake_server, replace(ASKED, tools=()))[1].message.text == "Hi"  # without tools it streams
    fake_server.replies = [refusal("The model is unsupported for streaming."), Reply(WHOLE)]
    check(ask(fake_server, replace(ASKED, model="openai.gpt-oss-20b-1:0"))[1])
    fake_server.replies = [refusal("This model doesn't support tool use.")]
    with pytest.raises(BadRequest, match="tool use"):
        ask(fake_server, replace(ASKED, model="us.deepseek.r1-v1:0"))


@pytest.mark.parametrize(
    ("status", "kind", "message", "error"),
    [
        (400, "ValidationException", "Input Tokens Exceeded: Number of input tokens exceeds", ContextWindowExceeded),
        (424, "ModelErrorException", "The model failed.", Overloaded),
        (429, "ModelNotReadyException", "Not ready.", RateLimited),
    ],
)
def test_refusals_are_told_apart(
    fake_server: FakeServer, status: int, kind: str, message: str, error: type[ProviderError]
) -> None:
    fake_server.replies = [Reply({"message": message}, status, headers={"x-amzn-ErrorType": kind})]
    with pytest.raises(error, match=message):
        ask(fake_server)


def test_a_stream_that_breaks_is_told_with_what_it_cost(fake_server: FakeServer) -> None:
    failed = frame(b'{"message": "Busy"}', message_type="exception", exception_type="serviceUnavailableException")
    fake_server.replies = [Reply(stream=failed), Reply(stream=told(*EVENTS[:8]) + failed), Reply(stream=b"")]
    with pytest.raises(Overloaded, match="Busy"):
        ask(fake_server)
    with pytest.raises(StreamInterrupted, match="Busy") as caught:
        ask(fake_server)
    said = len("I should look.b3BhcXVlLet me see.")
    assert caught.value.usage == usage_extract.estimate(len(client_for(bedrock(fake_server)).request_body(ASKED)), said)
    assert caught.value.partial is not None
    assert caught.value.partial["output"]["message"]["content"][2] == {"text": "Let me see."}
    with pytest.raises(BadResponse, match="empty"):
        ask(fake_server)
    with pytest.raises(BadResponse, match="not of Converse"):
        read(told({"contentBlockDelta": {"text": "x"}}))


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "stop"),
    ],
)
def test_why_an_answer_ended_is_told(reason: str, meant: str) -> None:
    assert read(told(piece(0, text="Hm."), *end(reason))).finish_reason == meant


def test_an_answer_that_came_to_nothing_is_a_failure() -> None:
    with pytest.raises(BadResponse, match="malformed_tool_use"):
        read(told(*end("malformed_tool_use")))


def test_dialects_and_what_is_known_of_a_name() -> None:
    credential = Credential(provider_type="bedrock", region="us-east-1")
    claude = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    named = f"arn:aws:bedrock:us-east-1::foundation-model/{LLAMA.removeprefix('us.')}"
    dialects = [_with_dialect(credential, model).dialect for model in (claude, profile, LLAMA, named)]
    assert dialects == [None, None, "converse", "converse"]
    assert bare(LLAMA) == "llama3-3-70b-instruct-v1"
    assert bare("us.deepseek.r1-v1:0") == "deepseek.r1-v1"
    seeing = {"us.amazon.nova-pro-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0", "us.meta.llama3-2-11b-instruct-v1:0"}
    blind = {LLAMA, "amazon.nova-micro-v1:0", "us.deepseek.r1-v1:0", "openai.gpt-oss-20b-1:0", "qwen.qwen3-32b-v1:0"}
    assert {model for model in seeing | blind if takes_images(describe("bedrock", model))} == seeing
