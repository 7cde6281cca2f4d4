"""A generateContent stream, chunk by chunk, to our events and the whole answer."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from providers import usage_extract
from providers.clients.failures import in_band_failure, scrub
from providers.errors import BadResponse, Refused, StreamInterrupted
from providers.events import Finished, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta
from providers.types import FinishReason, Message, Part, ReasoningPart, TextPart, ToolCall
from providers.usage import Usage

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_TAIL = ("finishReason", "finishMessage", "safetyRatings", "citationMetadata")
_HEAD = ("modelVersion", "responseId", "promptFeedback", "modelStatus")


class GeminiReader:
    """One answer."""

    unshown = 0

    def __init__(self, sent_bytes: int) -> None:
        self._sent_bytes = sent_bytes
        self._head: dict[str, Any] = {}
        self._thoughts: list[str] = []
        self._texts: list[str] = []
        self._text_signature: str | None = None
        self._calls: list[ToolCall] = []
        self._waiting: str | None = None
        self._usage: dict[str, Any] = {}
        self._end: dict[str, Any] = {}
        self.done = False

    def feed(self, data: bytes, secret: str = "") -> list[ModelEvent]:
        try:
            read = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise BadResponse("The provider sent a chunk that is not JSON.") from None
        events: list[ModelEvent] = []
        for chunk in read if isinstance(read, list) else [read]:
            if not isinstance(chunk, dict):
                raise BadResponse("The provider sent a chunk that is not a JSON object.")
            events += self._chunk(chunk, secret)
        return events

    def _chunk(self, chunk: dict[str, Any], secret: str) -> list[ModelEvent]:
        if "error" in chunk:
            raise in_band_failure(chunk, secret)
        self._head.update({name: chunk[name] for name in _HEAD if name in chunk})
        self._usage.update(chunk.get("usageMetadata") or {})
        candidate = next(iter(chunk.get("candidates") or ()), None)
        if candidate is None:
            self._check_blocked(secret)
            return []
        events: list[ModelEvent] = []
        for part in (candidate.get("content") or {}).get("parts") or ():
            events += self._part(part)
        if candidate.get("finishReason"):
            self._end = {name: candidate[name] for name in _TAIL if name in candidate}
            self.done = True
        return events

    def _check_blocked(self, secret: str) -> None:
        said = self._head.get("promptFeedback") or {}
        reason = said.get("blockReason")
        if reason:
            why = scrub(str(said.get("blockReasonMessage") or reason), secret)
            raise Refused(f"Google's filter refused the prompt: {why}.", upstream_status=200)

    def _part(self, part: dict[str, Any]) -> list[ModelEvent]:
        """A signature on a part that is not kept goes to the next one that is."""
        signature, text = part.get("thoughtSignature"), part.get("text") or ""
        if part.get("thought"):
            self._waiting = signature or self._waiting
            self._thoughts += [text] if text else []
            return [ReasoningDelta(text)] if text else []
        if "functionCall" in part:
            return [self._call(part["functionCall"], signature)]
        self._waiting = signature or self._waiting
        if text:
            self._texts.append(text)
        if self._texts and self._waiting:
            self._text_signature, self._waiting = self._waiting, None
        return [TextDelta(text)] if text else []

    def _call(self, raw: dict[str, Any], signature: str | None) -> ToolCallDelta:
        """A call comes whole. Older models give it no id."""
        arguments = orjson.dumps(raw["args"]).decode() if raw.get("args") else ""
        call_id = raw.get("id") or f"call_{uuid.uuid4().hex[:24]}"
        call = ToolCall(call_id, raw.get("name") or "", arguments or "{}", signature or self._waiting)
        self._waiting = None
        self._calls.append(call)
        return ToolCallDelta(len(self._calls) - 1, call.id, call.name, arguments)

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        if not self._end:
            if not self._head and not self._said():
                raise BadResponse("The provider's answer was empty.")
            raise StreamInterrupted("The provider's stream ended before its answer did.")
        named = str(self._end["finishReason"])
        reason = _FINISH.get(named)
        if reason is None and not self._said():
            why = self._end.get("finishMessage") or named
            raise BadResponse(f"The model's answer could not be used: {why}")
        if reason in (None, "stop"):
            reason = "tool_calls" if self._calls else "stop"
        return [], Finished(self._message(), reason, self.usage(), self.response())

    def _said(self) -> bool:
        return bool(self._texts or self._calls)

    def _message(self) -> Message:
        parts: list[Part] = []
        if self._thoughts:
            parts.append(ReasoningPart("".join(self._thoughts)))
        if self._texts:
            parts.append(TextPart("".join(self._texts), self._text_signature))
        return Message("assistant", tuple(parts), tuple(self._calls))

    def usage(self) -> Usage:
        """As the provider counted. Counts come with every chunk and grow: without the end they are but a part."""
        counted = usage_extract.from_google(self._usage) if self._usage else None
        if self.done and counted is not None:
            return counted
        pieces = [*self._thoughts, *self._texts, *(call.arguments for call in self._calls)]
        return usage_extract.broken_off(counted, self._sent_bytes, sum(len(piece.encode()) for piece in pieces))

    def response(self) -> dict[str, Any]:
        parts: list[dict[str, Any]] = []
        if self._thoughts:
            parts.append({"text": "".join(self._thoughts), "thought": True})
        if self._texts:
            parts.append(_signed({"text": "".join(self._texts)}, self._text_signature))
        for call in self._calls:
            made = {"id": call.id, "name": call.name, "args": orjson.loads(call.arguments)}
            parts.append(_signed({"functionCall": made}, call.signature))
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **self._end}
        return {**self._head, "candidates": [candidate], "usageMetadata": self._usage}

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        return self.usage(), self.response()


def _signed(part: dict[str, Any], signature: str | None) -> dict[str, Any]:
    return {**part, "thoughtSignature": signature} if signature else part
