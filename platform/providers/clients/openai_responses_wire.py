"""Messages, tools and settings in the wire form of OpenAI's Responses, with nothing stored at the vendor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from providers.catalog import effort_of, is_reasoning_model, is_verbose_model
from providers.clients.openai_chat_wire import answer_form, data_url, valid_json
from providers.types import ImagePart, Message, ModelRequest, ReasoningPart, TextPart

DIALECT = "openai_responses"
MIN_OUTPUT_TOKENS = 16

Item = dict[str, Any]


def _user(message: Message) -> Item:
    if all(isinstance(part, TextPart) for part in message.content):
        return {"role": "user", "content": message.text}
    content: list[Item] = []
    for part in message.content:
        if isinstance(part, TextPart):
            content.append({"type": "input_text", "text": part.text})
        elif isinstance(part, ImagePart):
            content.append({"type": "input_image", "image_url": data_url(part), "detail": part.detail or "auto"})
    return {"role": "user", "content": content}


def _assistant(message: Message) -> list[Item]:
    """Reasoning goes back only encrypted, and only before something that came of it."""
    said: list[Item] = []
    if message.text:
        said.append({"role": "assistant", "content": message.text})
    for call in message.tool_calls:
        arguments = valid_json(call.arguments)
        said.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
    if not said:
        return []
    thought = [
        {
            "type": "reasoning",
            "id": part.id,
            "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
            "encrypted_content": part.encrypted,
        }
        for part in message.content
        if isinstance(part, ReasoningPart) and part.id and part.encrypted
    ]
    return [*thought, *said]


def _items(message: Message) -> list[Item]:
    if message.role == "assistant":
        return _assistant(message)
    if message.role == "tool":
        return [
            {"type": "function_call_output", "call_id": made.tool_call_id, "output": made.content}
            for made in message.tool_returns
        ]
    return [_user(message)] if message.role == "user" else [{"role": "developer", "content": message.text}]


def fragments(messages: tuple[Message, ...]) -> list[orjson.Fragment]:
    """The messages, each serialised once in its life."""
    made = []
    for message in messages:
        wire = message.wire.get(DIALECT)
        if wire is None:
            wire = message.wire[DIALECT] = b",".join(orjson.dumps(item) for item in _items(message))
        if wire:
            made.append(orjson.Fragment(wire))
    return made


def body(request: ModelRequest) -> bytes:
    count = next((n for n, m in enumerate(request.messages) if m.role != "system"), len(request.messages))
    instructions = "\n\n".join(message.text for message in request.messages[:count] if message.text)
    wire: Item = {
        "model": request.model,
        "input": fragments(request.messages[count:]),
        "stream": True,
        "store": False,
    }
    if instructions:
        wire["instructions"] = instructions
    if request.tools:
        _add_tools(wire, request)
    _add_settings(wire, request)
    return orjson.dumps(wire)


def _add_tools(wire: Item, request: ModelRequest) -> None:
    wire["tools"] = [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "strict": tool.strict,
        }
        for tool in request.tools
    ]
    if request.tool_choice in ("required", "none"):
        wire["tool_choice"] = request.tool_choice
    elif request.tool_choice != "auto":
        wire["tool_choice"] = {"type": "function", "name": request.tool_choice}
    if not request.parallel_tool_calls:
        wire["parallel_tool_calls"] = False


def _add_settings(wire: Item, request: ModelRequest) -> None:
    if is_reasoning_model(request.model):
        wire["include"] = ["reasoning.encrypted_content"]
        wire["reasoning"] = {"summary": "auto"}
        if effort := effort_of(request.model, request.reasoning_effort):
            wire["reasoning"]["effort"] = effort
    elif request.temperature is not None:
        wire["temperature"] = request.temperature
    if request.max_output_tokens is not None:
        wire["max_output_tokens"] = max(MIN_OUTPUT_TOKENS, request.max_output_tokens)
    if text := _text(request):
        wire["text"] = text
    if request.end_user:
        wire["safety_identifier"] = request.end_user
    if request.cache_key:
        wire["prompt_cache_key"] = request.cache_key


def _text(request: ModelRequest) -> Item:
    """In which form, and how much, it is to say."""
    form: Mapping[str, Any] = answer_form(request.response_format) or {}
    text: Item = {}
    if form.get("type") == "json_schema":
        text["format"] = {"type": "json_schema", **form.get("json_schema", {})}
    elif form.get("type") == "json_object":
        text["format"] = {"type": "json_object"}
    if request.verbosity and is_verbose_model(request.model):
        text["verbosity"] = request.verbosity
    return text
