"""One contract, held by every client: against the mock vendor, and by the scripted client against itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from providers.clients.base import Client, Credential, client_for
from providers.errors import (
    AuthenticationFailed,
    ContextWindowExceeded,
    Overloaded,
    RateLimited,
    StreamInterrupted,
)
from providers.events import Finished, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta
from providers.types import Message, ModelRequest, ReasoningPart, TextPart, ToolCall, ToolReturn, ToolSpec

TOOL = ToolSpec(
    "memory_insert",
    "Add to memory",
    {"type": "object", "properties": {"label": {"type": "string"}, "new_string": {"type": "string"}}},
)
OTHER = ToolSpec("search", "Look up", {"type": "object", "properties": {"query": {"type": "string"}}})


@dataclass(frozen=True)
class Wire:
    """A dialect and how to reach it."""

    dialect: str
    model: str
    credential: Callable[[str], Credential]

    @property
    def remote(self) -> bool:
        return self.dialect != "scripted"


def _openai(dialect: str) -> Callable[[str], Credential]:
    return lambda url: Credential(
        provider_type="openai", api_key="sk-test-123456", base_url=f"{url}/v1", dialect=dialect
    )


WIRES = [
    Wire("openai_chat", "gpt-4o-mini", _openai("openai_chat")),
    Wire("openai_responses", "gpt-5-mini", _openai("openai_responses")),
    Wire(
        "anthropic",
        "claude-sonnet-4-5-20250929",
        lambda url: Credential(provider_type="anthropic", api_key="sk-ant-test-123456", base_url=url),
    ),
    Wire(
        "google",
        "gemini-2.5-flash",
        lambda url: Credential(provider_type="google_ai", api_key="AIza-test-123456", base_url=url),
    ),
    Wire("scripted", "demo", lambda url: Credential(provider_type="scripted")),
]


@pytest.fixture(params=WIRES, ids=lambda wire: wire.dialect)
def wire(request: pytest.FixtureRequest) -> Wire:
    return request.param


@pytest.fixture
def client(wire: Wire, vendor_url: str) -> Client:
    return client_for(wire.credential(vendor_url))


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def ask(wire: Wire, text: str, *more: Message, tools: tuple[ToolSpec, ...] = (TOOL, OTHER)) -> ModelRequest:
    messages = (Message("system", (TextPart("You are a test."),)), user(text), *more)
    return ModelRequest(model=wire.model, messages=messages, tools=tools, max_output_tokens=1024)


def run(client: Client, request: ModelRequest) -> tuple[list[ModelEvent], Finished]:
    events = list(client.stream(request))
    last = events[-1]
    assert isinstance(last, Finished)
    assert not any(isinstance(event, Finished) for event in events[:-1])
    return events[:-1], last


def test_text_comes_in_deltas_that_make_up_the_message(wire: Wire, client: Client) -> None:
    events, last = run(client, ask(wire, "[[say hello to the whole world]]"))
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert len(texts) > 1
    assert "".join(texts) == last.message.text == "hello to the whole world"
    assert last.finish_reason == "stop"


def test_a_tool_call_carries_id_and_name_first_and_its_arguments_whole(wire: Wire, client: Client) -> None:
    arguments = {"label": "human", "new_string": "The user's name is Ada Lovelace."}
    events, last = run(client, ask(wire, f"[[tool memory_insert {json.dumps(arguments)} then say done]]"))
    deltas = [event for event in events if isinstance(event, ToolCallDelta)]
    assert deltas[0].name == "memory_insert"
    assert deltas[0].id
    assert {delta.id for delta in deltas} == {deltas[0].id}
    assert json.loads("".join(delta.arguments for delta in deltas)) == arguments
    assert [json.loads(call.arguments) for call in last.message.tool_calls] == [arguments]
    assert last.finish_reason == "tool_calls"


def test_parallel_tool_calls_keep_apart(wire: Wire, client: Client) -> None:
    script = '[[tools memory_insert {"label": "a"} ; search {"query": "b"} then say done]]'
    _, last = run(client, ask(wire, script))
    assert [(call.name, json.loads(call.arguments)) for call in last.message.tool_calls] == [
        ("memory_insert", {"label": "a"}),
        ("search", {"query": "b"}),
    ]
    assert len({call.id for call in last.message.tool_calls}) == 2


def test_a_conversation_goes_on_after_tool_returns(wire: Wire, client: Client) -> None:
    script = '[[tools memory_insert {"label": "a"} ; search {"query": "b"} then say all done]]'
    _, first = run(client, ask(wire, script))
    returns = tuple(ToolReturn(call.id, call.name, "fine") for call in first.message.tool_calls)
    _, second = run(client, ask(wire, script, first.message, Message("tool", tool_returns=returns)))
    assert second.message.text == "all done"
    assert second.finish_reason == "stop"


def test_broken_arguments_of_an_earlier_call_do_not_break_the_next_request(wire: Wire, client: Client) -> None:
    made = Message("assistant", tool_calls=(ToolCall("call_1", "search", '{"broken": '),))
    back = Message("tool", tool_returns=(ToolReturn("call_1", "search", "not JSON", is_error=True),))
    _, last = run(client, ask(wire, "[[tool search {} then say noted]]", made, back))
    assert last.message.text == "noted"


def test_reasoning_comes_before_the_answer(wire: Wire, client: Client) -> None:
    events, last = run(client, ask(wire, "[[think first this and then that then say fine]]"))
    kinds = [type(event) for event in events if isinstance(event, (ReasoningDelta, TextDelta))]
    assert kinds[0] is ReasoningDelta
    assert kinds[-1] is TextDelta
    assert [part.text for part in last.message.content if isinstance(part, ReasoningPart)] == [
        "first this and then that"
    ]


def test_usage_adds_up_to_what_the_provider_says(wire: Wire, client: Client) -> None:
    _, last = run(client, ask(wire, "[[usage 9000 12 then say hi]]"))
    assert last.usage.prompt == 9000
    assert last.usage.output == 12
    assert not last.usage.estimated


def test_a_length_stop_is_told(wire: Wire, client: Client) -> None:
    assert run(client, ask(wire, "[[finish length then say cut sho]]"))[1].finish_reason == "length"


def test_a_refusal_is_told_with_its_words(wire: Wire, client: Client) -> None:
    _, last = run(client, ask(wire, "[[refuse]]"))
    assert last.finish_reason == ("stop" if wire.dialect == "google" else "refusal")  # it has no word for it
    assert last.message.text == "I can't help with that."


def test_an_empty_answer_is_an_answer(wire: Wire, client: Client) -> None:
    _, last = run(client, ask(wire, "[[empty]]"))
    assert last.message.text == ""
    assert last.finish_reason == "stop"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("[[error 401]]", AuthenticationFailed),
        ("[[error 429]]", RateLimited),
        ("[[error 500]]", Overloaded),
        ("[[overflow]]", ContextWindowExceeded),
    ],
)
def test_an_error_status_is_raised_as_its_class(wire: Wire, client: Client, script: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        list(client.stream(ask(wire, script)))


@pytest.mark.parametrize("script", ["[[cut 3]]", "[[stream-error 3]]"])
def test_an_answer_that_breaks_off_says_what_there_was_and_what_it_cost(
    wire: Wire, client: Client, script: str
) -> None:
    seen: list[ModelEvent] = []
    with pytest.raises(StreamInterrupted) as caught:
        seen.extend(client.stream(ask(wire, script)))
    said = "".join(event.text for event in seen if isinstance(event, TextDelta))
    assert said == "the cat sat"
    usage = caught.value.usage
    assert usage is not None
    assert usage.estimated
    assert usage.input > 0
    assert usage.output > 0
    assert caught.value.partial is not None
    assert "the cat sat" in json.dumps(caught.value.partial)


def test_the_traced_body_is_the_sent_body(wire: Wire, client: Client) -> None:
    request = ask(wire, "[[say hi]]")
    run(client, request)
    body = json.loads(client.request_body(request))
    assert "[[say hi]]" in json.dumps(body)


def test_models_are_listed_with_their_windows(client: Client) -> None:
    models = client.list_models()
    assert models
    assert all(model.context_window > 0 for model in models)


def test_closing_the_stream_early_leaves_the_client_usable(wire: Wire, client: Client) -> None:
    stream = client.stream(ask(wire, "[[tokens 500]]"))
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    assert run(client, ask(wire, "[[say still here]]"))[1].message.text == "still here"


def test_one_client_serves_many_threads_at_once(wire: Wire, client: Client) -> None:
    def answer(number: int) -> str:
        return run(client, ask(wire, f"[[say this is for number {number}]]"))[1].message.text

    with ThreadPoolExecutor(max_workers=12) as pool:
        answers = list(pool.map(answer, range(48)))
    assert answers == [f"this is for number {number}" for number in range(48)]
