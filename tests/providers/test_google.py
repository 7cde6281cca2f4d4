"""What is Google's own: its address, its words for failure, its lists, and the signatures that must come back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agents.context import to_model_message
from agents.ledger_recount import dialect_of
from conversations.rows import answer_to_json
from conversations.turn import request_fields
from providers.clients import google_wire
from providers.clients.base import Credential, client_for
from providers.clients.failures import failure
from providers.embeddings import embed
from providers.errors import (
    AuthenticationFailed,
    BadResponse,
    ConnectionFailed,
    ContextWindowExceeded,
    InsufficientCredits,
    RateLimited,
    Refused,
    Timeout,
)
from providers.events import Finished
from providers.types import Message, ModelRequest, TextPart, ToolCall, ToolReturn
from telemetry.ledger import Answer
from tests.providers.fake_server import FakeServer

KEY = "AIza-secret-1234567890"
ASKED = ModelRequest(model="gemini-2.5-flash", messages=(Message("user", (TextPart("Hi"),)),))
PATH = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"


def sse(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def said(*parts: dict[str, Any], finish: str | None = "STOP") -> dict[str, Any]:
    end = {"finishReason": finish} if finish else {}
    candidate = {"content": {"role": "model", "parts": list(parts)}, **end}
    return {"candidates": [candidate], "modelVersion": "m", "usageMetadata": {"promptTokenCount": 3}}


GOOD = sse(said({"text": "Hi"}))


def at(url: str, **more: Any) -> Credential:
    return Credential(provider_type="google_ai", api_key=KEY, base_url=url, **more)


def run(credential: Credential, request: ModelRequest = ASKED) -> Finished:
    last = list(client_for(credential).stream(request))[-1]
    assert isinstance(last, Finished)
    return last


def error(status: int, message: str, *details: dict[str, Any]) -> Any:
    return failure(status, {"error": {"code": status, "message": message, "details": list(details)}}, {}, KEY)


@pytest.mark.parametrize("suffix", ["", "/", "/v1beta", "/v1beta/openai", "/v1beta/openai/"])
def test_a_base_url_may_be_googles_or_that_of_its_door_for_openais_form(fake_server: FakeServer, suffix: str) -> None:
    fake_server.stream(GOOD)
    assert run(at(fake_server.url + suffix)).message.text == "Hi"
    assert fake_server.paths == [PATH]
    assert fake_server.headers[0]["x-goog-api-key"] == KEY
    assert KEY not in fake_server.paths[0]


def test_nothing_of_the_environment_is_sent_and_a_models_name_stays_a_name(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT", "GOOGLE_GENAI_API_VERSION", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.setenv(name, "operator")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    fake_server.stream(GOOD)
    credential = at(f"{fake_server.url}/fresh", headers=(("X-Team", "blue"),))
    run(replace(credential, api_key=""), replace(ASKED, model="../a?key=b"))
    run(credential)
    assert fake_server.paths == [
        "/fresh/v1beta/models/..%2Fa%3Fkey%3Db:streamGenerateContent?alt=sse",
        f"/fresh{PATH}",
    ]
    assert "operator" not in json.dumps([fake_server.headers, fake_server.paths])
    assert fake_server.headers[1]["x-team"] == "blue"


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "API key not valid. Please pass a valid API key.", AuthenticationFailed),
        (400, "API key expired. Please renew the API key.", AuthenticationFailed),
        (400, "The input token count (9) exceeds the maximum number of tokens allowed (8).", ContextWindowExceeded),
        (429, "Your prepayment credits are depleted. Please go to billing.", InsufficientCredits),
        (504, "Deadline expired before operation could complete.", Timeout),
    ],
)
def test_googles_refusals_become_the_class_that_says_what_can_be_done(status: int, message: str, kind: type) -> None:
    assert type(error(status, message)) is kind


def test_an_exceeded_quota_that_comes_back_soon_is_a_rate_limit_with_its_wait() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
    told = error(429, "You exceeded your current quota, please check your plan and billing details.", retry)
    assert type(told) is RateLimited
    assert told.retry_after == 34.07


def test_an_error_status_and_a_server_that_is_not_there_are_told(fake_server: FakeServer) -> None:
    fake_server.answer({"error": {"code": 403, "message": f"Key {KEY} may not.", "status": "PERMISSION_DENIED"}}, 403)
    with pytest.raises(AuthenticationFailed) as caught:
        run(at(fake_server.url))
    assert KEY not in caught.value.message
    with pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:1"):
        run(at("http://127.0.0.1:1"))


@pytest.mark.parametrize("key", ["auth_tokens/short-lived", "schlüssel-ü"])
def test_a_key_that_cannot_be_sent_is_the_callers_to_mend(fake_server: FakeServer, key: str) -> None:
    with pytest.raises((AuthenticationFailed, ConnectionFailed), match=r"key"):
        run(replace(at(fake_server.url), api_key=key))
    assert not fake_server.sent


def test_a_blocked_prompt_is_refused_and_a_malformed_call_is_no_answer(fake_server: FakeServer) -> None:
    fake_server.stream(sse({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "m"}))
    fake_server.stream(sse(said(finish="MALFORMED_FUNCTION_CALL")))
    with pytest.raises(Refused, match="PROHIBITED_CONTENT"):
        run(at(fake_server.url))
    with pytest.raises(BadResponse, match="MALFORMED_FUNCTION_CALL"):
        run(at(fake_server.url))


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "SPII", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR"])
def test_what_googles_filter_stopped_says_so_and_keeps_its_ratings(fake_server: FakeServer, reason: str) -> None:
    cut = said({"text": "How to"}, finish=reason)
    ratings = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
    cut["candidates"][0]["safetyRatings"] = ratings
    fake_server.stream(sse(cut))
    finished = run(at(fake_server.url))
    assert (finished.finish_reason, finished.message.text) == ("content_filter", "How to")
    assert finished.response["candidates"][0]["safetyRatings"] == ratings


def test_signatures_that_another_door_made_are_left_out_once_they_are_refused(fake_server: FakeServer) -> None:
    """As after a change between the Gemini API and Vertex, of the project, or of the model."""
    calls = (ToolCall("c1", "search", "{}", "c2lnLTE="), ToolCall("c2", "search", "{}"))
    asked = replace(
        ASKED,
        model="gemini-3-pro-preview",
        messages=(
            *ASKED.messages,
            Message("assistant", (TextPart("Let me see.", signature="c2lnLTA="),), calls),
            Message("tool", tool_returns=(ToolReturn("c1", "search", "a"), ToolReturn("c2", "search", "b"))),
        ),
    )
    refusal = {"error": {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"}}
    fake_server.answer(refusal, 400)
    fake_server.stream(GOOD)
    client = client_for(at(fake_server.url))
    assert run(at(fake_server.url), asked).message.text == "Hi"
    signatures = [[part.get("thoughtSignature") for part in sent["contents"][1]["parts"]] for sent in fake_server.sent]
    assert signatures == [["c2lnLTA=", "c2lnLTE=", None], [None, google_wire.UNSIGNED, None]]
    assert json.loads(client.request_body(asked)) == fake_server.sent[1]  # what the trace keeps


def test_models_come_in_pages_with_their_windows_and_without_what_cannot_be_asked(fake_server: FakeServer) -> None:
    def row(name: str, *methods: str, **more: int) -> dict[str, Any]:
        return {"name": f"models/{name}", "displayName": name.upper(), "supportedGenerationMethods": methods, **more}

    chat = row("gemini-9-flash", "generateContent", inputTokenLimit=500_000, outputTokenLimit=9_000)
    tiny = row("gemini-embedding-001", "embedContent", inputTokenLimit=2048, outputTokenLimit=1)
    fake_server.answer({"models": [chat, row("veo-3", "predictLongRunning")], "nextPageToken": "a/b"})
    fake_server.answer({"models": [tiny, row("gemini-9-flash-tts", "generateContent")]})
    found = client_for(at(fake_server.url)).list_models()
    assert [(info.name, info.kind, info.context_window, info.max_output_tokens) for info in found] == [
        ("gemini-9-flash", "llm", 500_000, 9_000),
        ("gemini-embedding-001", "embedding", 2048, None),
    ]
    assert fake_server.paths[1].endswith("pageToken=a%2Fb")


def test_texts_are_embedded_by_its_door_for_openais_form(fake_server: FakeServer) -> None:
    fake_server.answer({"data": [{"index": 0, "embedding": [0.5, 0.5]}], "usage": {"prompt_tokens": 2}})
    made = embed(["Hi"], credential=at(f"{fake_server.url}/v1beta/openai"), model="gemini-embedding-001")
    assert made.vectors == [[0.5, 0.5]]
    assert fake_server.paths == ["/v1beta/openai/embeddings"]


def test_a_signed_call_is_signed_again_after_it_was_stored(fake_server: FakeServer) -> None:
    call = {"functionCall": {"id": "f1", "name": "search", "args": {"q": "x"}}, "thoughtSignature": "c2ln"}
    fake_server.stream(sse(said({"text": "I think.", "thought": True}, call)))
    answer = run(at(fake_server.url)).message
    content, calls = answer_to_json(answer)
    stored = to_model_message({"role": "assistant", "content": content, "tool_calls": calls})
    assert stored == answer
    back = (stored, Message("tool", tool_returns=(ToolReturn("f1", "search", "found"),)))
    sent = json.loads(google_wire.body(replace(ASKED, messages=(*ASKED.messages, *back))))
    assert sent["contents"][1]["parts"] == [call]
    assert answer_to_json(Message("assistant", tool_calls=(ToolCall("c", "search", "{}"),)))[1] == [
        {"id": "c", "name": "search", "arguments": "{}"}
    ]


def test_an_agents_thinking_config_reaches_the_wire() -> None:
    fields = request_fields({"thinking_config": {"include_thoughts": False, "thinking_budget": 0}})
    config = json.loads(google_wire.body(replace(ASKED, **fields)))["generationConfig"]["thinkingConfig"]
    assert config == {"includeThoughts": False, "thinkingBudget": 0}


def test_answers_of_the_time_when_google_was_asked_in_openais_form_are_counted_in_that_form() -> None:
    assert dialect_of("google_ai", Answer({"usage": {"prompt_tokens": 3}}, "")) == "openai_chat"
    assert dialect_of("google_ai", Answer({"usageMetadata": {"promptTokenCount": 3}}, "")) == "google"
