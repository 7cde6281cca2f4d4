"""What this room needs of conversations, which lie above it: they register themselves here at start-up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from accounts.access import Caller
from agents.model_calls import CallContext
from agents.models import Agent, Block
from agents.schemas.agent_files import FileMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSearch:
    """`query` empty: the newest messages that fit the rest. `mode`: by words (fts), by meaning (vector), or both."""

    organization_id: str
    agent_id: str | None = None
    conversation_id: str | None = None
    project_id: str | None = None
    query: str = ""
    mode: Literal["fts", "vector", "hybrid"] = "hybrid"
    roles: tuple[str, ...] = ("assistant", "user", "tool")
    limit: int = 10
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class FoundMessage:
    id: str
    role: str
    text: str
    created_at: datetime
    relevance: float | None = None


class Threads(Protocol):
    def open_default(
        self, agent: Agent, blocks: Sequence[Block], initial: Sequence[dict[str, Any]] | None, caller: Caller
    ) -> list[str]:
        """Make a new agent's default conversation with its compiled system message, which shows `blocks`, and, where
        given, first messages (role, content). Returns the ids of the messages in context."""

    def message_ids(self, agent_ids: Iterable[str]) -> dict[str, list[str]]:
        """Ids of the messages in context of each agent's default conversation, the system message first. One query."""

    def pending_approvals(self, agent_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The approval request (its wire form) that each agent's default conversation waits for. One query."""

    def recompile(self, agent: Agent, *, dry_run: bool, update_timestamp: bool) -> str:
        """The system message of the default conversation, compiled anew; stored unless `dry_run`."""

    def set_message_ids(self, agent: Agent, message_ids: Sequence[str]) -> None:
        """Put exactly these messages of the default conversation into context."""

    def write_messages(self, agent: Agent, conversation_id: str | None) -> tuple[list[dict[str, Any]], list[str]]:
        """The messages of a conversation, None: the default one, as agent files have them, and the ids of those in
        context. Raises NotFound."""

    def take_messages(self, agent: Agent, messages: Sequence[FileMessage], in_context: Collection[str]) -> None:
        """Store messages of an agent file in the default conversation of an agent that was just made."""

    def query_vectors(self, search: MessageSearch, context: CallContext) -> Mapping[str, Sequence[float]]:
        """The query as vectors, by embedding model: what calls models. Empty where words have to do."""

    def search_messages(
        self, search: MessageSearch, vectors: Mapping[str, Sequence[float]] | None = None
    ) -> list[FoundMessage]:
        """The messages that hold the query's words or are near it in meaning, the best (without a query, the newest)
        first. Leaves out empty ones and the returns of conversation_search itself."""


_registered: list[Threads] = []


def register(threads: Threads) -> None:
    _registered[:] = [threads]


def threads() -> Threads:
    return _registered[0]
