"""A Responses stream, event by event, to our events and the whole answer."""

from __future__ import annotations

from typing import Any

import orjson

from providers import usage_extract
from providers.clients.failures import in_band_failure
from providers.errors import BadResponse, StreamInterrupted
from providers.events import Finished, ModelEvent, ReasoningDelta, TextDelta, ToolCallDelta
from providers.types import FinishReason, Message, Part, ReasoningPart, TextPart, ToolCall
from providers.usage import Usage

_ECHOED = ("instructions", "tools")
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class _Item:
    """One item of the answer as it grows."""

    __slots__ = ("call_index", "pieces", "raw")

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.pieces: list[str] = []
        self.call_index = -1

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class ResponsesReader:
    """One answer."""

    unshown = 0

    def __init__(self, sent_bytes: int) -> None:
        self._sent_bytes = sent_bytes
        self._items: dict[int, _Item] = {}
        self._calls = 0
        self._response: dict[str, Any] = {}
        self._refused = False
        self.done = False

    def feed(self, data: bytes, secret: str = "") -> list[ModelEvent]:
        if data == b"[DONE]":
            return []
        try:
            event = orjson.loads(data)
            kind = event.get("type") or ""
        except (orjson.JSONDecodeError, AttributeError):
            raise BadResponse("The provider sent an event that is not a JSON object.") from None
        if kind.endswith(".delta"):
            return self._delta(kind, event)
        return self._other(kind, event, secret)

    def _other(self, kind: str, event: dict[str, Any], secret: str) -> list[ModelEvent]:
        if kind == "response.output_item.added":
            return self._added(event["output_index"], event["item"])
        if kind == "response.output_item.done":
            return self._item_done(event["output_index"], event["item"])
        if kind == "response.reasoning_summary_part.added" and event.get("summary_index"):
            return self._said(event["output_index"], "\n\n", thought=True)
        if kind in ("response.completed", "response.incomplete"):
            self._response, self.done = event["response"], True
        elif kind == "response.created":
            self._response = event["response"]
        elif kind in ("error", "response.failed"):
            raise in_band_failure(event.get("response") or event, secret)
        elif event.get("object") == "response":
            return self._whole(event)
        return []

    def _whole(self, response: dict[str, Any]) -> list[ModelEvent]:
        """An answer that came in one piece, from a server that does not stream."""
        self._response, self.done = response, True
        events: list[ModelEvent] = []
        for index, item in enumerate(response.get("output") or ()):
            events += self._item_done(index, item)
        return events

    def _delta(self, kind: str, event: dict[str, Any]) -> list[ModelEvent]:
        piece = event.get("delta")
        if not piece or not isinstance(piece, str):
            return []
        index = event["output_index"]
        if kind == "response.output_text.delta":
            return self._said(index, piece, thought=False)
        if kind == "response.function_call_arguments.delta":
            item = self._items[index]
            item.pieces.append(piece)
            return [ToolCallDelta(item.call_index, item.raw["call_id"], None, piece)]
        if kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            return self._said(index, piece, thought=True)
        if kind == "response.refusal.delta":
            self._refused = True
            return self._said(index, piece, thought=False)
        return []

    def _said(self, index: int, piece: str, *, thought: bool) -> list[ModelEvent]:
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item({"type": "reasoning" if thought else "message"})
        item.pieces.append(piece)
        return [ReasoningDelta(piece) if thought else TextDelta(piece)]

    def _added(self, index: int, raw: dict[str, Any]) -> list[ModelEvent]:
        item = self._items[index] = _Item(raw)
        if raw.get("type") != "function_call":
            return []
        item.call_index, self._calls = self._calls, self._calls + 1
        given = raw.get("arguments") or ""
        if given:
            item.pieces.append(given)
        return [ToolCallDelta(item.call_index, raw["call_id"], raw["name"], given)]

    def _item_done(self, index: int, raw: dict[str, Any]) -> list[ModelEvent]:
        """Keep the finished item; what of it was never streamed is said now."""
        known = self._items.get(index)
        if known is not None:
            known.raw = raw
            if known.pieces:
                return []
        kind = raw.get("type")
        if kind == "function_call":
            if known is None:
                return self._added(index, raw)
            arguments = raw.get("arguments") or ""
            known.pieces.append(arguments)
            return [ToolCallDelta(known.call_index, raw["call_id"], None, arguments)] if arguments else []
        text = _text_of(raw)
        self._refused = self._refused or any(p.get("type") == "refusal" for p in raw.get("content") or ())
        if known is None:
            self._items[index] = _Item(raw)
        return self._said(index, text, thought=kind == "reasoning") if text else []

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        if not self.done:
            if not self._response:
                raise BadResponse("The provider's answer was empty.")
            raise StreamInterrupted("The provider's stream ended before its answer did.")
        message = self._message()
        return [], Finished(message, self._reason(message), self.usage(), self.response())

    def _reason(self, message: Message) -> FinishReason:
        if self._refused:
            return "refusal"
        why = (self._response.get("incomplete_details") or {}).get("reason") or ""
        return _INCOMPLETE.get(why) or ("tool_calls" if message.tool_calls else "stop")

    def _message(self) -> Message:
        parts: list[Part] = []
        calls: list[ToolCall] = []
        for _, item in sorted(self._items.items()):
            kind = item.raw.get("type")
            if kind == "function_call":
                calls.append(ToolCall(item.raw["call_id"], item.raw["name"], item.text))
            elif kind == "reasoning":
                encrypted = item.raw.get("encrypted_content")
                if item.pieces or encrypted:
                    parts.append(ReasoningPart(item.text, id=item.raw.get("id"), encrypted=encrypted))
            elif item.pieces:
                parts.append(TextPart(item.text))
        return Message("assistant", tuple(parts), tuple(calls))

    def usage(self) -> Usage:
        counts = self._response.get("usage")
        if counts:
            return usage_extract.from_responses(counts)
        said = sum(len(item.text.encode()) for item in self._items.values())
        return usage_extract.estimate(self._sent_bytes, said)

    def response(self) -> dict[str, Any]:
        """The vendor's response object, without the request that it repeats."""
        kept = {key: value for key, value in self._response.items() if key not in _ECHOED}
        if not self.done:
            kept["output"] = [{**item.raw, "partial": item.text} for _, item in sorted(self._items.items())]
        return kept

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        return self.usage(), self.response()


def _text_of(raw: dict[str, Any]) -> str:
    if raw.get("type") == "reasoning":
        return "\n\n".join(part.get("text") or "" for part in raw.get("summary") or ())
    return "".join(part.get("text") or part.get("refusal") or "" for part in raw.get("content") or ())
