"""What goes wrong at a provider, and what a caller is told; and what is put up with."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import usage_extract
from providers.clients.base import Credential, client_for, masked
from providers.clients.failures import failure
from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    ConnectionFailed,
    ContextWindowExceeded,
    InsufficientCredits,
    Overloaded,
    ProviderError,
    RateLimited,
    Refused,
    StreamInterrupted,
    Timeout,
)
from providers.events import Finished, ModelEvent, RedactedReasoning, TextDelta
from providers.types import Message, ModelRequest, TextPart, ToolSpec
from tests.providers.fake_server import FakeServer, Reply

KEY = "sk-secret-1234567890"
TOOL = ToolSpec("search", "Look up", {"type": "object", "properties": {"query": {"type": "string"}}})


def openai_error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def anthropic_error(message: str, kind: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, openai_error("Incorrect API key", "invalid_api_key"), AuthenticationFailed),
        (403, openai_error("Country not supported", "unsupported_country"), AuthenticationFailed),
        (429, openai_error("Rate limit reached", "rate_limit_exceeded"), RateLimited),
        (429, openai_error("You exceeded your quota", "insufficient_quota"), InsufficientCredits),
        (402, {"error": {"message": "Insufficient credits", "code": 402}}, InsufficientCredits),
        (400, anthropic_error("Your credit balance is too low", "invalid_request_error"), InsufficientCredits),
        (400, openai_error("maximum context length is 8 tokens", "context_length_exceeded"), ContextWindowExceeded),
        (
            400,
            anthropic_error("prompt is too long: 9 tokens > 8 maximum", "invalid_request_error"),
            ContextWindowExceeded,
        ),
        (
            400,
            {"error": {"message": "request (9 tokens) exceeds the available context size (8 tokens)"}},
            ContextWindowExceeded,
        ),
        (413, anthropic_error("Request too large", "request_too_large"), ContextWindowExceeded),
        (400, openai_error("blocked by our content management policy", "content_filter"), Refused),
        (400, openai_error("Unknown parameter"), BadRequest),
        (404, openai_error("The model does not exist", "model_not_found"), BadRequest),
        (404, {"error": "model 'x' not found"}, BadRequest),
        (422, {"detail": [{"loc": ["body"], "msg": "extra"}]}, BadRequest),
        (500, openai_error("The server had an error", None, "server_error"), Overloaded),
        (500, {"error": {"message": "tools param requires --jinja flag"}}, BadRequest),
        (502, "<html>Bad gateway</html>", Overloaded),
        (503, {"error": {"message": "Loading model", "code": 503}}, Overloaded),
        (529, anthropic_error("Overloaded", "overloaded_error"), Overloaded),
        (408, "", Timeout),
        (504, "", Timeout),
    ],
)
def test_a_refusal_becomes_the_class_that_says_what_can_be_done(status: int, body: Any, kind: type) -> None:
    error = failure(status, body if isinstance(body, str) else json.dumps(body).encode(), {}, KEY)
    assert type(error) is kind
    assert error.upstream_status == status
    assert error.message


def test_the_wait_that_a_provider_asks_for_is_kept() -> None:
    assert failure(429, b"{}", {"retry-after": "7"}, "").retry_after == 7
    assert failure(429, b"{}", {"retry-after-ms": "250", "retry-after": "7"}, "").retry_after == 0.25
    assert failure(503, b'{"error": {"message": "Loading model"}}', {}, "").retry_after == 1.0
    past = failure(429, b"{}", {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "")
    assert past.retry_after == 0
    assert failure(429, b"{}", {"retry-after": "soon"}, "").retry_after is None


def test_a_key_that_a_provider_repeats_is_not_repeated() -> None:
    error = failure(401, json.dumps(openai_error(f"Incorrect API key provided: {KEY}")).encode(), {}, KEY)
    assert KEY not in error.message
    assert "[key]" in error.message


@given(st.binary(max_size=300), st.integers(400, 599))
def test_no_body_is_too_strange_to_be_told(body: bytes, status: int) -> None:
    assert isinstance(failure(status, body, {}, KEY), ProviderError)


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("sk-proj-abcdefghijklmnop", "sk-proj-…mnop"),
        ("gsk_abcdefghijklmnop", "gsk…mnop"),
        ("short", "…"),
        ("", ""),
    ],
)
def test_a_key_is_shown_in_its_owners_style(key: str, shown: str) -> None:
    assert masked(key) == shown


def test_a_credential_never_prints_its_key() -> None:
    credential = Credential(provider_type="openai", api_key=KEY, headers=(("X-Token", "hidden-token"),))
    assert KEY not in repr(credential)
    assert "hidden-token" not in repr(credential)


# ---- over the wire


def ask(model: str = "m", **more: Any) -> ModelRequest:
    return ModelRequest(model=model, messages=(Message("user", (TextPart("Hi"),)),), **more)


def run(url: str, request: ModelRequest, provider_type: str = "vllm", key: str = KEY) -> list[ModelEvent]:
    return list(client_for(Credential(provider_type=provider_type, api_key=key, base_url=url)).stream(request))


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    body = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


GOOD = chunk({"content": "Hi"}) + chunk({}, "stop") + b"data: [DONE]\n\n"


def last(events: list[ModelEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_a_base_url_may_be_given_in_any_of_its_forms(fake_server: FakeServer, suffix: str) -> None:
    fake_server.stream(GOOD)
    assert last(run(fake_server.url + suffix, ask())).message.text == "Hi"
    assert fake_server.paths == ["/v1/chat/completions"]


def test_without_a_key_no_authorization_is_sent(fake_server: FakeServer) -> None:
    fake_server.stream(GOOD)
    run(fake_server.url, ask(), key="")
    run(fake_server.url, ask())
    assert "authorization" not in fake_server.headers[0]
    assert fake_server.headers[1]["authorization"] == f"Bearer {KEY}"


def test_nothing_of_the_environment_is_sent_with_a_tenants_key(
    fake_server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "OPENAI_ORG_ID": "org-operator",
        "OPENAI_PROJECT_ID": "proj-operator",
        "OPENAI_CUSTOM_HEADERS": "X-Operator: secret",
        "ANTHROPIC_AUTH_TOKEN": "operator-token",
        "ANTHROPIC_CUSTOM_HEADERS": "X-Operator: secret",
    }.items():
        monkeypatch.setenv(name, value)
    fake_server.stream(GOOD)
    run(f"{fake_server.url}/fresh/v1", ask())
    with pytest.raises(BadResponse):
        run(f"{fake_server.url}/fresh", ask(), provider_type="anthropic")
    sent = json.dumps(fake_server.headers)
    assert "operator" not in sent
    assert "X-Operator".lower() not in sent


def test_a_field_that_the_server_refuses_is_left_out_and_stays_out(fake_server: FakeServer) -> None:
    def decide(path: str, body: Any) -> Reply:
        if "stream_options" in body:
            return Reply(openai_error("Unrecognized request argument: stream_options"), 400)
        return Reply(stream=GOOD)

    fake_server.decide = decide
    for _ in range(2):
        finished = last(run(fake_server.url, ask()))
        assert finished.usage.estimated
        assert finished.usage.input > 0
    assert ["stream_options" in body for body in fake_server.sent] == [True, False, False]
    assert "user" not in fake_server.sent[-1]


def test_a_server_that_only_says_bad_request_is_asked_once_more_without_what_servers_often_lack(
    fake_server: FakeServer,
) -> None:
    def decide(path: str, body: Any) -> Reply:
        return Reply({"error": "bad"}, 400) if "tool_choice" in body else Reply(stream=GOOD)

    fake_server.decide = decide
    assert last(run(fake_server.url, ask(tools=(TOOL,), tool_choice="required"))).message.text == "Hi"
    assert len(fake_server.sent) == 2
    run(fake_server.url, ask(tools=(TOOL,), tool_choice="required"))
    assert len(fake_server.sent) == 3


def test_the_traced_body_is_the_one_that_was_taken(fake_server: FakeServer) -> None:
    fake_server.decide = lambda path, body: (
        Reply(openai_error("no stream_options here"), 400) if "stream_options" in body else Reply(stream=GOOD)
    )
    client = client_for(Credential(provider_type="vllm", base_url=fake_server.url))
    request = ask()
    assert b"stream_options" in client.request_body(request)
    list(client.stream(request))
    assert json.loads(client.request_body(request)) == fake_server.sent[-1]


def test_a_request_that_stays_refused_fails_with_the_first_reason(fake_server: FakeServer) -> None:
    fake_server.answer(openai_error("temperature is out of range"), 400)
    with pytest.raises(BadRequest, match="out of range"):
        run(fake_server.url, ask(temperature=9.0))
    assert len(fake_server.sent) == 2
    with pytest.raises(BadRequest):
        run(fake_server.url, ask(temperature=9.0))
    assert "temperature" in fake_server.sent[2]


def test_max_tokens_goes_by_the_name_that_the_server_takes(fake_server: FakeServer) -> None:
    def decide(path: str, body: Any) -> Reply:
        if "max_completion_tokens" in body:
            return Reply(openai_error("Unsupported parameter: 'max_completion_tokens'"), 400)
        return Reply(stream=GOOD)

    fake_server.decide = decide
    run(fake_server.url, ask("gpt-4o", max_output_tokens=9), provider_type="openai")
    assert fake_server.sent[-1]["max_tokens"] == 9


def test_a_server_that_answers_in_one_piece_is_read_all_the_same(fake_server: FakeServer) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Whole."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    fake_server.answer({"id": "c", "model": "m", "choices": [choice], "usage": usage})
    finished = last(run(fake_server.url, ask()))
    assert (finished.message.text, finished.usage.total) == ("Whole.", 7)


def test_hidden_reasoning_is_said_at_the_start_of_openais_own(fake_server: FakeServer) -> None:
    fake_server.stream(GOOD)
    events = run(fake_server.url, ask("gpt-5-mini"), provider_type="openai")
    assert events[:2] == [RedactedReasoning(""), TextDelta("Hi")]
    assert run(fake_server.url, ask("gpt-4o"), provider_type="openai")[0] == TextDelta("Hi")


def test_an_error_before_the_first_event_keeps_its_class(fake_server: FakeServer) -> None:
    fake_server.stream(
        b"data: " + json.dumps(openai_error("slow down", "rate_limit_exceeded", "rate_limit")).encode() + b"\n\n"
    )
    with pytest.raises(RateLimited):
        run(fake_server.url, ask())


def test_a_connection_that_breaks_before_the_first_event_may_be_tried_again(fake_server: FakeServer) -> None:
    fake_server.stream(b"", cut=True)
    with pytest.raises(ConnectionFailed) as caught:
        run(fake_server.url, ask())
    assert caught.value.retryable


def test_a_stream_that_just_ends_is_not_an_answer(fake_server: FakeServer) -> None:
    fake_server.stream(chunk({"content": "Hi"}))
    with pytest.raises(StreamInterrupted) as caught:
        run(fake_server.url, ask())
    assert not caught.value.retryable
    assert caught.value.partial is not None
    assert caught.value.usage is not None


def test_an_answer_of_nothing_is_a_bad_response(fake_server: FakeServer) -> None:
    fake_server.stream(b"data: [DONE]\n\n")
    fake_server.stream(b"")
    assert last(run(fake_server.url, ask())).message.text == ""
    with pytest.raises(BadResponse):
        run(fake_server.url, ask())


def test_a_server_that_is_not_there_is_named_without_its_path() -> None:
    with pytest.raises(ConnectionFailed, match=r"http://127\.0\.0\.1:9: ") as caught:
        run("http://user:pass@127.0.0.1:9/v1", ask())
    assert "pass" not in caught.value.message


def test_a_silent_server_is_a_timeout() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with pytest.raises(Timeout):
            run(f"http://127.0.0.1:{listening.getsockname()[1]}", ask(timeout_s=0.2))


def test_a_stream_that_falls_silent_is_interrupted_with_what_was_said() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        held: list[socket.socket] = []

        def serve() -> None:
            held.append(listening.accept()[0])
            held[0].recv(65536)
            held[0].sendall(head + chunk({"content": "Hi"}))

        server = threading.Thread(target=serve)
        server.start()
        with pytest.raises(StreamInterrupted, match="nothing for") as caught:
            run(f"http://127.0.0.1:{listening.getsockname()[1]}", ask(timeout_s=0.3))
        server.join()
        held[0].close()
    assert caught.value.partial is not None
    assert caught.value.partial["choices"][0]["message"]["content"] == "Hi"


def test_model_lists_of_every_shape_are_read(fake_server: FakeServer) -> None:
    rows = [
        {"id": "vllm-model", "max_model_len": 4000},
        {"id": "openrouter/model", "context_length": 5000, "top_provider": {"context_length": 4500}},
        {"id": "llamacpp", "meta": {"n_ctx_train": 60000, "n_ctx": 6000}},
        {"id": "plain"},
        {"id": "nomic-embed-text:latest"},
        {"id": "whisper-1"},
        {"object": "model"},
        "just-a-name",
    ]
    fake_server.answer({"object": "list", "data": rows})
    models = client_for(Credential(provider_type="vllm", base_url=f"{fake_server.url}/shapes/v1")).list_models()
    found = {model.name: (model.kind, model.context_window) for model in models}
    assert found["vllm-model"] == ("llm", 4000)
    assert found["openrouter/model"] == ("llm", 5000)
    assert found["llamacpp"] == ("llm", 6000)
    assert found["nomic-embed-text:latest"][0] == "embedding"
    assert set(found) == {
        "vllm-model",
        "openrouter/model",
        "llamacpp",
        "plain",
        "nomic-embed-text:latest",
        "just-a-name",
    }


# ---- usage

counts = st.integers(0, 10**7)


@given(counts, counts, counts, counts, st.booleans())
def test_chat_usage_adds_up_to_the_providers_total(
    prompt: int, cached: int, output: int, reasoning: int, beside: bool
) -> None:
    cached, reasoning = min(cached, prompt), reasoning if beside else min(reasoning, output)
    raw = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output + (reasoning if beside else 0),
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    usage = usage_extract.from_chat(raw)
    assert usage_extract.audit(usage, "openai_chat", raw) is None
    assert (usage.reasoning or 0) <= usage.output


@given(counts, counts, counts, counts)
def test_responses_usage_adds_up_to_the_providers_total(prompt: int, cached: int, output: int, reasoning: int) -> None:
    raw = {
        "input_tokens": prompt,
        "output_tokens": output,
        "total_tokens": prompt + output,
        "input_tokens_details": {"cached_tokens": min(cached, prompt)},
        "output_tokens_details": {"reasoning_tokens": min(reasoning, output)},
    }
    assert usage_extract.audit(usage_extract.from_responses(raw), "openai_responses", raw) is None


@given(counts, st.none() | counts, st.none() | counts, st.none() | counts, counts)
def test_anthropic_usage_adds_up_and_splits_what_was_written(
    fresh: int, read: int | None, written: int | None, hourly: int | None, output: int
) -> None:
    raw: dict[str, Any] = {"input_tokens": fresh, "output_tokens": output, "cache_read_input_tokens": read}
    raw["cache_creation_input_tokens"] = written
    if hourly is not None and written is not None:
        hourly = min(hourly, written)
        raw["cache_creation"] = {"ephemeral_1h_input_tokens": hourly, "ephemeral_5m_input_tokens": written - hourly}
    usage = usage_extract.from_anthropic(raw)
    assert usage_extract.audit(usage, "anthropic", raw) is None
    assert usage.cache_write == written


def test_counts_that_do_not_add_up_are_noticed() -> None:
    raw = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 99}
    assert "99" in (usage_extract.audit(usage_extract.from_chat(raw), "openai_chat", raw) or "")
