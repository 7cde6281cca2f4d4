"""A provider without a model: answers by a script in the user's message, or plainly; for tests and demonstrations.

It costs nothing and does the same every time. Without a script it remembers what it is asked to (if it is offered
`memory_insert`) and says so.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from providers.catalog import ModelInfo, describe, preset_of
from providers.clients import openai_chat_wire
from providers.clients.base import Credential
from providers.clients.failures import failure
from providers.clients.script import Stage, filler, find, stage_at
from providers.clients.transport import LastBody
from providers.errors import StreamInterrupted
from providers.events import Finished, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta
from providers.types import FinishReason, Message, ModelRequest, Part, ReasoningPart, TextPart, ToolCall
from providers.usage import Usage
from providers.usage_extract import BYTES_PER_TOKEN, estimate

MODELS = ("demo", "hashing-384")
_PIECE = re.compile(r"\s*\S+|\s+")
_ARGUMENT_PIECE = 16
_NAME_IS = re.compile(r"\bmy name is ([^\s.,;!?]+(?: [A-Z][^\s.,;!?]*)*)", re.IGNORECASE)
_REMEMBER = re.compile(r"\b(?:please )?remember(?: that)?[:,]? (.+)", re.IGNORECASE | re.DOTALL)
_FINISH: dict[str, FinishReason] = {"length": "length", "filter": "content_filter"}
_ERRORS = {
    401: "Incorrect API key provided.",
    429: "Rate limit reached for requests.",
    500: "The server had an error while processing your request.",
    503: "The engine is currently overloaded, please try again later.",
}
_TOO_LONG = "This model's maximum context length is 128000 tokens. Please reduce the length of the messages."


def _since_user(request: ModelRequest) -> tuple[str, int]:
    """(the last user message, tool calls made since)."""
    calls = 0
    for message in reversed(request.messages):
        if message.role == "user":
            return _unpacked(message.text), calls
        calls += len(message.tool_calls)
    return "", calls


def _unpacked(text: str) -> str:
    """What the user wrote, also where an old agent type packs it as JSON."""
    if not text.startswith('{"type": "user_message"'):
        return text
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError):
        return text


def _plain(request: ModelRequest, text: str, calls_made: int) -> Stage:
    """An answer without a script."""
    name, wish = _NAME_IS.search(text), _REMEMBER.search(text)
    fact = f"Name: {name[1]}" if name else (wish[1].strip() if wish else "")
    can_save = any(tool.name == "memory_insert" for tool in request.tools)
    if fact and can_save and not calls_made:
        return Stage(calls=[("memory_insert", json.dumps(_insertion(request, fact), ensure_ascii=False))])
    if fact and can_save:
        return Stage(say=f"Nice to meet you, {name[1]}. I will remember that." if name else "I will remember that.")
    short = " ".join(text.split())
    return Stage(say=f"You said: {short if len(short) <= 200 else short[:197] + '...'}" if short else "I am here.")


def _insertion(request: ModelRequest, fact: str) -> dict[str, Any]:
    schema = next(tool.parameters for tool in request.tools if tool.name == "memory_insert")
    labels = (schema.get("properties") or {}).get("label", {}).get("enum") or ["human"]
    return {"label": "human" if "human" in labels else labels[0], "new_string": fact}


class Scripted:
    """One per credential; the only state is how often a script's error has happened."""

    dialect = "scripted"

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()
        self._last = LastBody()

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, lambda asked: openai_chat_wire.body(asked, preset_of("scripted")))

    def list_models(self) -> list[ModelInfo]:
        return [describe("scripted", name) for name in MODELS]

    def close(self) -> None:
        """There is nothing to close."""

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        body = self.request_body(request)
        text, calls_made = _since_user(request)
        stages = find(text)
        can_call = bool(request.tools) and request.tool_choice != "none"
        stage = stage_at(stages, calls_made, can_call=can_call) if stages else _plain(request, text, calls_made)
        fails = self._fails(stage, text, calls_made)
        if fails and (stage.error or stage.overflow):
            status = stage.error or 400
            raise failure(status, {"error": {"message": _TOO_LONG if stage.overflow else _ERRORS.get(status)}}, {}, "")
        answer = _Answer(stage, body)
        if fails and stage.break_after is not None:
            yield from answer.broken(stage.break_after)
        yield from answer.whole()

    def _fails(self, stage: Stage, text: str, calls_made: int) -> bool:
        if not stage.times:
            return True
        with self._lock:
            self._attempts[(text, calls_made)] += 1
            return self._attempts[(text, calls_made)] <= stage.times


class _Answer:
    """One stage, said."""

    def __init__(self, stage: Stage, body: bytes) -> None:
        self._stage = stage
        self._body = body
        seed = uuid.uuid4().hex
        self._id = f"chatcmpl-{seed}"
        calls = tuple(ToolCall(f"call_{seed[:20]}{n}", name, args) for n, (name, args) in enumerate(stage.calls))
        parts: list[Part] = [ReasoningPart(stage.think)] if stage.think else []
        text = stage.say if stage.say is not None else ("" if calls else "ok")
        if text:
            parts.append(TextPart(text))
        self._message = Message("assistant", tuple(parts), calls)

    def whole(self) -> Iterator[ModelEvent]:
        message = self._message
        for thought in _PIECE.findall(self._stage.think):
            yield ReasoningDelta(thought)
        for piece in _PIECE.findall(message.text):
            yield TextDelta(piece)
        for n, call in enumerate(message.tool_calls):
            yield ToolCallDelta(n, call.id, call.name, "")
            for at in range(0, len(call.arguments), _ARGUMENT_PIECE):
                yield ToolCallDelta(n, call.id, None, call.arguments[at : at + _ARGUMENT_PIECE])
        yield Finished(message, self._finish(), self._usage(), self._response(message.text))

    def broken(self, after: int) -> Iterator[ModelEvent]:
        text = self._message.text if len(self._message.text.split()) > after else filler(after + 5)
        said = "".join(_PIECE.findall(text)[:after])
        for piece in _PIECE.findall(said):
            yield TextDelta(piece)
        error = StreamInterrupted("mock stream error" if self._stage.break_by_error else "The connection broke.")
        error.usage, error.partial = estimate(len(self._body), len(said)), self._response(said)
        raise error

    def _finish(self) -> FinishReason:
        if self._stage.refuse:
            return "refusal"
        return _FINISH.get(self._stage.finish) or ("tool_calls" if self._message.tool_calls else "stop")

    def _usage(self) -> Usage:
        if self._stage.usage:
            return Usage(input=self._stage.usage[0], output=self._stage.usage[1])
        thought = len(self._stage.think.encode())
        calls = sum(len(call.name) + len(call.arguments.encode()) for call in self._message.tool_calls)
        said = len(self._message.text.encode()) + calls
        return Usage(
            input=-(-len(self._body) // BYTES_PER_TOKEN),
            output=-(-(said + thought) // BYTES_PER_TOKEN) + 1,
            reasoning=thought // BYTES_PER_TOKEN,
        )

    def _response(self, text: str) -> dict[str, Any]:
        usage = self._usage()
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if self._message.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self._message.tool_calls
            ]
        counts = {"prompt_tokens": usage.prompt, "completion_tokens": usage.output, "total_tokens": usage.total}
        choice = {"index": 0, "message": message, "finish_reason": self._finish()}
        return {"id": self._id, "object": "chat.completion", "model": "scripted", "choices": [choice], "usage": counts}
