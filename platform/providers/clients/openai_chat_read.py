"""A Chat Completions stream, chunk by chunk, to events and the whole answer, tolerant of what servers make of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import orjson

from providers import usage_extract
from providers.clients.failures import in_band_failure
from providers.clients.salvage import Piece, TextGate, salvaged_calls
from providers.errors import BadResponse, StreamInterrupted
from providers.events import (
    Finished,
    ModelEvent,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolCallDelta,
)
from providers.types import (
    FinishReason,
    Message,
    Part,
    ReasoningPart,
    RedactedReasoningPart,
    TextPart,
    ToolCall,
    ToolSpec,
)
from providers.usage import Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_KEPT = ("id", "created", "model", "service_tier", "system_fingerprint", "provider")


class _Call:
    __slots__ = ("arguments", "id", "name", "said", "server_id")

    def __init__(self, server_id: str) -> None:
        self.server_id = server_id
        self.id = server_id or f"call_{uuid.uuid4().hex[:24]}"
        self.name = ""
        self.arguments: list[str] = []
        self.said = False


class ChatReader:
    """One answer. `feed` takes the data of one event; `finish` says what is left and the whole."""

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        sent_bytes: int,
        *,
        hidden_reasoning: bool,
        gate: TextGate | None,
        unlisted_reasoning: bool = False,
    ) -> None:
        self._tools = tools
        self._sent_bytes = sent_bytes
        self._hidden = hidden_reasoning
        self._unlisted = unlisted_reasoning
        self._gate = gate
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._usage: dict[str, Any] | None = None
        self._reason: str | None = None
        self._logprobs: list[dict[str, Any]] = []
        self._token_ids: list[int] = []
        self._refused = self._salvaged = False
        self._received = 0
        self.done = False

    def feed(self, data: bytes, secret: str = "") -> list[ModelEvent]:
        """The events of one chunk. An error in the stream is raised."""
        if data == b"[DONE]":
            self.done = True
            return []
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadResponse("The provider sent a chunk that is not JSON.") from None
        if not isinstance(chunk, dict):
            return []
        choices = chunk.get("choices")
        if "error" in chunk and chunk["error"] and not choices:
            raise in_band_failure(chunk, secret)
        first = not self._head
        if first:
            self._head = {key: chunk[key] for key in _KEPT if chunk.get(key) is not None} or {"id": ""}
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        if usage:
            self._usage = usage
        events: list[ModelEvent] = [RedactedReasoning("")] if first and self._hidden else []
        if choices:
            self._choice(choices[0], events)
        return events

    def _choice(self, choice: dict[str, Any], events: list[ModelEvent]) -> None:
        if choice.get("finish_reason"):
            self._reason = choice["finish_reason"]
        self._logprobs += (choice.get("logprobs") or {}).get("content") or ()
        self._token_ids += choice.get("token_ids") or ()
        delta = choice.get("delta") or choice.get("message")
        if not delta:
            return
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        if thought and isinstance(thought, str):
            self._received += len(thought.encode())
            self._think(thought, events)
        text = delta.get("content")
        if text:
            self._say(text if isinstance(text, str) else _joined(text), events)
        if delta.get("refusal"):
            self._refused = True
            self._say(delta["refusal"], events)
        if delta.get("tool_calls"):
            for piece in delta["tool_calls"]:
                self._call_piece(piece, events)

    def _think(self, thought: str, events: list[ModelEvent]) -> None:
        self._reasoning.append(thought)
        events.append(ReasoningDelta(thought))

    def _say(self, text: str, events: list[ModelEvent]) -> None:
        self._received += len(text.encode())
        if self._gate is None:
            self._text.append(text)
            events.append(TextDelta(text))
        else:
            self._pieces(self._gate.feed(text), events)

    def _pieces(self, pieces: list[Piece], events: list[ModelEvent]) -> None:
        for kind, text in pieces:
            if kind == "think":
                self._think(text, events)
            else:
                self._text.append(text)
                events.append(TextDelta(text))

    def _call_piece(self, piece: dict[str, Any], events: list[ModelEvent]) -> None:
        function = piece.get("function") or {}
        call = self._call_of(piece.get("index"), piece.get("id") or "", function.get("name") or "")
        if not call.name:
            call.name = function.get("name") or ""
        arguments = function.get("arguments")
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        call.arguments.append(arguments)
        index = self._calls.index(call)
        if call.said:
            if arguments:
                events.append(ToolCallDelta(index, call.id, None, arguments))
        elif call.name:
            call.said = True
            events.append(ToolCallDelta(index, call.id, call.name, "".join(call.arguments)))

    def _call_of(self, index: int | None, server_id: str, name: str) -> _Call:
        """The call that a piece belongs to. Servers leave out the index, the id, or give every call index 0."""
        known = self._by_index.get(index) if index is not None else (self._calls[-1] if self._calls else None)
        if known is not None:
            other_id = bool(server_id) and server_id != known.server_id
            begins = bool(name) and bool(known.name) and (other_id or (index is None and not server_id))
            if not begins:
                if not known.server_id and server_id and not known.said:
                    known.server_id = known.id = server_id
                return known
        call = _Call(server_id)
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        """What was held back, and the whole. A stream that ended without a word is a failure."""
        if not self.done and self._reason is None:
            if not self._head:
                raise BadResponse("The provider's answer was empty.")
            raise StreamInterrupted("The provider's stream ended before its answer did.")
        events: list[ModelEvent] = []
        if self._gate is not None:
            self._release(self._gate, events)
        calls = tuple(ToolCall(call.id, call.name, "".join(call.arguments)) for call in self._calls if call.name)
        message = Message(role="assistant", content=self._parts(), tool_calls=calls)
        reason = self._finish_reason(bool(calls))
        told = (self._logprobs or None, self._token_ids or None)
        return events, Finished(message, reason, self.usage(), self.response(message, reason), *told)

    def _release(self, gate: TextGate, events: list[ModelEvent]) -> None:
        pieces, held = gate.finish()
        self._pieces(pieces, events)
        found = salvaged_calls(held, self._tools) if held and not self._calls else []
        if held and not found:
            self._pieces([("text", held)], events)
        self._salvaged = bool(found)
        for name, arguments in found:
            self._call_piece({"function": {"name": name, "arguments": arguments}}, events)

    def _parts(self) -> tuple[Part, ...]:
        parts: list[Part] = [RedactedReasoningPart("")] if self._hidden else []
        if self._reasoning:
            parts.append(ReasoningPart("".join(self._reasoning)))
        if self._text:
            parts.append(TextPart("".join(self._text)))
        return tuple(parts)

    def _finish_reason(self, called: bool) -> FinishReason:
        if self._refused:
            return "refusal"
        reason = _FINISH.get(self._reason or "stop", "stop")
        if reason in ("stop", "tool_calls"):
            return "tool_calls" if called else "stop"
        return reason

    def usage(self) -> Usage:
        """As the provider counted, or estimated from what went over the wire.

        Some count in every chunk: of an answer that broke off, that is no more than a beginning.
        """
        counted = None
        if self._usage:
            counted = usage_extract.from_chat(self._usage, unlisted_reasoning=self._unlisted)
            if self._reason or self.done:
                return counted
        calls = [] if self._salvaged else self._calls  # found in the text, they are counted with it
        said = self._received + sum(len(call.name) + sum(map(len, call.arguments)) for call in calls)
        return usage_extract.broken_off(counted, self._sent_bytes, said)

    @property
    def unshown(self) -> int:
        return self._received - sum(len(text.encode()) for text in (*self._text, *self._reasoning))

    def response(self, message: Message, reason: str | None) -> dict[str, Any]:
        """The answer as it would have come without streaming."""
        said: dict[str, Any] = {"role": "assistant", "content": message.text or None}
        if self._refused:
            said = {"role": "assistant", "content": None, "refusal": message.text}
        if self._reasoning:
            said["reasoning_content"] = "".join(self._reasoning)
        if message.tool_calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        choice: dict[str, Any] = {"index": 0, "message": said, "finish_reason": self._reason or reason}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        whole = {**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage}
        return {**whole, "salvaged": True} if self._salvaged else whole

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        """(usage, the answer in its non-streamed shape) of an answer that broke off."""
        calls = tuple(ToolCall(call.id, call.name, "".join(call.arguments)) for call in self._calls if call.name)
        return self.usage(), self.response(Message(role="assistant", content=self._parts(), tool_calls=calls), None)


def _joined(parts: Any) -> str:
    """Text of a content that came as a list of parts."""
    if not isinstance(parts, list):
        return str(parts)
    return "".join(part.get("text") or "" for part in parts if isinstance(part, dict))
