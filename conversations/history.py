"""The messages a model sees, remembered by the worker between steps, so that a step costs the same at any length.

What is remembered holds as long as the conversation's `context_version` is the same; messages that were only appended
are read behind it by their `seq`. Only the worker that holds the run's lease appends here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from agents.context import estimate_tokens, to_model_message
from conversations.models import Conversation, Message
from conversations.rows import COLUMNS, Row, dated
from providers.types import Message as ModelMessage

MAX_MESSAGES = 200_000


@dataclass(slots=True)
class Seen:
    """One message in context: as stored, as the model sees it (None: not at all), and its estimated tokens."""

    row: Row
    message: ModelMessage | None
    tokens: int


@dataclass(slots=True)
class History:
    """The first is the system message. `next_seq` is the number that the next appended message will have."""

    version: int
    next_seq: int
    agent_type: str
    timezone: str
    seen: list[Seen] = field(default_factory=list)
    tokens: int = 0

    def append(self, row: Row) -> None:
        entry = self.view(row)
        self.seen.append(entry)
        self.tokens += entry.tokens

    def view(self, row: Row) -> Seen:
        message = to_model_message(row, agent_type=self.agent_type, timezone=self.timezone)
        return Seen(row, message, 0 if message is None else estimate_tokens(message))

    def replace_system(self, row: Row) -> None:
        entry = self.view(row)
        self.tokens += entry.tokens - self.seen[0].tokens
        self.seen[0] = entry


_remembered: OrderedDict[str, History] = OrderedDict()
_lock = threading.Lock()
_total = 0


def load(conversation: Conversation, agent_type: str, timezone: str) -> History:
    """The conversation's messages in context, at most one query; none where all is remembered."""
    history = _recall(conversation, agent_type, timezone)
    if history is None:
        history = History(conversation.context_version, 0, agent_type, timezone)
    if history.next_seq < conversation.next_seq:
        for row in _rows(conversation.pk, history.next_seq):
            history.append(row)
        history.next_seq = conversation.next_seq
    return history


def remember(conversation_id: str, history: History) -> None:
    global _total  # noqa: PLW0603
    with _lock:
        _total += len(history.seen) - _weight(_remembered.pop(conversation_id, None))
        _remembered[conversation_id] = history
        while _total > MAX_MESSAGES and len(_remembered) > 1:
            _total -= _weight(_remembered.popitem(last=False)[1])


def forget(conversation_id: str) -> None:
    global _total  # noqa: PLW0603
    with _lock:
        _total -= _weight(_remembered.pop(conversation_id, None))


def _weight(history: History | None) -> int:
    return 0 if history is None else len(history.seen)


def _recall(conversation: Conversation, agent_type: str, timezone: str) -> History | None:
    """What is remembered, taken out: it is put back when the step is done."""
    global _total  # noqa: PLW0603
    with _lock:
        history = _remembered.pop(conversation.pk, None)
        _total -= _weight(history)
    if history is None or history.version != conversation.context_version or history.next_seq > conversation.next_seq:
        return None
    if (history.agent_type, history.timezone) != (agent_type, timezone):
        return None
    return history


def _rows(conversation_id: str, from_seq: int) -> list[Row]:
    found = Message.objects.filter(conversation_id=conversation_id, in_context=True, seq__gte=from_seq)
    rows = [dated(row) for row in found.order_by("seq").values(*COLUMNS)]
    if from_seq:
        return rows
    return sorted(rows, key=lambda row: (0 if row["seq"] == 0 else 1 if row["role"] == "summary" else 2, row["seq"]))
