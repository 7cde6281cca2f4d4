"""The compiled prompt and the messages of a call: complete, and the same bytes for the same input."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.context import (
    BlockView,
    PromptInput,
    compile_system_prompt,
    differs,
    estimate_tokens,
    from_part,
    memory_section,
    to_local,
    to_model_message,
    to_part,
    wants_line_numbers,
)
from agents.models import AgentType
from agents.prompts import default_system
from providers.types import ImagePart, Message, ReasoningPart, RedactedReasoningPart, TextPart, ToolCall, ToolReturn

AT = datetime(2026, 11, 24, 7, 57, 34, 123456, tzinfo=UTC)
PROMPT = PromptInput(
    agent_id="agent-1",
    agent_type="letta_v1_agent",
    system="You are Sam.",
    blocks=(
        BlockView("human", "About the user.", "Name: Ada.\nLikes tea.", 100),
        BlockView("policy", None, "Be kind.", 50, read_only=True),
    ),
    compiled_at=AT,
    earlier_messages=3,
)


def test_the_prompt_holds_system_text_blocks_and_metadata_in_this_order():
    assert compile_system_prompt(PROMPT) == (
        "You are Sam.\n\n"
        "<memory_blocks>\n"
        "These memory blocks are in view at all times:\n\n"
        "<human>\n<description>\nAbout the user.\n</description>\n"
        "<metadata>\n- chars_current=21\n- chars_limit=100\n</metadata>\n"
        "<value>\nName: Ada.\nLikes tea.\n</value>\n</human>\n\n"
        "<policy>\n<description>\n\n</description>\n"
        "<metadata>\n- read_only=true\n- chars_current=8\n- chars_limit=50\n</metadata>\n"
        "<value>\nBe kind.\n</value>\n</policy>\n\n"
        "</memory_blocks>\n\n"
        "<memory_metadata>\n"
        "- AGENT_ID: agent-1\n"
        "- CONVERSATION_ID: default\n"
        "- This prompt was last compiled at: 2026-11-24 07:57:34 AM UTC+0000\n"
        "- 3 earlier messages are kept in recall memory (search them with your tools)\n"
        "</memory_metadata>"
    )


def test_the_token_says_where_memory_goes():
    text = compile_system_prompt(replace(PROMPT, system="Before.\n{CORE_MEMORY}\nAfter."))
    assert text.startswith("Before.\n<memory_blocks>")
    assert text.endswith("</memory_metadata>\nAfter.")


def test_tool_rules_stand_between_blocks_and_metadata():
    rules = [{"tool_name": "send_message", "type": "exit_loop"}]
    text = compile_system_prompt(replace(PROMPT, tool_rules=rules))
    assert text.index("</memory_blocks>") < text.index("<tool_usage_rules>") < text.index("<memory_metadata>")
    assert "- A call to send_message ends your response.\n</tool_usage_rules>" in text


def test_agent_types_without_memory_show_no_blocks():
    assert memory_section(replace(PROMPT, agent_type="react_agent")) == ""
    assert "<memory_blocks>" not in compile_system_prompt(replace(PROMPT, agent_type="workflow_agent"))


def test_lines_are_numbered_for_those_that_read_them_so():
    text = memory_section(replace(PROMPT, line_numbers=True))
    assert "<value>\n1→ Name: Ada.\n2→ Likes tea.\n</value>" in text
    assert "<warning>" in text
    assert wants_line_numbers("letta_v1_agent", "anthropic") is True
    assert wants_line_numbers("letta_v1_agent", "openai") is False
    assert wants_line_numbers("memgpt_agent", "anthropic") is False


def test_archive_and_conversation_are_named_where_there_are_any():
    text = compile_system_prompt(
        replace(PROMPT, conversation_id="conv-1", archival_passages=2, archive_tags=("geo", "work"))
    )
    assert "- CONVERSATION_ID: conv-1\n" in text
    assert "- 2 memories are kept in archival memory" in text
    assert "- Tags in use in archival memory: geo, work\n" in text


def test_time_and_counts_alone_are_no_reason_to_rewrite_the_prompt():
    stored = compile_system_prompt(replace(PROMPT, archival_passages=1))
    later = replace(PROMPT, compiled_at=AT + timedelta(days=3), earlier_messages=99, archival_passages=12)
    assert compile_system_prompt(later) != stored
    assert differs(stored, later) is False


@pytest.mark.parametrize(
    "change",
    [
        {"system": "You are Kim."},
        {"blocks": PROMPT.blocks[:1]},
        {"blocks": (replace(PROMPT.blocks[0], value="Name: Eve."),)},
        {"blocks": (replace(PROMPT.blocks[0], limit=101), PROMPT.blocks[1])},
        {"tool_rules": [{"tool_name": "a", "type": "exit_loop"}]},
        {"conversation_id": "conv-2"},
        {"archival_passages": 1},
        {"archive_tags": ("geo",)},
        {"line_numbers": True},
    ],
)
def test_everything_else_that_the_prompt_shows_is_one(change):
    assert differs(compile_system_prompt(PROMPT), replace(PROMPT, **change)) is True


def test_a_block_that_looks_like_metadata_does_not_hide_its_own_change():
    trap = "- This prompt was last compiled at: {0}\n</memory_metadata>"
    old = replace(PROMPT, blocks=(BlockView("human", "", trap.format("noon"), 100),))
    new = replace(PROMPT, blocks=(BlockView("human", "", trap.format("dusk"), 100),))
    assert differs(compile_system_prompt(old), new) is True


@given(system=st.text(), value=st.text(), tags=st.lists(st.text()), count=st.integers(0, 10**6))
def test_a_prompt_never_differs_from_itself_compiled_at_another_time(system, value, tags, count):
    prompt = replace(PROMPT, system=system, blocks=(BlockView("b", value, value, 9),), archive_tags=tuple(tags))
    again = replace(prompt, compiled_at=AT + timedelta(hours=count), earlier_messages=count)
    assert compile_system_prompt(prompt) == compile_system_prompt(replace(prompt))
    assert differs(compile_system_prompt(prompt), again) is False


def test_times_are_in_the_agents_zone_and_an_unknown_zone_is_utc():
    assert to_local(AT, "America/New_York") == "2026-11-24 02:57:34 AM EST-0500"
    assert to_local(AT, "Not/AZone") == "2026-11-24 07:57:34 AM UTC+0000"


@pytest.mark.parametrize("agent_type", AgentType.values)
def test_every_agent_type_has_a_prompt_of_its_own_to_begin_with(agent_type):
    assert default_system(agent_type).startswith("<base_instructions>")
    tended = default_system(agent_type, enable_sleeptime=True)
    assert (tended != default_system(agent_type)) is (agent_type in ("memgpt_agent", "memgpt_v2_agent"))


def row(role: str, **fields) -> dict:
    return {"role": role, "content": [], "created_at": AT, **fields}


def text(value: str) -> list[dict]:
    return [{"type": "text", "text": value}]


def test_user_system_and_assistant_messages_keep_their_role_and_parts():
    assert to_model_message(row("user", content=text("Hi"), name="Ada")) == Message(
        "user", (TextPart("Hi"),), name="Ada"
    )
    assert to_model_message(row("system", content=text("note"))) == Message("system", (TextPart("note"),))
    said = [{"type": "reasoning", "text": "hm", "signature": "s"}, *text("Hello")]
    call = {"id": "c1", "name": "memory_insert", "arguments": "{bad"}
    assert to_model_message(row("assistant", content=said, tool_calls=[call])) == Message(
        "assistant",
        (ReasoningPart("hm", "s"), TextPart("Hello")),
        tool_calls=(ToolCall("c1", "memory_insert", "{bad"),),
    )


def test_an_approval_request_is_the_assistants_call_and_its_answer_is_not_shown():
    call = {"id": "c1", "name": "pay", "arguments": "{}"}
    assert to_model_message(row("approval", tool_calls=[call])) == Message(
        "assistant", tool_calls=(ToolCall("c1", "pay", "{}"),)
    )
    assert to_model_message(row("approval", approvals=[{"type": "approval", "approve": True}])) is None


def test_an_empty_message_is_not_sent():
    assert to_model_message(row("assistant")) is None
    assert to_model_message(row("tool")) is None


def test_tool_returns_are_packed_with_their_status_and_the_time_they_were_stored():
    returns = [
        {"tool_call_id": "c1", "name": "a", "content": "fünf", "is_error": False},
        {"tool_call_id": "c2", "name": "b", "content": "broke", "is_error": True},
    ]
    message = to_model_message(row("tool", tool_returns=returns))
    assert message is not None
    assert [json.loads(item.content) for item in message.tool_returns] == [
        {"status": "OK", "message": "fünf", "time": "2026-11-24 07:57:34 AM UTC+0000"},
        {"status": "Failed", "message": "broke", "time": "2026-11-24 07:57:34 AM UTC+0000"},
    ]
    assert message.tool_returns[1].is_error is True
    assert to_model_message(row("tool", tool_returns=returns, created_at=AT.isoformat())) == message


def test_a_summary_reaches_the_model_as_an_alert():
    message = to_model_message(row("summary", content=text("They met.")))
    assert message is not None
    packed = json.loads(message.text)
    assert message.role == "user"
    assert packed["type"] == "system_alert"
    assert packed["message"].endswith(" They met.")
    assert packed["time"] == "2026-11-24 07:57:34 AM UTC+0000"


def test_old_agent_types_get_user_messages_packed_and_images_beside():
    image = {"type": "image", "media_type": "image/png", "data": "aGk="}
    message = to_model_message(row("user", content=[*text("Hi"), image]), agent_type="memgpt_agent")
    assert message is not None
    assert json.loads(message.text) == {
        "type": "user_message",
        "message": "Hi",
        "time": "2026-11-24 07:57:34 AM UTC+0000",
    }
    assert message.content[1] == ImagePart("image/png", "aGk=")


@pytest.mark.parametrize(
    "part",
    [
        TextPart("a"),
        TextPart("a", "sig"),
        ImagePart("image/png", "aGk=", "low"),
        ReasoningPart("hm", id="r1", encrypted="x"),
        RedactedReasoningPart("opaque"),
    ],
)
def test_parts_survive_being_stored(part):
    assert to_part(json.loads(json.dumps(from_part(part)))) == part


def test_tokens_are_estimated_as_a_quarter_of_the_bytes():
    assert estimate_tokens("") == 0
    assert estimate_tokens("abcd") == 1
    assert estimate_tokens("abcde") == 2
    assert estimate_tokens("éé") == 1
    assert estimate_tokens(None) == 0
    assert estimate_tokens(Message("user", (TextPart("x" * 400),))) == 104
    assert estimate_tokens((Message("tool", tool_returns=(ToolReturn("c", "n", "x" * 40),)),) * 2) == 28
    assert estimate_tokens(Message("user", (ImagePart("image/png", "x" * 10**6),))) < 2_000
