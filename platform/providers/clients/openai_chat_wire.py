"""Messages, tools and settings in the wire form of OpenAI's Chat Completions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from providers.catalog import Preset, effort_of, is_reasoning_model, is_verbose_model
from providers.types import ImagePart, Message, ModelRequest, ReasoningPart, TextPart, ToolCall, ToolSpec

DIALECT = "openai_chat"
_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


def valid_json(arguments: str) -> str:
    """A call's arguments as JSON that any server can parse; what was not JSON is kept as a string."""
    try:
        if isinstance(orjson.loads(arguments), dict):
            return arguments
    except orjson.JSONDecodeError:
        if not arguments.strip():
            return "{}"
    return orjson.dumps({"invalid_json": arguments}).decode()


def data_url(image: ImagePart) -> str:
    return f"data:{image.media_type};base64,{image.data}"


def only_text(message: Message) -> str | None:
    """The text of a message that is nothing but one text, as most are; None for any other."""
    content = message.content
    if len(content) == 1 and type(content[0]) is TextPart:
        return content[0].text
    return None


def _user_content(message: Message) -> str | list[dict[str, Any]]:
    if all(isinstance(part, TextPart) for part in message.content):
        return message.text
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            image = {"url": data_url(part)}
            if part.detail:
                image["detail"] = part.detail
            parts.append({"type": "image_url", "image_url": image})
    return parts


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": valid_json(call.arguments)}
    return {"id": call.id, "type": "function", "function": function}


def _assistant(message: Message, *, reasoning: bool) -> dict[str, Any]:
    text = only_text(message) or message.text
    wire: dict[str, Any] = {"role": "assistant", "content": text or (None if message.tool_calls else "")}
    if reasoning:
        thought = "".join(part.text for part in message.content if isinstance(part, ReasoningPart))
        if thought:
            wire["reasoning_content"] = thought
    if message.tool_calls:
        wire["tool_calls"] = [_call(call) for call in message.tool_calls]
    return wire


def _wire(message: Message, *, reasoning: bool) -> bytes:
    text = only_text(message)
    if text is not None and not message.tool_calls and message.name is None and message.role != "tool":
        return orjson.dumps({"role": message.role, "content": text})
    if message.role == "tool":
        made = [{"role": "tool", "tool_call_id": r.tool_call_id, "content": r.content} for r in message.tool_returns]
        return orjson.dumps(made)[1:-1]
    if message.role == "assistant":
        return orjson.dumps(_assistant(message, reasoning=reasoning))
    wire: dict[str, Any] = {"role": message.role, "content": _user_content(message)}
    if message.name and _NAME.match(message.name):
        wire["name"] = message.name
    return orjson.dumps(wire)


def fragments(messages: tuple[Message, ...], *, reasoning: bool = False) -> list[orjson.Fragment]:
    """The messages, each serialised once in its life. A fragment may hold several wire messages, comma between."""
    key = f"{DIALECT}+reasoning" if reasoning else DIALECT
    made = []
    for message in messages:
        fragment = message.wire.get(key)
        if fragment is None:
            fragment = message.wire[key] = orjson.Fragment(_wire(message, reasoning=reasoning))
        made.append(fragment)
    return made


def tool_wire(tool: ToolSpec, *, strict: bool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if strict and tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def body(request: ModelRequest, preset: Preset, dropped: frozenset[str] = frozenset()) -> bytes:
    """The request. `dropped` names the fields that this server refused for this model."""
    wire: dict[str, Any] = {
        "model": request.model,
        "messages": fragments(request.messages, reasoning=preset.reasoning_back),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        _add_tools(wire, request, preset)
    _add_settings(wire, request, preset, dropped)
    _add_token_details(wire, request, preset)
    for name in dropped:
        wire.pop(name, None)
    return orjson.dumps(wire)


def _add_tools(wire: dict[str, Any], request: ModelRequest, preset: Preset) -> None:
    wire["tools"] = [tool_wire(tool, strict=preset.official_openai or preset.strict_tools) for tool in request.tools]
    choice = request.tool_choice
    if choice in ("required", "none"):
        wire["tool_choice"] = choice
    elif choice != "auto":
        wire["tool_choice"] = {"type": "function", "function": {"name": choice}}
    if preset.parallel_calls == "asked" or (preset.parallel_calls == "known" and not request.parallel_tool_calls):
        wire["parallel_tool_calls"] = request.parallel_tool_calls


def answer_form(form: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """A response format as OpenAI words it: also of a schema that was given bare, without a name around it."""
    schema = (form or {}).get("json_schema")
    if form is None or form.get("type") != "json_schema" or not isinstance(schema, Mapping) or "schema" in schema:
        return form
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _add_thinking(wire: dict[str, Any], request: ModelRequest) -> None:
    """Where thinking is a switch: an effort of `none` means off, a budget means on."""
    switch = request.thinking
    if switch is None and (request.reasoning_effort or request.thinking_budget):
        switch = request.reasoning_effort != "none"
    if switch is not None:
        wire["thinking"] = {"type": "enabled" if switch else "disabled"}
        if request.keep_thinking is not None:
            wire["thinking"]["clear_thinking"] = not request.keep_thinking


def _add_settings(wire: dict[str, Any], request: ModelRequest, preset: Preset, dropped: frozenset[str]) -> None:
    reasons = preset.official_openai and is_reasoning_model(request.model)
    effort = effort_of(request.model, request.reasoning_effort) if reasons else request.reasoning_effort
    if request.max_output_tokens is not None:
        names = ("max_completion_tokens", "max_tokens")
        first, second = names if preset.official_openai else names[::-1]
        wire[second if first in dropped else first] = request.max_output_tokens
    if request.temperature is not None and (not reasons or effort == "none"):
        wire["temperature"] = request.temperature
    if preset.thinking_switch:
        _add_thinking(wire, request)
    elif effort and (reasons or not preset.official_openai):
        wire["reasoning_effort"] = effort
    if request.verbosity and reasons and is_verbose_model(request.model):
        wire["verbosity"] = request.verbosity
    form = answer_form(request.response_format)
    if form and form["type"] != "text":
        wire["response_format"] = {"type": "json_object"} if preset.only_json_object else form
    if request.end_user and not preset.local:
        wire["user"] = request.end_user
    if request.cache_key and preset.official_openai:
        wire["prompt_cache_key"] = request.cache_key


def _add_token_details(wire: dict[str, Any], request: ModelRequest, preset: Preset) -> None:
    """OpenAI's reasoning models tell none."""
    if request.top_logprobs is not None and not (preset.official_openai and is_reasoning_model(request.model)):
        wire["logprobs"] = True
        if request.top_logprobs:
            wire["top_logprobs"] = request.top_logprobs
    if request.token_ids and preset.token_ids:
        wire["return_token_ids"] = True
