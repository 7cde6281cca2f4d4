"""Compaction: what is cut away, what the model is asked, and that no call ever loses its return."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import compaction
from agents.compaction import Settings, Stored, finish_summary, plan, stored, summary_call, transcript
from agents.prompts import text
from providers.types import ImagePart, Message, TextPart, ToolCall, ToolReturn, ToolSpec

SYSTEM = Stored("system", 100)
TURN = (Stored("user", 10), Stored("assistant", 10))
TOOL_TURN = (
    Stored("user", 10),
    Stored("assistant", 10, calls=("c1",)),
    Stored("tool", 10, returns=("c1",)),
    Stored("assistant", 10),
)


def said(role: str, value: str) -> Message:
    return Message(role, (TextPart(value),))  # type: ignore[arg-type]


def test_the_contracts_defaults_hold_unless_agent_or_call_says_otherwise():
    assert Settings.parse(None) == Settings(
        mode="sliding_window",
        model=None,
        prompt=None,
        prompt_acknowledgement=False,
        clip_chars=50_000,
        sliding_window_percentage=0.3,
    )
    of_agent = {"mode": "all", "model": "openai/small", "clip_chars": None, "prompt": None}
    merged = Settings.parse(of_agent, {"mode": "self_compact_all"})
    assert (merged.mode, merged.model, merged.clip_chars) == ("self_compact_all", "openai/small", None)


def test_a_context_is_full_above_nine_tenths_of_its_window():
    assert compaction.is_full(900, 1_000) is False
    assert compaction.is_full(901, 1_000) is True


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("self_compact_all", ("self_compact_all", "self_compact_sliding_window", "all")),
        ("self_compact_sliding_window", ("self_compact_sliding_window", "all")),
        ("sliding_window", ("sliding_window", "all")),
        ("all", ("all",)),
    ],
)
def test_each_mode_gives_way_to_a_stronger_one(mode, expected):
    assert compaction.fallbacks(mode) == expected


def test_the_summarizer_is_the_given_model_or_the_providers_small_one_and_the_agents_own_at_last():
    def ask(settings: Settings, provider_type: str) -> tuple[str, ...]:
        return compaction.summarizers(settings, "mine/big", provider_type)

    assert ask(Settings(), "anthropic") == ("mine/claude-haiku-4-5", "mine/big")
    assert ask(Settings(), "openai") == ("mine/gpt-5-mini", "mine/big")
    assert ask(Settings(), "ollama") == ("mine/big",)
    assert ask(Settings(model="x/y"), "openai") == ("x/y", "mine/big")


def test_the_window_slides_by_its_share_to_the_next_answer():
    messages = [SYSTEM, *TURN * 10]
    cut = plan(Settings(), "sliding_window", messages, 100_000)
    assert cut is not None
    assert cut.index == 8
    assert messages[cut.index].role == "assistant"
    assert cut.tokens_before == 300
    assert cut.tokens_after == 100 + 13 * 10 + 1_000


def test_the_share_grows_until_the_rest_fits_its_goal():
    messages = [SYSTEM, *TURN * 50]
    cut = plan(Settings(), "sliding_window", messages, 1_000)
    assert cut is not None
    assert cut.tokens_after <= 700
    assert cut.index == 52
    assert plan(Settings(), "sliding_window", messages, 1_000, fixed_tokens=500) is None


def test_a_cut_never_falls_between_a_call_and_its_return():
    messages = [SYSTEM, *TOOL_TURN[:1], Stored("assistant", 10, calls=("a", "b"))]
    messages += [Stored("assistant", 10), Stored("tool", 10, returns=("a",)), Stored("tool", 10, returns=("b",))]
    messages += TURN * 2
    cut = plan(Settings(sliding_window_percentage=0.1), "sliding_window", messages, 100_000)
    assert cut is not None
    assert cut.index == 7


def test_all_keeps_nothing_but_a_call_that_still_waits_for_its_return():
    messages = [SYSTEM, *TURN * 3]
    cut = plan(Settings(), "all", messages, 10_000)
    assert cut is not None
    assert cut.index == len(messages)
    pending = [*messages, Stored("user", 10), Stored("approval", 10, calls=("p",))]
    cut = plan(Settings(), "all", pending, 10_000)
    assert cut is not None
    assert pending[cut.index].role == "approval"
    answered = [*pending, Stored("approval", 1), Stored("tool", 1, returns=("p",))]
    cut = plan(Settings(), "all", answered, 10_000)
    assert cut is not None
    assert cut.index == len(answered)


@pytest.mark.parametrize("mode", ["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"])
@pytest.mark.parametrize("rest", [[], [Stored("user", 10)], [Stored("summary", 10)]])
def test_what_cannot_become_shorter_is_not_cut(mode, rest):
    assert plan(Settings(), mode, [SYSTEM, *rest], 10_000) is None


@st.composite
def conversations(draw) -> list[Stored]:
    messages, number = [SYSTEM], 0
    for _ in range(draw(st.integers(0, 12))):
        messages.append(Stored("user", draw(st.integers(1, 400))))
        for _ in range(draw(st.integers(0, 3))):
            ids = tuple(f"c{number + n}" for n in range(draw(st.integers(1, 3))))
            number += len(ids)
            role = draw(st.sampled_from(["assistant", "approval"]))
            messages.append(Stored(role, draw(st.integers(1, 400)), calls=ids))
            if role == "approval":
                messages.append(Stored("approval", 1))
            messages.append(Stored("tool", draw(st.integers(1, 4_000)), returns=ids))
        messages.append(Stored("assistant", draw(st.integers(1, 400))))
    if draw(st.booleans()):
        messages.append(Stored("approval", 5, calls=("pending",)))
    return messages


@given(
    messages=conversations(),
    mode=st.sampled_from(["all", "sliding_window", "self_compact_all", "self_compact_sliding_window"]),
    share=st.floats(0.05, 0.95),
    window=st.integers(500, 50_000),
)
def test_every_cut_makes_the_context_shorter_and_keeps_calls_with_their_returns(messages, mode, share, window):
    settings = Settings(sliding_window_percentage=share)
    cut = plan(settings, mode, messages, window)
    if cut is None:
        return
    gone, kept = messages[1 : cut.index], messages[cut.index :]
    assert 2 + len(kept) < len(messages)
    called = {call for message in gone for call in message.calls}
    assert not called & {call for message in kept for call in message.returns}
    assert "pending" not in called
    if kept:
        assert kept[0].role in ("assistant", "approval")
    if "sliding" in mode:
        assert kept
        assert cut.tokens_after <= (1 - share) * window


@given(messages=conversations())
def test_a_conversation_with_anything_in_it_can_always_be_compacted_as_a_whole(messages):
    cut = plan(Settings(), "all", messages, 10_000)
    turns = len(messages) - (messages[-1].calls == ("pending",))
    assert (cut is not None) == (turns > 2)


def test_a_stored_row_tells_its_calls_and_returns():
    row = {
        "role": "tool",
        "tool_calls": [],
        "tool_returns": [{"tool_call_id": "a", "content": "x"}, {"tool_call_id": "b", "content": "y"}],
    }
    assert stored(row, 7) == Stored("tool", 7, (), ("a", "b"))
    assert stored({"role": "assistant", "tool_calls": [{"id": "c"}]}, 1).calls == ("c",)


CHAT = (
    said("system", "You are Sam."),
    said("user", "My name is Ada."),
    Message("assistant", (TextPart("Noted."),), tool_calls=(ToolCall("c1", "memory_insert", '{"label": "human"}'),)),
    Message("tool", tool_returns=(ToolReturn("c1", "memory_insert", "OK"),)),
)
TOOLS = (ToolSpec("memory_insert", "Insert.", {"type": "object"}),)


@pytest.mark.parametrize("mode", ["self_compact_all", "self_compact_sliding_window"])
def test_the_agents_own_model_gets_the_same_prefix_and_one_request_behind_it(mode):
    call = summary_call(Settings(mode=mode), mode, CHAT, TOOLS, 10_000)
    assert call.messages[:-1] == CHAT
    assert call.tools == TOOLS
    assert call.messages[-1].role == "user"
    assert call.messages[-1].text.startswith(text(f"summary_{mode}"))


@pytest.mark.parametrize("mode", ["all", "sliding_window"])
def test_another_model_gets_instructions_and_a_transcript_without_the_system_prompt(mode):
    call = summary_call(Settings(mode=mode), mode, CHAT, TOOLS, 10_000)
    instructions, wrapped = call.messages
    assert (instructions.role, instructions.text) == ("system", text(f"summary_{mode}"))
    assert "You are Sam." not in wrapped.text
    assert "user: My name is Ada.\n\nassistant: Noted.\nassistant calls memory_insert(" in wrapped.text
    assert "memory_insert returns: OK" in wrapped.text
    assert call.tools == ()


def test_an_own_prompt_and_an_acknowledgement_are_used_where_asked_for():
    settings = Settings(prompt="Be brief.", prompt_acknowledgement=True)
    call = summary_call(settings, "sliding_window", CHAT, TOOLS, 10_000)
    assert [message.role for message in call.messages] == ["user", "assistant", "user"]
    assert call.messages[0].text == "Be brief."


def test_a_long_transcript_loses_tool_output_first_and_then_its_middle():
    long_return = Message("tool", tool_returns=(ToolReturn("c1", "grep", "x" * 50_000),))
    messages = (said("user", "first"), long_return, said("user", "last"))
    shortened = transcript(messages, 10_000)
    assert len(shortened) <= 10_000
    assert "user: first" in shortened
    assert shortened.endswith("user: last")
    assert "characters left out" in shortened
    talk = tuple(said("user", f"line {n} " + "y" * 100) for n in range(500))
    clipped = transcript(talk, 5_000)
    assert len(clipped) <= 5_000
    assert "line 0 " in clipped
    assert "line 499 " in clipped


@given(value=st.text(min_size=1), limit=st.integers(1, 500))
def test_a_transcript_never_exceeds_its_limit(value, limit):
    assert len(transcript((said("user", value * 50),), limit)) <= limit


def test_an_image_is_named_in_a_transcript():
    picture = Message("user", (TextPart("look"), ImagePart("image/png", "aGk=")))
    assert transcript((picture,), 1_000) == "user: look [image]"


def test_a_summary_is_kept_within_its_limit():
    assert finish_summary(Settings(), "  They met. \n") == "They met."
    assert len(finish_summary(Settings(clip_chars=100), "x" * 5_000)) <= 100
    assert len(finish_summary(Settings(clip_chars=None), "x" * 90_000)) == 90_000


def test_stats_are_the_contracts():
    cut = plan(Settings(), "all", [SYSTEM, *TURN * 3], 10_000)
    assert cut is not None
    assert compaction.stats("manual", cut, 150, 10_000, (7, 2)) == {
        "trigger": "manual",
        "context_tokens_before": 160,
        "context_tokens_after": 150,
        "context_window": 10_000,
        "messages_count_before": 7,
        "messages_count_after": 2,
    }
