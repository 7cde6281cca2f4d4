"""Messages, tools and settings in the wire form of Amazon Bedrock's Converse, which most of its models are asked by.

Sources: AWS's API reference of Converse and ConverseStream; "Prompt caching" (which models take a `cachePoint`, and
where); "Structured output" (`outputConfig`); the user guide of Nova 2 (`reasoningConfig`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import orjson

from providers.clients.anthropic_wire import allowed_id, split_system
from providers.clients.openai_chat_wire import answer_form, valid_json
from providers.types import ImagePart, Message, ModelRequest, TextPart, ToolSpec

DIALECT = "converse"
MOST_IN_ID = 64
CACHE_POINT = {"cachePoint": {"type": "default"}}
GOES_ON = "(The conversation goes on.)"
# What a model may refuse, in our words: see `refused`.
TOOL_CHOICE, SYSTEM, CACHING = "tool choice", "system prompt", "caching"
STREAMING_TOOLS, STREAMING = "streaming with tools", "streaming"
_REFUSALS = (
    (re.compile(r"toolChoice", re.IGNORECASE), TOOL_CHOICE),
    (re.compile(r"doesn.t support system (messages|prompts)", re.IGNORECASE), SYSTEM),
    (re.compile(r"cachePoint|prompt caching", re.IGNORECASE), CACHING),
    (re.compile(r"tool use in streaming mode", re.IGNORECASE), STREAMING_TOOLS),
    (re.compile(r"unsupported for streaming|doesn.t support streaming", re.IGNORECASE), STREAMING),
)
_CACHES = "amazon.nova-"
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

Block = dict[str, Any]


def refused(message: str) -> str | None:
    """What a refusal says that the model cannot do, and that it can be asked without."""
    return next((what for pattern, what in _REFUSALS if pattern.search(message)), None)


def _id(call_id: str) -> str:
    return allowed_id(call_id)[-MOST_IN_ID:]


def _user(message: Message) -> list[Block]:
    if message.role == "system":  # in the midst of a conversation: only the user may speak there
        text = message.text
        return [{"text": f"<system_message>\n{text}\n</system_message>"}] if text else []
    blocks: list[Block] = []
    for part in message.content:
        if isinstance(part, TextPart) and part.text.strip():
            blocks.append({"text": part.text})
        elif isinstance(part, ImagePart):
            kind = part.media_type.rpartition("/")[2]
            image = {"format": "jpeg" if kind == "jpg" else kind, "source": {"bytes": part.data}}
            blocks.append({"image": image})
    return blocks


def _assistant(message: Message) -> list[Block]:
    """Thinking stays behind: Claude alone wants its own back, and is asked in its vendor's words."""
    blocks: list[Block] = [
        {"text": part.text} for part in message.content if isinstance(part, TextPart) and part.text.strip()
    ]
    for call in message.tool_calls:
        arguments = orjson.Fragment(valid_json(call.arguments))
        blocks.append({"toolUse": {"toolUseId": _id(call.id), "name": call.name, "input": arguments}})
    return blocks


def _returns(message: Message) -> list[Block]:
    blocks = []
    for made in message.tool_returns:
        said = made.content if made.content.strip() else "(nothing)"  # a blank text is refused
        result = {"toolUseId": _id(made.tool_call_id), "content": [{"text": said}]}
        blocks.append({"toolResult": {**result, "status": "error"} if made.is_error else result})
    return blocks


def _told(message: Message) -> list[Block]:
    """Calls and returns as text: without tools to offer, a request may hold none."""
    if message.role == "tool":
        return [{"text": f"[{made.name} answered] {made.content}"} for made in message.tool_returns]
    texts = [block for block in _assistant(message) if "text" in block]
    return texts + [{"text": f"[called {call.name}] {call.arguments}"} for call in message.tool_calls]


def _blocks(message: Message, *, with_tools: bool) -> list[Block]:
    if not with_tools and (message.tool_calls or message.role == "tool"):
        return _told(message)
    if message.role == "assistant":
        return _assistant(message)
    return _returns(message) if message.role == "tool" else _user(message)


def _fragment(message: Message, *, with_tools: bool) -> bytes:
    """The blocks of a message, joined by commas; serialised once in its life."""
    key = DIALECT if with_tools else f"{DIALECT}+text"
    made = message.wire.get(key)
    if made is None:
        blocks = _blocks(message, with_tools=with_tools)
        made = message.wire[key] = b",".join(orjson.dumps(block) for block in blocks)
    found: bytes = made
    return found


def turns(messages: Iterable[Message], *, with_tools: bool, caching: bool) -> list[Block]:
    """All messages but the system prompt. The sides take turns, so those of one side in a row are one."""
    wires = [
        (message.role == "assistant", fragment)
        for message in messages
        if (fragment := _fragment(message, with_tools=with_tools))
    ]
    made: list[tuple[str, list[bytes]]] = [
        ("assistant" if is_models else "user", [wire for _, wire in group])
        for is_models, group in groupby(wires, key=lambda pair: pair[0])
    ]
    if not made or made[0][0] == "assistant":
        made.insert(0, ("user", [orjson.dumps({"text": GOES_ON})]))
    if caching and made[-1][0] == "user":
        made[-1][1].append(orjson.dumps(CACHE_POINT))
    return [{"role": role, "content": orjson.Fragment(b"[" + b",".join(wires) + b"]")} for role, wires in made]


def _tool(tool: ToolSpec) -> Block:
    spec: Block = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description.strip():
        spec["description"] = tool.description
    return {"toolSpec": spec}


def _tool_config(request: ModelRequest, without: frozenset[str]) -> Block:
    config: Block = {"tools": [_tool(tool) for tool in request.tools]}
    if request.tool_choice != "auto" and TOOL_CHOICE not in without:
        forced = request.tool_choice != "required"
        config["toolChoice"] = {"tool": {"name": request.tool_choice}} if forced else {"any": {}}
    return config


def body(request: ModelRequest, without: frozenset[str] = frozenset()) -> bytes:
    """The request; model and streaming are in the address. `without`: what this model refused."""
    system, rest = split_system(request.messages)
    if system and SYSTEM in without:
        rest, system = (Message("user", tuple(TextPart(text) for text in system)), *rest), []
    with_tools = bool(request.tools) and request.tool_choice != "none"
    caching = _CACHES in request.model and CACHING not in without
    wire: dict[str, Any] = {"messages": turns(rest, with_tools=with_tools, caching=caching)}
    if system:
        wire["system"] = [{"text": text} for text in system] + ([CACHE_POINT] if caching else [])
    if with_tools:
        wire["toolConfig"] = _tool_config(request, without)
    _add_settings(wire, request)
    return orjson.dumps(wire)


def _add_settings(wire: dict[str, Any], request: ModelRequest) -> None:
    limits: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        limits["maxTokens"] = request.max_output_tokens
    if request.temperature is not None:
        limits["temperature"] = min(request.temperature, 1.0)
    more = _thinking(request)
    if (more.get("reasoningConfig") or {}).get("maxReasoningEffort") == "high":
        limits = {}  # Nova refuses any limit beside its highest effort
    if limits:
        wire["inferenceConfig"] = limits
    if more:
        wire["additionalModelRequestFields"] = more
    schema = (answer_form(request.response_format) or {}).get("json_schema")
    if schema:
        text = orjson.dumps(schema.get("schema") or {}).decode()
        named = {"name": schema.get("name") or "answer", "schema": text}
        wire["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": named}}}


def _thinking(request: ModelRequest) -> Block:
    """In the words of the model: Converse has none of its own. Other models are not told."""
    effort = _EFFORTS.get(request.reasoning_effort or "")
    if effort is None:
        return {}
    if "openai.gpt-" in request.model:
        return {"reasoning_effort": effort}
    if "amazon.nova-2" in request.model:
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    return {}
