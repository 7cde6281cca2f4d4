"""What was said, in one shape to be drawn: from stored messages, and from the JSON that vendors are sent and answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from console.display import pretty

TEXT_TYPES = frozenset({"text", "input_text", "output_text", "summary_text"})
MOST_CHARACTERS = 60_000


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Return:
    call_id: str
    name: str
    content: str
    is_error: bool = False
    extra: str = ""


@dataclass(slots=True)
class Turn:
    """One message. `images` are data URLs alone: nothing is ever loaded from outside."""

    role: str
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    hidden_reasoning: int = 0
    images: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blank(self) -> bool:
        return not (self.texts or self.reasoning or self.hidden_reasoning or self.images or self.calls or self.returns)


def clipped(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n… {len(text) - MOST_CHARACTERS:,} more characters"


def add_parts(turn: Turn, parts: Any) -> Turn:
    """Content as any of the vendors or our own store writes it: text, or a list of typed parts."""
    if isinstance(parts, str):
        parts = [{"type": "text", "text": parts}] if parts else []
    for part in parts if isinstance(parts, list) else []:
        if isinstance(part, Mapping):
            _add_part(turn, part)
        elif isinstance(part, str):
            turn.texts.append(clipped(part))
    return turn


def _add_part(turn: Turn, part: Mapping[str, Any]) -> None:
    kind = str(part.get("type", ""))
    if kind in TEXT_TYPES:
        turn.texts.append(clipped(str(part.get("text", ""))))
    elif kind in ("reasoning", "thinking"):
        _add_reasoning(turn, part)
    elif kind in ("redacted_reasoning", "redacted_thinking"):
        turn.hidden_reasoning += 1
    elif "image" in kind:
        _add_image(turn, part)
    elif kind == "tool_use":
        turn.calls.append(Call(str(part.get("id", "")), str(part.get("name", "")), pretty(part.get("input", {}))))
    elif kind == "tool_result":
        turn.returns.append(_return(part, part.get("tool_use_id"), part.get("content")))
    elif kind:
        turn.left_out.append(kind)
    else:
        _add_untyped(turn, part)


def _add_untyped(turn: Turn, part: Mapping[str, Any]) -> None:
    """A part of Google's or of Bedrock's Converse: its one key tells what it is."""
    thought = _inner(part, "reasoningContent")
    call = _inner(part, "functionCall") or _inner(part, "toolUse")
    returned = _inner(part, "functionResponse") or _inner(part, "toolResult")
    if part.get("thought"):
        _add_reasoning(turn, {"text": part.get("text")})
    elif "text" in part:
        turn.texts.append(clipped(str(part["text"])))
    elif thought:
        _add_reasoning(turn, _inner(thought, "reasoningText"))
    elif call:
        call_id, made = call.get("id") or call.get("toolUseId"), call.get("args", call.get("input", {}))
        turn.calls.append(Call(str(call_id or ""), str(call.get("name", "")), clipped(pretty(made))))
    elif returned:
        said = _inner(returned, "response")
        failed = {**returned, "is_error": "error" in said or returned.get("status") == "error"}
        content = said.get("output", said.get("error", returned.get("content")))
        turn.returns.append(_return(failed, returned.get("id") or returned.get("toolUseId"), content))
    elif image := _inner(part, "inlineData"):
        _add_image(turn, {"source": {"media_type": image.get("mimeType"), "data": image.get("data")}})
    elif image := _inner(part, "image"):
        data = _inner(image, "source").get("bytes")
        _add_image(turn, {"source": {"media_type": f"image/{image.get('format')}", "data": data}})


def _inner(part: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = part.get(name)
    return found if isinstance(found, Mapping) else {}


def _add_reasoning(turn: Turn, part: Mapping[str, Any]) -> None:
    text = part.get("text") or part.get("thinking") or _joined(part.get("summary")) or _joined(part.get("content"))
    if text:
        turn.reasoning.append(clipped(str(text)))
    else:
        turn.hidden_reasoning += 1


def _add_image(turn: Turn, part: Mapping[str, Any]) -> None:
    source = part.get("source") if isinstance(part.get("source"), Mapping) else part
    address = part.get("image_url")
    if isinstance(address, Mapping):
        address = address.get("url")
    if isinstance(source, Mapping) and source.get("data") and source.get("media_type"):
        address = f"data:{source['media_type']};base64,{source['data']}"
    if isinstance(address, str) and address.startswith("data:image/"):
        turn.images.append(address)
    else:
        turn.left_out.append("image by address")


def _joined(parts: Any) -> str:
    if isinstance(parts, str):
        return parts
    if not isinstance(parts, list):
        return ""
    return "\n".join(str(part.get("text", "")) if isinstance(part, Mapping) else str(part) for part in parts)


def _return(part: Mapping[str, Any], call_id: Any, content: Any) -> Return:
    text = content if isinstance(content, str) else _joined(content) or pretty(content)
    name = str(part.get("name") or "")
    return Return(str(call_id or ""), name, clipped(pretty(text)), bool(part.get("is_error")))


def calls_of(items: Any) -> list[Call]:
    """Tool calls as Chat Completions has them, or as our own store does."""
    found = []
    for item in items if isinstance(items, list) else []:
        inner = item.get("function") if isinstance(item.get("function"), Mapping) else item
        arguments = clipped(pretty(inner.get("arguments", "")))
        found.append(Call(str(item.get("id") or ""), str(inner.get("name") or ""), arguments))
    return found


def request_turns(body: Any) -> list[Turn]:
    """The turns of a request: `messages` (Chat Completions, Anthropic, Converse), `input` (Responses), `contents`."""
    if not isinstance(body, Mapping):
        return []
    turns: list[Turn] = []
    lead = body.get("system") or body.get("instructions") or _inner(body, "systemInstruction").get("parts")
    if lead:
        turns.append(add_parts(Turn("system"), lead))
    items = body.get("messages", body.get("input", body.get("contents")))
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    turns += [_turn(item) for item in (items if isinstance(items, list) else []) if isinstance(item, Mapping)]
    return _named([turn for turn in turns if not turn.blank or turn.left_out])


def response_turns(body: Any) -> list[Turn]:
    """The turns of an answer: `choices`, `output`, Google's `candidates`, or Anthropic's `content`."""
    if not isinstance(body, Mapping):
        return []
    if isinstance(body.get("choices"), list):
        items: Iterable[Any] = [choice.get("message") or choice.get("delta") or {} for choice in body["choices"]]
    elif isinstance(body.get("output"), list):
        items = body["output"]
    elif isinstance(body.get("candidates"), list):
        items = [_inner(one, "content") for one in body["candidates"] if isinstance(one, Mapping)]
    elif isinstance(body.get("output"), Mapping):
        items = [_inner(body["output"], "message")]
    else:
        items = [{"role": "assistant", **body}]
    turns = [_turn({"role": "assistant", **item}) for item in items if isinstance(item, Mapping)]
    return [turn for turn in turns if not turn.blank]


def _turn(item: Mapping[str, Any]) -> Turn:
    kind = item.get("type")
    role = str(item.get("role") or "assistant")
    turn = Turn({"developer": "system", "model": "assistant"}.get(role, role))
    if kind == "function_call":
        turn.calls.append(Call(str(item.get("call_id", "")), str(item.get("name", "")), pretty(item.get("arguments"))))
    elif kind == "function_call_output":
        turn.role = "tool"
        turn.returns.append(_return(item, item.get("call_id"), item.get("output")))
    elif kind == "reasoning":
        _add_reasoning(turn, item)
    elif role == "tool":
        turn.returns.append(_return(item, item.get("tool_call_id"), item.get("content")))
    else:
        thought = item.get("reasoning_content") or item.get("reasoning")
        if isinstance(thought, str) and thought:
            turn.reasoning.append(clipped(thought))
        add_parts(turn, item.get("content", item.get("parts")))
        turn.calls += calls_of(item.get("tool_calls"))
    return turn


def _named(turns: list[Turn]) -> list[Turn]:
    """Returns get the name of the tool that they answer for, where the vendor's format leaves it out."""
    names = {call.id: call.name for turn in turns for call in turn.calls}
    for turn in turns:
        turn.returns = [
            Return(r.call_id, r.name or names.get(r.call_id, ""), r.content, r.is_error, r.extra) for r in turn.returns
        ]
        if turn.role == "user" and turn.returns and not turn.texts:
            turn.role = "tool"
    return turns


def parsed(text: str | bytes | None) -> Any:
    """JSON, or None for what is none."""
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
