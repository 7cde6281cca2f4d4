"""Messages, tools and settings in the wire form of Google's generateContent.

A thought signature goes back on the very part that it came with: a text or a call. Gemini 3 refuses a call of its own
turn without one, so calls that another model made carry the word that Google gives out for such.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import orjson

from providers.clients.anthropic_wire import split_system
from providers.clients.openai_chat_wire import answer_form, valid_json
from providers.types import ImagePart, Message, ModelRequest, TextPart

DIALECT = "google"
UNSIGNED = "skip_thought_signature_validator"
DYNAMIC = -1
LEAST_THINKING = 128  # of models that cannot do without
_GENERATION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_LATEST = re.compile(r"gemini-[a-z-]+-latest")
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
_LEVELS = {
    "none": "minimal",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}

Part = dict[str, Any]


def generation(model: str) -> tuple[int, int]:
    """(2, 5) of `gemini-2.5-pro`; a name that always means the newest is taken as 3; (0, 0) of any other model."""
    found = _GENERATION.match(model)
    if found:
        return int(found[1]), int(found[2] or 0)
    return (3, 0) if _LATEST.match(model) else (0, 0)


def _signed(part: Part, signature: str | None) -> Part:
    return {**part, "thoughtSignature": signature} if signature else part


def _user(message: Message) -> list[Part]:
    if message.role == "system":  # in the midst of a conversation: only the user may speak there
        text = message.text
        return [{"text": f"<system_message>\n{text}\n</system_message>"}] if text else []
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, TextPart) and part.text:
            parts.append({"text": part.text})
        elif isinstance(part, ImagePart):
            parts.append({"inlineData": {"mimeType": part.media_type, "data": part.data}})
    return parts


def _model(message: Message, unsigned: str, *, signed: bool) -> list[Part]:
    """`unsigned` stands for the signature that the first of several calls should have, and has not."""
    parts: list[Part] = [
        _signed({"text": part.text}, part.signature if signed else None)
        for part in message.content
        if isinstance(part, TextPart) and part.text
    ]
    for number, call in enumerate(message.tool_calls):
        arguments = orjson.Fragment(valid_json(call.arguments))
        signature = (call.signature if signed else None) or (unsigned if number == 0 else None)
        parts.append(_signed({"functionCall": {"id": call.id, "name": call.name, "args": arguments}}, signature))
    return parts


def _returns(message: Message) -> list[Part]:
    parts = []
    for made in message.tool_returns:
        response = {"error" if made.is_error else "output": made.content}
        parts.append({"functionResponse": {"id": made.tool_call_id, "name": made.name, "response": response}})
    return parts


def _fragment(message: Message, unsigned: str, *, signed: bool) -> bytes:
    """The parts of a message, joined by commas; serialised once in its life."""
    key = f"{DIALECT}{'+' if unsigned else ''}{'' if signed else '-'}"
    made = message.wire.get(key)
    if made is None:
        if message.role == "assistant":
            parts = _model(message, unsigned, signed=signed)
        else:
            parts = _returns(message) if message.role == "tool" else _user(message)
        made = message.wire[key] = b",".join(orjson.dumps(part) for part in parts)
    found: bytes = made
    return found


def contents(messages: Iterable[Message], model: str, *, signed: bool = True) -> list[Part]:
    """All messages but the system prompt. Those of one side in a row are one: returns must stand together."""
    unsigned = UNSIGNED if generation(model) >= (3, 0) else ""
    wires = [(_side(message), _fragment(message, unsigned, signed=signed)) for message in messages]
    made: list[Part] = []
    for side, group in groupby([pair for pair in wires if pair[1]], key=lambda pair: pair[0]):
        parts = orjson.Fragment(b"[" + b",".join(wire for _, wire in group) + b"]")
        made.append({"role": "model" if side == "assistant" else "user", "parts": parts})
    if not made or made[0]["role"] == "model":
        made.insert(0, {"role": "user", "parts": [{"text": "(The conversation goes on.)"}]})
    return made


def _side(message: Message) -> str:
    return message.role if message.role in ("assistant", "tool") else "user"


def body(request: ModelRequest, *, signed: bool = True) -> bytes:
    """`signed` False: without the signatures of what was said before, which another door to the model may have made."""
    system, rest = split_system(request.messages)
    wire: dict[str, Any] = {"contents": contents(rest, request.model, signed=signed)}
    if system:
        wire["systemInstruction"] = {"parts": [{"text": text} for text in system]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
            for tool in request.tools
        ]
        wire["tools"] = [{"functionDeclarations": declared}]
        _add_choice(wire, request.tool_choice)
    settings = _settings(request)
    if settings:
        wire["generationConfig"] = settings
    return orjson.dumps(wire)


def _add_choice(wire: dict[str, Any], choice: str) -> None:
    """There is no field that forbids parallel calls."""
    if choice == "auto":
        return
    how: dict[str, Any] = {"mode": "NONE" if choice == "none" else "ANY"}
    if choice not in ("none", "required"):
        how["allowedFunctionNames"] = [choice]
    wire["toolConfig"] = {"functionCallingConfig": how}


def _settings(request: ModelRequest) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        made["maxOutputTokens"] = request.max_output_tokens
    if request.temperature is not None:
        made["temperature"] = request.temperature
    form = answer_form(request.response_format) or {}
    if form.get("type") in ("json_schema", "json_object"):
        made["responseMimeType"] = "application/json"
    if form.get("type") == "json_schema":
        made["responseJsonSchema"] = (form.get("json_schema") or {}).get("schema") or {}
    thinking = _thinking(request)
    if thinking:
        made["thinkingConfig"] = thinking
    return made


def _thinking(request: ModelRequest) -> dict[str, Any]:
    """Thoughts are shown wherever there are any. Only models known to think are told how, unless a budget was set."""
    known = generation(request.model) >= (2, 5)
    if request.thinking_budget is None and not known:
        return {}
    if request.thinking_budget is None and request.reasoning_effort and generation(request.model) >= (3, 0):
        return {"includeThoughts": request.show_thinking, "thinkingLevel": _level(request)}
    budget = request.thinking_budget
    if budget is None and request.reasoning_effort:
        budget = _BUDGETS.get(request.reasoning_effort)
    if budget is None:
        return {"includeThoughts": request.show_thinking}
    if budget != DYNAMIC and "pro" in request.model:
        budget = max(LEAST_THINKING, budget)
    return {"includeThoughts": request.show_thinking and budget != 0, "thinkingBudget": budget}


def _level(request: ModelRequest) -> str:
    """The larger models know neither `minimal` nor, the first of them, `medium`."""
    level = _LEVELS.get(request.reasoning_effort or "", "high")
    if "pro" in request.model:
        level = {"minimal": "low", "medium": "high"}.get(level, level)
    return level
