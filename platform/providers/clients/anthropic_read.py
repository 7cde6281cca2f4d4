"""A Messages stream, event by event, to our events and the whole answer."""

from __future__ import annotations

from typing import Any

import orjson

from providers import usage_extract
from providers.clients.failures import in_band_failure
from providers.clients.reading import parsed
from providers.errors import BadResponse, StreamInterrupted
from providers.events import Finished, ModelEvent, ReasoningDelta, RedactedReasoning, TextDelta, ToolCallDelta
from providers.types import FinishReason, Message, Part, ReasoningPart, RedactedReasoningPart, TextPart, ToolCall
from providers.usage import Usage

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class _Block:
    """One block of the answer as it grows."""

    __slots__ = ("call_index", "pieces", "raw", "signature")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.pieces: list[str] = []
        self.signature = ""
        self.call_index = -1

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class MessagesReader:
    """One answer."""

    unshown = 0

    def __init__(self, sent_bytes: int) -> None:
        self._sent_bytes = sent_bytes
        self._head: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._usage: dict[str, Any] = {}
        self._counted = False
        self._stop: dict[str, Any] = {}
        self.done = False

    def feed(self, data: bytes, secret: str = "") -> list[ModelEvent]:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadResponse("The provider sent an event that is not JSON.") from None
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "content_block_delta":
            return self._delta(self._blocks.get(event["index"]), event["delta"])
        if kind == "content_block_start":
            return self._start(event["index"], event["content_block"])
        if kind == "message_start":
            self._head = event["message"]
            self._usage = dict(self._head.get("usage") or {})
        elif kind == "message_delta":
            self._stop.update(event.get("delta") or {})
            self._count(event.get("usage") or {})
        elif kind == "message_stop":
            self.done = True
        elif kind == "error":
            raise in_band_failure(event, secret)
        elif kind == "message":
            return self._whole(event)
        return []

    def _count(self, usage: dict[str, Any]) -> None:
        """Later counts are cumulative and replace those of the start."""
        self._usage.update({key: value for key, value in usage.items() if value is not None})
        self._counted = True

    def _whole(self, message: dict[str, Any]) -> list[ModelEvent]:
        """An answer that came in one piece, from a server that does not stream."""
        self._head, self._stop, self.done = message, {"stop_reason": message.get("stop_reason")}, True
        self._count(message.get("usage") or {})
        events: list[ModelEvent] = []
        for index, block in enumerate(message.get("content") or ()):
            events += self._start(index, block)
        return events

    def _start(self, index: int, raw: dict[str, Any]) -> list[ModelEvent]:
        block = self._blocks[index] = _Block(raw)
        kind = raw.get("type")
        if kind == "tool_use":
            block.call_index, self._calls = self._calls, self._calls + 1
            given = orjson.dumps(raw["input"]).decode() if raw.get("input") else ""
            if given:
                block.pieces.append(given)
            return [ToolCallDelta(block.call_index, raw["id"], raw["name"], given)]
        if kind == "redacted_thinking":
            return [RedactedReasoning(raw.get("data") or "")]
        if kind == "text" and raw.get("text"):
            block.pieces.append(raw["text"])
            return [TextDelta(raw["text"])]
        if kind == "thinking" and (raw.get("thinking") or raw.get("signature")):
            block.pieces.append(raw.get("thinking") or "")
            block.signature = raw.get("signature") or ""
            return [ReasoningDelta(block.text, block.signature or None)]
        return []

    def _delta(self, block: _Block | None, delta: dict[str, Any]) -> list[ModelEvent]:
        if block is None:
            return []
        kind = delta["type"]
        if kind == "text_delta":
            text = delta["text"]
            block.pieces.append(text)
            return [TextDelta(text)] if text else []
        if kind == "input_json_delta":
            piece = delta["partial_json"]
            block.pieces.append(piece)
            return [ToolCallDelta(block.call_index, block.raw["id"], None, piece)] if piece else []
        if kind == "thinking_delta":
            block.pieces.append(delta["thinking"])
            return [ReasoningDelta(delta["thinking"])]
        if kind == "signature_delta":
            block.signature += delta["signature"]
            return [ReasoningDelta("", delta["signature"])]
        return []

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        if not self._head:
            raise BadResponse("The provider's answer was empty.")
        if not self.done and not self._stop.get("stop_reason"):
            raise StreamInterrupted("The provider's stream ended before its answer did.")
        message = self._message()
        reason = _FINISH.get(self._stop.get("stop_reason") or "end_turn", "stop")
        if reason == "stop" and message.tool_calls:
            reason = "tool_calls"
        return [], Finished(message, reason, self.usage(), self.response())

    def _message(self) -> Message:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        for block in self._blocks.values():
            kind = block.raw.get("type")
            if kind == "text" and block.pieces:
                parts.append(TextPart(block.text))
            elif kind == "thinking" and (block.pieces or block.signature):
                parts.append(ReasoningPart(block.text, signature=block.signature or None))
            elif kind == "redacted_thinking":
                parts.append(RedactedReasoningPart(block.raw.get("data") or ""))
            elif kind == "tool_use":
                calls.append(ToolCall(block.raw["id"], block.raw["name"], block.text or "{}"))
        return Message("assistant", tuple(parts), tuple(calls))

    def usage(self) -> Usage:
        """As the provider counted; what it sent is known from the start, what it said only at the end."""
        if self._counted:
            return usage_extract.from_anthropic(self._usage)
        said = sum(len(block.text.encode()) for block in self._blocks.values())
        counted = usage_extract.from_anthropic(self._usage) if self._usage else None
        return usage_extract.broken_off(counted, self._sent_bytes, said)

    def response(self) -> dict[str, Any]:
        content = []
        for block in self._blocks.values():
            kind = block.raw.get("type")
            if kind == "tool_use":
                content.append({**block.raw, "input": parsed(block.text)})
            elif kind == "thinking":
                content.append({"type": kind, "thinking": block.text, "signature": block.signature})
            elif kind == "text":
                content.append({"type": kind, "text": block.text})
            else:
                content.append(block.raw)
        stop = {"stop_reason": None, "stop_sequence": None, **self._stop}
        return {**self._head, "content": content, **stop, "usage": self._usage}

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        return self.usage(), self.response()
