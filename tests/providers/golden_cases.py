"""The requests whose wire form is kept in golden/requests; `python -m tests.providers.golden_cases` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from providers.catalog import preset_of
from providers.clients import (
    anthropic_wire,
    bedrock,
    converse_wire,
    google_wire,
    openai_chat_wire,
    openai_responses_wire,
    vertex,
)
from providers.types import (
    ImagePart,
    Message,
    ModelRequest,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCall,
    ToolReturn,
    ToolSpec,
)

FOLDER = Path(__file__).parent / "golden" / "requests"
PIXEL = "iVBORw0KGgo="
TOOLS = (
    ToolSpec("memory_insert", "Add to memory", {"type": "object", "properties": {"label": {"type": "string"}}}),
    ToolSpec("search", "Look up", {"type": "object", "properties": {}}, strict=True),
)
CLOSED = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "additionalProperties": False}
STRICT = (ToolSpec("search", "Look up", CLOSED, strict=True),)
BARE_SCHEMA = {"type": "json_schema", "json_schema": CLOSED}
SYSTEM = Message("system", (TextPart("You are Ada."),))
HELLO = Message("user", (TextPart("Hello"),))


def history() -> tuple[Message, ...]:
    """A turn with thinking, text beside parallel calls, a failed call, a broken call, and an image."""
    thinking = (
        ReasoningPart("I should look.", signature="sig-1"),
        ReasoningPart("Encrypted.", id="rs_1", encrypted="gAAA"),
        RedactedReasoningPart("opaque"),
        TextPart("Let me see."),
    )
    calls = (ToolCall("call.1", "search", '{"q": "x"}'), ToolCall("call.2", "memory_insert", '{"label": '))
    returns = (
        ToolReturn("call.1", "search", "found"),
        ToolReturn("call.2", "memory_insert", "not JSON", is_error=True),
    )
    return (
        SYSTEM,
        HELLO,
        Message("assistant", thinking, calls),
        Message("tool", tool_returns=returns),
        Message("assistant", (TextPart("Done."),)),
        Message("system", (TextPart("The time is noon."),)),
        Message("user", (TextPart("What is this?"), ImagePart("image/png", PIXEL)), name="ada"),
    )


def signed() -> tuple[Message, ...]:
    """What Gemini itself said: signed calls, whose returns came in two messages, and a signed text."""
    calls = (ToolCall("call.1", "search", '{"q": "x"}', "c2lnLTE="), ToolCall("call.2", "search", "{}"))
    return (
        SYSTEM,
        HELLO,
        Message("assistant", (ReasoningPart("I should look."), TextPart("Let me see.")), calls),
        Message("tool", tool_returns=(ToolReturn("call.1", "search", "found"),)),
        Message("tool", tool_returns=(ToolReturn("call.2", "search", "no", is_error=True),)),
        Message("assistant", (TextPart("Done.", signature="c2lnLTI="),)),
        HELLO,
    )


def request(model: str, messages: tuple[Message, ...] = (SYSTEM, HELLO), **more: Any) -> ModelRequest:
    return ModelRequest(model=model, messages=messages, **more)


def chat(provider_type: str, asked: ModelRequest, *dropped: str) -> bytes:
    return openai_chat_wire.body(asked, preset_of(provider_type), frozenset(dropped))


SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}


def settings_cases() -> dict[str, bytes]:
    """What `model_settings` ask for, in each dialect's words."""
    return {
        "chat_openai_strict_and_verbose": chat(
            "openai", request("gpt-5.1", tools=STRICT, verbosity="low", reasoning_effort="none", temperature=0.5)
        ),
        "chat_sglang_strict": chat("sglang", request("qwen3", tools=STRICT, response_format=BARE_SCHEMA)),
        "chat_groq_strict_is_left_out": chat("groq", request("gpt-oss-120b", tools=STRICT, reasoning_effort="low")),
        "chat_zai_thinking": chat("zai", request("glm-4.6", thinking=True, keep_thinking=True, response_format=SCHEMA)),
        "chat_deepseek_thinking_off": chat("deepseek", request("deepseek-chat", reasoning_effort="none")),
        "responses_verbose": openai_responses_wire.body(
            request("gpt-5", tools=STRICT, verbosity="high", reasoning_effort="xhigh", response_format=BARE_SCHEMA)
        ),
        "anthropic_effort_and_strict": anthropic_wire.body(
            request("claude-opus-4-5", tools=STRICT, reasoning_effort="max", response_format=BARE_SCHEMA)
        ),
        "anthropic_that_knows_no_effort": anthropic_wire.body(
            request("claude-sonnet-4-20250514", tools=STRICT, reasoning_effort="high")
        ),
    }


def converse_cases() -> dict[str, bytes]:
    """Models of several vendors at Bedrock, in AWS's words."""
    full: dict[str, Any] = {"tools": TOOLS, "max_output_tokens": 500, "temperature": 1.5, "end_user": "user-7"}
    llama = request("us.meta.llama3-3-70b-instruct-v1:0", history(), tool_choice="search", **full)
    return {
        "converse_nova_history": converse_wire.body(request("us.amazon.nova-pro-v1:0", history(), **full)),
        "converse_nova_2_thinking_hard": converse_wire.body(
            request("global.amazon.nova-2-lite-v1:0", reasoning_effort="xhigh", **full)
        ),
        "converse_llama_forced": converse_wire.body(llama),
        "converse_llama_refused": converse_wire.body(
            llama, frozenset({converse_wire.TOOL_CHOICE, converse_wire.SYSTEM})
        ),
        "converse_gpt_oss_schema": converse_wire.body(
            request("openai.gpt-oss-120b-1:0", response_format=BARE_SCHEMA, reasoning_effort="minimal", tools=STRICT)
        ),
        "converse_calls_without_tools": converse_wire.body(request("deepseek.v3-v1:0", history())),
        "converse_nothing_but_a_system_prompt": converse_wire.body(
            request("mistral.pixtral-large-2502-v1:0", (SYSTEM,), tools=TOOLS, tool_choice="required")
        ),
    }


def cases() -> dict[str, bytes]:
    full: dict[str, Any] = {"tools": TOOLS, "max_output_tokens": 500, "temperature": 0.5, "end_user": "user-7"}
    return {
        **settings_cases(),
        **converse_cases(),
        "chat_openai_history": chat("openai", request("gpt-4o", history(), cache_key="agent-1", **full)),
        "chat_openai_reasoning": chat("openai", request("gpt-5-mini", reasoning_effort="low", **full)),
        "chat_openai_forced": chat("openai", request("gpt-4o", tools=TOOLS, tool_choice="search")),
        "chat_vllm_history": chat("vllm", request("llama", history(), **full)),
        "chat_vllm_refused": chat(
            "vllm", request("llama", tool_choice="required", **full), "tool_choice", "stream_options", "max_tokens"
        ),
        "chat_vllm_token_details": chat("vllm", request("llama", top_logprobs=2, token_ids=True)),
        "chat_openai_token_details": chat("openai", request("gpt-4o", top_logprobs=0, token_ids=True)),
        "chat_deepseek_reasoning_back": chat("deepseek", request("deepseek-reasoner", history())),
        "chat_schema": chat(
            "openai", request("gpt-4o", response_format=SCHEMA, parallel_tool_calls=False, tools=TOOLS)
        ),
        "bedrock_history": bedrock.body(request("us.anthropic.claude-sonnet-4-5-20250929-v1:0", history(), **full)),
        "bedrock_thinking_between_calls": bedrock.body(
            request("anthropic.claude-sonnet-4-20250514-v1:0", thinking_budget=2000, **full)
        ),
        "vertex_claude": vertex.body(request("claude-opus-4-5@20251101", thinking_budget=2000, **full)),
        "responses_history": openai_responses_wire.body(
            request("gpt-5", history(), reasoning_effort="high", cache_key="agent-1", **full)
        ),
        "responses_plain": openai_responses_wire.body(
            request("gpt-4o", tools=TOOLS, tool_choice="required", temperature=0.5, response_format=SCHEMA)
        ),
        "anthropic_history": anthropic_wire.body(request("claude-sonnet-4-5", history(), **full)),
        "anthropic_thinking": anthropic_wire.body(
            request("claude-sonnet-4-5", thinking_budget=2000, tool_choice="required", **full)
        ),
        "anthropic_adaptive": anthropic_wire.body(
            request("claude-opus-4-8", thinking_budget=2000, reasoning_effort="xhigh", temperature=0.2)
        ),
        "anthropic_forced_one_at_a_time": anthropic_wire.body(
            request("claude-haiku-4-5", tools=TOOLS, tool_choice="search", parallel_tool_calls=False)
        ),
        "anthropic_nothing_but_a_system_prompt": anthropic_wire.body(request("claude-haiku-4-5", (SYSTEM,))),
        "google_history": google_wire.body(request("gemini-2.5-flash", history(), thinking_budget=-1, **full)),
        "google_history_of_another_model": google_wire.body(
            request("gemini-3-flash-preview", history(), reasoning_effort="minimal")
        ),
        "google_signed": google_wire.body(request("gemini-3-pro-preview", signed(), reasoning_effort="medium")),
        "google_forced": google_wire.body(
            request("gemini-2.5-pro", tools=TOOLS, tool_choice="search", reasoning_effort="none")
        ),
        "google_schema": google_wire.body(
            request("gemini-2.0-flash", response_format=SCHEMA, tools=TOOLS, tool_choice="none")
        ),
        "google_hidden_thinking": google_wire.body(
            request("gemini-2.5-flash", tools=TOOLS, tool_choice="required", show_thinking=False, thinking_budget=2000)
        ),
        "google_nothing_but_a_system_prompt": google_wire.body(request("gemini-flash-latest", (SYSTEM,))),
    }


def pretty(body: bytes) -> str:
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode() + "\n"


if __name__ == "__main__":
    for name, body in cases().items():
        (FOLDER / f"{name}.json").write_text(pretty(body))
