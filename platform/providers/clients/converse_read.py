"""A ConverseStream, event by event, or a whole Converse answer, to our events and the answer in its whole shape."""

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
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_KEPT = ("metrics", "serviceTier", "performanceConfig", "trace")


class _Block:
    """One block of the answer as it grows. `kind`: text, thinking, hidden, call."""

    __slots__ = ("call_id", "call_index", "kind", "name", "pieces", "signature")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pieces: list[str] = []
        self.signature = ""
        self.call_id = self.name = ""
        self.call_index = -1

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ConverseReader:
    """One answer."""

    unshown = 0

    def __init__(self, sent_bytes: int) -> None:
        self._sent_bytes = sent_bytes
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._began = False
        self._stop: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._about: dict[str, Any] = {}
        self.done = False

    def feed(self, data: bytes, secret: str = "") -> list[ModelEvent]:
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadResponse("The provider sent an event that is not JSON.") from None
        if not isinstance(event, dict) or not event:
            raise BadResponse("The provider sent an event that is not a JSON object.")
        if event.get("type") == "error":
            raise in_band_failure(event, secret)
        self._began = True
        try:
            return self._whole(event) if "output" in event else self._event(event)
        except (KeyError, TypeError, AttributeError):
            raise BadResponse("The provider sent an event that is not of Converse's form.") from None

    def _event(self, event: dict[str, Any]) -> list[ModelEvent]:
        said: dict[str, Any]
        kind, said = next(iter(event.items()))
        if kind == "contentBlockDelta":
            return self._delta(said["contentBlockIndex"], said["delta"])
        if kind == "contentBlockStart" and "toolUse" in said["start"]:
            return [self._call(said["contentBlockIndex"], said["start"]["toolUse"])]
        if kind == "messageStop":
            self._stop = {"stopReason": said.get("stopReason")}
        elif kind == "metadata":
            self._end(said)
        return []

    def _end(self, said: dict[str, Any]) -> None:
        """The last event; it comes behind the one that says why the answer ended."""
        self._usage = said.get("usage") or {}
        self._about = {name: said[name] for name in _KEPT if said.get(name)}
        self.done = True

    def _whole(self, answer: dict[str, Any]) -> list[ModelEvent]:
        events: list[ModelEvent] = []
        for index, raw in enumerate(answer["output"].get("message", {}).get("content") or ()):
            thought = raw.get("reasoningContent") or {}
            if "toolUse" in raw:
                delta = self._call(index, raw["toolUse"])
                made = orjson.dumps(raw["toolUse"].get("input") or {}).decode()
                self._blocks[index].pieces.append(made)
                events.append(ToolCallDelta(delta.index, delta.id, delta.name, "" if made == "{}" else made))
            elif "reasoningText" in thought:
                for name in ("text", "signature"):
                    if thought["reasoningText"].get(name):
                        events += self._thought(index, {name: thought["reasoningText"][name]})
            else:
                events += self._delta(index, raw)
        self._stop = {"stopReason": answer.get("stopReason")}
        self._end(answer)
        return events

    def _block(self, index: int, kind: str) -> _Block:
        """Only calls are announced; any other block begins with its first piece."""
        return self._blocks.setdefault(index, _Block(kind))

    def _call(self, index: int, raw: dict[str, Any]) -> ToolCallDelta:
        block = self._block(index, "call")
        block.call_id, block.name = raw["toolUseId"], raw["name"]
        block.call_index, self._calls = self._calls, self._calls + 1
        return ToolCallDelta(block.call_index, block.call_id, block.name, "")

    def _delta(self, index: int, delta: dict[str, Any]) -> list[ModelEvent]:
        if "text" in delta:
            text = delta["text"]
            self._block(index, "text").pieces.append(text)
            return [TextDelta(text)] if text else []
        if "toolUse" in delta:
            block, piece = self._blocks.get(index), delta["toolUse"].get("input") or ""
            if block is None or block.kind != "call":
                raise BadResponse("The provider sent a piece of a call that was never announced.")
            block.pieces.append(piece)
            return [ToolCallDelta(block.call_index, block.call_id, None, piece)] if piece else []
        if "reasoningContent" in delta:
            return self._thought(index, delta["reasoningContent"])
        return []

    def _thought(self, index: int, delta: dict[str, Any]) -> list[ModelEvent]:
        if "redactedContent" in delta:
            self._block(index, "hidden").pieces.append(delta["redactedContent"])
            return [RedactedReasoning(delta["redactedContent"])]
        block = self._block(index, "thinking")
        if "signature" in delta:
            block.signature += delta["signature"]
            return [ReasoningDelta("", delta["signature"])]
        text = delta.get("text") or ""
        block.pieces.append(text)
        return [ReasoningDelta(text)] if text else []

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        if not self._began:
            raise BadResponse("The provider's answer was empty.")
        named = self._stop.get("stopReason")
        if named is None:
            raise StreamInterrupted("The provider's stream ended before its answer did.")
        message = self._message()
        if named not in _FINISH and not (message.text or message.tool_calls):
            raise BadResponse(f"The model's answer could not be used: {named}")
        reason = _FINISH.get(named, "stop")
        if reason == "stop" and message.tool_calls:
            reason = "tool_calls"
        return [], Finished(message, reason, self.usage(), self.response())

    def _message(self) -> Message:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        for _, block in sorted(self._blocks.items()):
            if block.kind == "call":
                calls.append(ToolCall(block.call_id, block.name, block.text or "{}"))
            elif block.kind == "hidden":
                parts.append(RedactedReasoningPart(block.text))
            elif block.kind == "thinking" and (block.pieces or block.signature):
                parts.append(ReasoningPart(block.text, signature=block.signature or None))
            elif block.text:
                parts.append(TextPart(block.text))
        return Message("assistant", tuple(parts), tuple(calls))

    def usage(self) -> Usage:
        """As the provider counted, which it says at the very end."""
        if self._usage:
            return usage_extract.from_converse(self._usage)
        said = sum(len(block.text.encode()) for block in self._blocks.values())
        return usage_extract.estimate(self._sent_bytes, said)

    def response(self) -> dict[str, Any]:
        content = [_whole_block(block) for _, block in sorted(self._blocks.items())]
        output = {"message": {"role": "assistant", "content": content}}
        return {"output": output, "stopReason": None, **self._stop, "usage": self._usage, **self._about}

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        return self.usage(), self.response()


def _whole_block(block: _Block) -> dict[str, Any]:
    if block.kind == "call":
        return {"toolUse": {"toolUseId": block.call_id, "name": block.name, "input": parsed(block.text)}}
    if block.kind == "hidden":
        return {"reasoningContent": {"redactedContent": block.text}}
    if block.kind == "thinking":
        signed = {"signature": block.signature} if block.signature else {}
        return {"reasoningContent": {"reasoningText": {"text": block.text, **signed}}}
    return {"text": block.text}
