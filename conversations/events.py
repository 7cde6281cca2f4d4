"""Events of a run on their way out: coalesced where they are pieces, whole where they are news."""

from __future__ import annotations

from typing import Any

from agents.events import Compacted, Event, MessageAdded, ReasoningDelta, RunEnded, TextDelta, ToolCallDelta
from providers.usage import Usage
from streams.publish import ENDED, Delta, RunWriter


class _Piece:
    """A piece of a message, joined with the next of the same kind and place."""

    __slots__ = ("event", "more")

    def __init__(self, event: Any) -> None:
        self.event = event
        self.more: list[str] = []

    def join(self, later: Delta) -> Delta | None:
        if not isinstance(later, _Piece):
            return None
        mine, its = self.event, later.event
        if type(mine) is not type(its) or (mine.message_id, mine.index) != (its.message_id, its.index):
            return None
        if isinstance(mine, ToolCallDelta):
            if its.name is not None or mine.name is not None:
                return None  # the piece with the name stays alone, as on the retired server's wire
            self.more.append(its.arguments)
        elif isinstance(mine, TextDelta) or (isinstance(mine, ReasoningDelta) and mine.signature is None):
            self.more.append(its.text)
            if isinstance(its, ReasoningDelta) and its.signature is not None:
                self.event = mine.model_copy(update={"signature": its.signature})
        else:
            return None
        self.more.extend(later.more)
        return self

    def encode(self) -> bytes:
        event = self.event
        if self.more:
            name = "arguments" if isinstance(event, ToolCallDelta) else "text"
            event = event.model_copy(update={name: getattr(event, name) + "".join(self.more)})
        return encode(event)


def delta(event: Event) -> Delta:
    return _Piece(event)


def encode(event: Event) -> bytes:
    return event.model_dump_json().encode()


def mark_of(event: Event) -> int:
    """How far the event tells what is stored: see `streams.publish.Batch`."""
    if isinstance(event, MessageAdded | Compacted):
        return int(event.message["seq"])
    return ENDED if isinstance(event, RunEnded) else 0


def publish(writer: RunWriter, *events: Event) -> None:
    writer.write(*(encode(event) for event in events), mark=max(map(mark_of, events)))


def publish_later(writer: RunWriter, *events: Event) -> None:
    """With whatever is published next; within a few milliseconds at the latest."""
    writer.later(*(encode(event) for event in events))


def statistics(usage: Usage) -> dict[str, Any]:
    """The token counts of the wire's usage_statistics."""
    return {
        "completion_tokens": usage.output,
        "prompt_tokens": usage.prompt,
        "total_tokens": usage.total,
        "cached_input_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "reasoning_tokens": usage.reasoning,
    }
