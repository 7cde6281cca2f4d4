"""Constrained tool mode, against a small server that answers schemas: who is asked what, and what is never saved."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.clients import constrained_guard as guard
from providers.clients.base import Credential, client_for
from providers.clients.constrained import is_tiny
from providers.clients.constrained_prompts import flattened, memory_blocks
from providers.events import Finished, ModelEvent, TextDelta, ToolCallDelta
from providers.types import ImagePart, Message, ModelRequest, TextPart, ToolCall, ToolReturn, ToolSpec
from tests.providers.fake_server import FakeServer, Reply

STRING = {"type": "string"}
INSERT = ToolSpec(
    "memory_insert",
    "Add a line. Long text follows.",
    {"type": "object", "properties": {"label": STRING, "new_string": STRING}, "required": ["label", "new_string"]},
)
REPLACE = ToolSpec(
    "memory_replace",
    "Replace a line.",
    {"type": "object", "properties": {"label": STRING, "old_string": STRING, "new_string": STRING}},
)
SEARCH = ToolSpec("conversation_search", "Search.", {"type": "object", "properties": {"query": STRING}})
WEATHER = ToolSpec("weather", "Tell the weather of a city.", {"type": "object", "properties": {"city": STRING}})
MEMORY = (INSERT, REPLACE, SEARCH)
PROMPT = """You are Sam.
<memory_blocks>
<persona>
<description>
Who you are
</description>
<value>
I like short answers.
</value>
</persona>

<human>
<description>
What you know
</description>
<value>
The user likes tea.
The user lives in Oslo.
</value>
</human>
</memory_blocks>"""


class SmallModel:
    """Answers each schema with what the test says, and words otherwise; keeps the order of what it was asked."""

    def __init__(self, server: FakeServer, **answers: Any) -> None:
        self.steps: list[str] = []
        self.answers = answers
        server.decide = self._decide
        self.server = server

    def _decide(self, path: str, body: Any) -> Reply:
        wanted = (body.get("response_format") or {}).get("json_schema", {}).get("name", "reply")
        self.steps.append(wanted)
        answer = self.answers.get(wanted, "Certainly.")
        text = answer if isinstance(answer, str) else json.dumps(answer)
        pieces = [text[:5], text[5:]]
        chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in pieces if piece]
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
        raw = b"".join(b"data: " + json.dumps({"model": "m", **chunk}).encode() + b"\n\n" for chunk in chunks)
        return Reply(stream=raw + b"data: [DONE]\n\n")


def user_prompt() -> Message:
    return Message("system", (TextPart(PROMPT),))


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def ask(
    server: FakeServer, *said: Message | str, tools: tuple[ToolSpec, ...] = MEMORY, model: str = "small-7b", **more: Any
) -> tuple[list[ModelEvent], Finished]:
    messages = (user_prompt(), *(user(m) if isinstance(m, str) else m for m in said))
    client = client_for(Credential(provider_type="llamacpp", base_url=server.url), tool_mode="constrained")
    events = list(client.stream(ModelRequest(model=model, messages=messages, tools=tools, **more)))
    assert isinstance(events[-1], Finished)
    return events[:-1], events[-1]


def call_of(finished: Finished) -> tuple[str, Any] | None:
    calls = finished.message.tool_calls
    return (calls[0].name, json.loads(calls[0].arguments)) if calls else None


def test_a_wish_to_remember_is_saved_in_the_third_person(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, fact={"fact": "The user's name is Ada."})
    events, finished = ask(fake_server, "My name is Ada, please remember it.")
    assert call_of(finished) == ("memory_insert", {"label": "human", "new_string": "The user's name is Ada."})
    assert finished.finish_reason == "tool_calls"
    assert model.steps == ["fact"]
    call = finished.message.tool_calls[0]
    assert events == [ToolCallDelta(0, call.id, "memory_insert", call.arguments)]


def test_what_the_model_makes_up_is_not_saved_but_the_users_own_words(fake_server: FakeServer) -> None:
    SmallModel(fake_server, fact={"fact": "The user's birthday is May 5."})
    _, finished = ask(fake_server, "Hello! Remember that my birthday is in June.")
    assert call_of(finished) == ("memory_insert", {"label": "human", "new_string": "my birthday is in June."})


def test_a_fact_that_is_cut_off_falls_back_to_the_users_own_words(fake_server: FakeServer) -> None:
    SmallModel(fake_server, fact='{"fact": "The user')
    _, finished = ask(fake_server, "I live in Lyon.")
    assert call_of(finished) == ("memory_insert", {"label": "human", "new_string": "I live in Lyon."})


@pytest.mark.parametrize("text", ["What is my name?", "Hello!", "Tell me a joke.", "Do I like tea?", "thanks a lot"])
def test_a_question_and_small_talk_never_save_and_cost_one_call(fake_server: FakeServer, text: str) -> None:
    model = SmallModel(fake_server, action={"action": "memory_insert"}, fact={"fact": "The user's name is Peter."})
    events, finished = ask(fake_server, text)
    assert call_of(finished) is None
    assert model.steps == ["reply"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Certa", "inly."]


@pytest.mark.parametrize(("action", "steps"), [("reply", ["action", "reply"]), ("memory_insert", ["action", "fact"])])
def test_where_it_is_not_plain_the_model_chooses(fake_server: FakeServer, action: str, steps: list[str]) -> None:
    model = SmallModel(fake_server, action={"action": action}, fact={"fact": "The user came back from Rome."})
    _, finished = ask(fake_server, "I just came back from Rome.")
    assert model.steps == steps
    assert (call_of(finished) is not None) == (action == "memory_insert")
    offered = fake_server.sent[0]["response_format"]["json_schema"]["schema"]["properties"]["action"]["enum"]
    assert offered == ["reply", "memory_insert"]


def test_a_change_may_replace_only_a_line_about_the_same_thing(fake_server: FakeServer) -> None:
    model = SmallModel(
        fake_server, action={"action": "memory_replace"}, fact={"fact": "The user now likes coffee, no longer tea."}
    )
    _, finished = ask(fake_server, "I no longer like tea, I like coffee now.")
    assert call_of(finished) == (
        "memory_replace",
        {
            "label": "human",
            "old_string": "The user likes tea.",
            "new_string": "The user now likes coffee, no longer tea.",
        },
    )
    assert model.steps == ["action", "fact"]


def test_a_change_of_something_unknown_is_added(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, fact={"fact": "The user works as a nurse now."})
    _, finished = ask(fake_server, "I work as a nurse now.")
    assert call_of(finished) == ("memory_insert", {"label": "human", "new_string": "The user works as a nurse now."})
    assert model.steps == ["fact"]


def saved(fact: str, *, failed: bool = False) -> tuple[Message, Message]:
    call = ToolCall("call_1", "memory_insert", json.dumps({"label": "human", "new_string": fact}))
    return Message("assistant", tool_calls=(call,)), Message(
        "tool", tool_returns=(ToolReturn("call_1", "memory_insert", "done", is_error=failed),)
    )


def test_after_a_save_the_reply_is_streamed_and_knows_of_it(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server)
    _, finished = ask(fake_server, "My name is Ada.", *saved("The user's name is Ada."))
    assert finished.message.text == "Certainly."
    assert model.steps == ["reply"]
    asked = fake_server.sent[0]
    assert "tools" not in asked
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert "The user's name is Ada." in asked["messages"][-1]["content"]


def test_the_smallest_models_confirm_a_save_in_fixed_words(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server)
    events, finished = ask(fake_server, "My name is Ada.", *saved("The user's name is Ada."), model="smollm2-135m")
    assert finished.message.text == "I will remember this: The user's name is Ada."
    assert events == [TextDelta(finished.message.text)]
    assert model.steps == []
    assert finished.usage.total == 0


def test_what_stands_in_memory_already_is_not_saved_again(fake_server: FakeServer) -> None:
    line = next(line for lines in memory_blocks((user_prompt(),)).values() for line in lines)
    model = SmallModel(fake_server, fact={"fact": line})
    _, finished = ask(fake_server, f"Please remember: {line}")
    assert call_of(finished) is None
    assert model.steps[-1] == "reply"


def test_a_failed_save_is_not_repeated_in_the_same_words(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, fact={"fact": "The user's name is Ada."})
    _, finished = ask(fake_server, "My name is Ada.", *saved("The user's name is Ada.", failed=True))
    assert call_of(finished) is None
    assert model.steps == ["fact", "reply"]
    assert "failed: done" in fake_server.sent[-1]["messages"][-1]["content"]


def test_another_tool_gets_its_arguments_under_its_own_schema(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, action={"action": "weather"}, arguments={"city": "Lyon"})
    _, finished = ask(fake_server, "How warm is it in Lyon?", tools=(WEATHER,))
    assert call_of(finished) == ("weather", {"city": "Lyon"})
    assert model.steps == ["action", "arguments"]
    assert fake_server.sent[1]["response_format"]["json_schema"]["schema"] == WEATHER.parameters
    assert finished.usage.total == 24
    assert [made["step"] for made in finished.response["constrained_calls"]] == ["action", "arguments"]


def test_a_search_is_offered_only_where_somebody_looks_back(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, action={"action": "conversation_search"}, arguments={"query": "dog"})
    assert call_of(ask(fake_server, "What is a dog?", tools=(SEARCH,))[1]) is None
    found = call_of(ask(fake_server, "What did we say about dogs yesterday?", tools=(SEARCH,))[1])
    assert found == ("conversation_search", {"query": "dog"})
    assert model.steps == ["reply", "action", "arguments"]


def test_a_forced_tool_is_called_without_asking_and_required_leaves_no_reply(fake_server: FakeServer) -> None:
    model = SmallModel(fake_server, action={"action": "weather"}, arguments={"city": "Rome"})
    assert call_of(ask(fake_server, "Hi", tools=(WEATHER,), tool_choice="weather")[1]) == ("weather", {"city": "Rome"})
    ask(fake_server, "Hi", tools=(WEATHER,), tool_choice="required")
    enum = fake_server.sent[1]["response_format"]["json_schema"]["schema"]["properties"]["action"]["enum"]
    assert enum == ["weather"]
    assert call_of(ask(fake_server, "Hi", tools=(WEATHER,), tool_choice="none")[1]) is None
    assert model.steps == ["arguments", "action", "arguments", "reply"]


def test_any_template_takes_the_flattened_conversation() -> None:
    messages = (
        Message("system", (TextPart("Be kind."),)),
        user("Hi"),
        *saved("x"),
        Message("assistant", (TextPart("Saved."),)),
        user("And the weather?"),
        Message("assistant", tool_calls=(ToolCall("call_2", "weather", "{}"),)),
        Message("tool", tool_returns=(ToolReturn("call_2", "weather", "warm"),)),
        Message("system", (TextPart("It is noon."),)),
        Message("user", (TextPart("Look"), ImagePart("image/png", "AAAA"))),
    )
    made = flattened(messages, "[Answer.]")
    assert [message.role for message in made] == ["system", "user", "assistant", "user"]
    assert made[0].text == "Be kind.\n\nIt is noon."
    assert made[-1].text.endswith("[Answer.]")
    assert "weather returned: warm" in made[-1].text
    assert any(isinstance(part, ImagePart) for part in made[-1].content)


def test_memory_is_read_by_block() -> None:
    blocks = memory_blocks((Message("system", (TextPart(PROMPT),)),))
    assert blocks == {
        "persona": ["I like short answers."],
        "human": ["The user likes tea.", "The user lives in Oslo."],
    }


# ---- the guard


@pytest.mark.parametrize(
    ("text", "leans"),
    [
        ("My name is Ada, remember it.", "always"),
        ("Can you remember that I like tea?", "always"),
        ("I love green tea. What is my name?", "always"),
        ("My sister's birthday is May 5.", "always"),
        ("What is my name?", "never"),
        ("Do you remember my name?", "never"),
        ("Please write a poem about my cat.", "never"),
        ("Hello there!", "never"),
        ("ok", "never"),
        ("", "never"),
        ("I think it is fine.", "perhaps"),
    ],
)
def test_what_may_be_saved_is_told_by_how_it_is_said(text: str, leans: str) -> None:
    assert guard.leaning(text) == leans


@pytest.mark.parametrize(
    ("fact", "said", "faithful"),
    [
        ("The user's name is Ada.", "My name is Ada", True),
        ("The user drives a Tesla.", "I drive a Tesla", True),
        ("The user is working as a nurse.", "I work as a nurse", True),
        ("The user's name is Peter.", "What is my name?", False),
        ("The user's birthday is May 5.", "my birthday is in June", False),
        ("The user is 31.", "I am 30", False),
        ("The user.", "I am 30", False),
    ],
)
def test_a_fact_is_held_against_what_was_said(fact: str, said: str, faithful: bool) -> None:
    assert guard.is_faithful(fact, said) is faithful


@given(st.text(alphabet="abc ABC.,!?'\nmyisremember", max_size=120))
def test_the_users_own_words_are_always_faithful_to_themselves(said: str) -> None:
    kept = guard.verbatim(said)
    assert all(word in guard.words(said) for word in guard.words(kept))


@pytest.mark.parametrize(
    ("model", "tiny"),
    [
        ("smollm2-135m", True),
        ("qwen2.5-coder-0.5b", True),
        ("qwen2.5-coder-1.5b", True),
        ("llama-3.1-8b", False),
        ("gpt", False),
    ],
)
def test_the_smallest_models_are_known_by_their_names(model: str, tiny: bool) -> None:
    assert is_tiny(model) is tiny
