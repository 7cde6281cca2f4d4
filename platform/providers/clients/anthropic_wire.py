"""Messages, tools and settings in the wire form of Anthropic's Messages, with its prompt-cache breakpoints.

At most four breakpoints are allowed. They stand after the tools, after the system prompt, after the last message, and
after the message that was last in the call before: so a memory edit costs the messages, never the tools, and each
step of a conversation reads what the step before it wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from providers.catalog import effort_of, max_output_tokens
from providers.clients.openai_chat_wire import answer_form, valid_json
from providers.types import (
    ImagePart,
    Message,
    ModelRequest,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolSpec,
)

DIALECT = "anthropic"
DEFAULT_MAX_TOKENS = 8192
MIN_THINKING = 1024
_MARK = {"type": "ephemeral"}
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")
_ADAPTIVE = re.compile(r"claude-(?:opus-4-[6-9]|sonnet-4-[6-9]|[a-z]+-[5-9])")
_STRICT = re.compile(r"claude-(?:opus-4-[1-9]|(?:sonnet|haiku)-4-[5-9]|[a-z]+-[5-9])")

Block = dict[str, Any]


def allowed_id(call_id: str) -> str:
    """A call's id in the alphabet that is allowed, whichever vendor made it."""
    return _NOT_IN_ID.sub("_", call_id)


def _user_blocks(message: Message) -> list[Block]:
    blocks: list[Block] = []
    for part in message.content:
        if isinstance(part, TextPart) and part.text:
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            blocks.append({"type": "image", "source": source})
    if message.role == "system" and blocks:  # in the midst of a conversation: only the user may speak there
        text = f"<system_message>\n{message.text}\n</system_message>"
        return [{"type": "text", "text": text}]
    return blocks


def _assistant_blocks(message: Message) -> list[Block]:
    blocks: list[Block] = []
    for part in message.content:
        if isinstance(part, TextPart) and part.text.strip():
            blocks.append({"type": "text", "text": part.text})
        elif isinstance(part, ReasoningPart) and part.signature:
            blocks.append({"type": "thinking", "thinking": part.text, "signature": part.signature})
        elif isinstance(part, RedactedReasoningPart) and part.data:
            blocks.append({"type": "redacted_thinking", "data": part.data})
    for call in message.tool_calls:
        arguments = orjson.Fragment(valid_json(call.arguments))
        blocks.append({"type": "tool_use", "id": allowed_id(call.id), "name": call.name, "input": arguments})
    return blocks


def _return_blocks(message: Message) -> list[Block]:
    blocks = []
    for made in message.tool_returns:
        block: Block = {"type": "tool_result", "tool_use_id": allowed_id(made.tool_call_id)}
        if made.content:
            block["content"] = made.content
        if made.is_error:
            block["is_error"] = True
        blocks.append(block)
    return blocks


def _blocks(message: Message) -> list[Block]:
    if message.role == "assistant":
        return _assistant_blocks(message)
    return _return_blocks(message) if message.role == "tool" else _user_blocks(message)


def _turn(message: Message, *, marked: bool) -> bytes:
    """One message on the wire; nothing for one that has nothing to say."""
    blocks = _blocks(message)
    if not blocks:
        return b""
    if marked:
        blocks[-1] = {**blocks[-1], "cache_control": _MARK}
    return orjson.dumps({"role": "assistant" if message.role == "assistant" else "user", "content": blocks})


def _fragment(message: Message) -> bytes:
    """The unmarked form, serialised once in a message's life."""
    made = message.wire.get(DIALECT)
    if made is None:
        made = message.wire[DIALECT] = _turn(message, marked=False)
    found: bytes = made
    return found


def _marks(messages: Sequence[Message]) -> set[int]:
    """Places of the message breakpoints: the last message, and the last of the call before."""
    last = len(messages) - 1
    before = next((n - 1 for n in range(last, 0, -1) if messages[n].role == "assistant"), -1)
    markable = {n for n in (last, before) if n >= 0}
    # a thinking block cannot carry a mark; an assistant message may end with one
    return {n for n in markable if messages[n].role != "assistant"}


def turns(messages: Sequence[Message]) -> list[orjson.Fragment]:
    """All messages but the system prompt. The first must be the user's."""
    marks = _marks(messages)
    made = [_turn(m, marked=True) if n in marks else _fragment(m) for n, m in enumerate(messages)]
    first = next((m for m, wire in zip(messages, made, strict=True) if wire), None)
    wires = [wire for wire in made if wire]
    if first is None or first.role == "assistant":
        wires.insert(0, orjson.dumps({"role": "user", "content": "(The conversation goes on.)"}))
    return [orjson.Fragment(wire) for wire in wires]


def split_system(messages: tuple[Message, ...]) -> tuple[list[str], tuple[Message, ...]]:
    """(texts of the leading system messages, the rest)."""
    count = next((n for n, message in enumerate(messages) if message.role != "system"), len(messages))
    return [message.text for message in messages[:count] if message.text], messages[count:]


def thinks(request: ModelRequest) -> bool:
    """Whether it is to think. In the midst of a turn that began without thinking it is not allowed to."""
    if not request.thinking_budget or request.reasoning_effort == "none":
        return False
    answered = next((message for message in reversed(request.messages) if message.role != "user"), None)
    if answered is None or answered.role != "tool":  # what a user says behind returns does not end the turn
        return True
    calling = next((message for message in reversed(request.messages) if message.role == "assistant"), None)
    thought = calling.content if calling else ()
    return any(isinstance(p, RedactedReasoningPart) or (isinstance(p, ReasoningPart) and p.signature) for p in thought)


def is_adaptive(model: str) -> bool:
    """Whether a model sets its own thinking budget, and takes no temperature."""
    return bool(_ADAPTIVE.search(model))


def body(request: ModelRequest) -> bytes:
    return orjson.dumps(wire(request))


def wire(request: ModelRequest) -> dict[str, Any]:
    """The request, before it is JSON."""
    system, rest = split_system(request.messages)
    made: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_output_tokens or max_output_tokens(request.model) or DEFAULT_MAX_TOKENS,
        "messages": turns(rest),
        "stream": True,
    }
    if system:
        made["system"] = _marked([{"type": "text", "text": text} for text in system])
    if request.tools:
        strict = bool(_STRICT.search(request.model))
        tools = [_tool(tool, strict=strict and tool.strict) for tool in request.tools]
        made["tools"] = _marked(tools)
        _add_choice(made, request)
    _add_settings(made, request)
    return made


def _tool(tool: ToolSpec, *, strict: bool) -> Block:
    made = {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
    return {**made, "strict": True} if strict else made


def _marked(blocks: list[Block]) -> list[Block]:
    blocks[-1] = {**blocks[-1], "cache_control": _MARK}
    return blocks


def _add_choice(wire: dict[str, Any], request: ModelRequest) -> None:
    choice: dict[str, Any] = {"type": "auto"}
    if request.tool_choice == "none":
        choice = {"type": "none"}
    elif thinks(request):  # a call cannot be forced while it thinks
        pass
    elif request.tool_choice == "required":
        choice = {"type": "any"}
    elif request.tool_choice != "auto":
        choice = {"type": "tool", "name": request.tool_choice}
    if not request.parallel_tool_calls and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    if choice != {"type": "auto"}:
        wire["tool_choice"] = choice


def _add_settings(wire: dict[str, Any], request: ModelRequest) -> None:
    output: dict[str, Any] = {}
    if thinks(request):
        _add_thinking(wire, request)
    elif request.temperature is not None and not is_adaptive(request.model):
        wire["temperature"] = min(request.temperature, 1.0)
    effort = None if request.reasoning_effort == "none" else effort_of(request.model, request.reasoning_effort)
    if effort:
        output["effort"] = effort
    schema = (answer_form(request.response_format) or {}).get("json_schema")
    if schema:
        output["format"] = {"type": "json_schema", "schema": schema.get("schema", {})}
    if output:
        wire["output_config"] = output
    if request.end_user:
        wire["metadata"] = {"user_id": request.end_user}


def _add_thinking(wire: dict[str, Any], request: ModelRequest) -> None:
    if is_adaptive(request.model):
        wire["thinking"] = {"type": "adaptive", "display": "summarized"}
        return
    budget = max(MIN_THINKING, request.thinking_budget or 0)
    wire["thinking"] = {"type": "enabled", "budget_tokens": budget}
    if wire["max_tokens"] <= budget:
        wire["max_tokens"] += budget
