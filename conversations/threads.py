"""What the agents room needs of conversations, which lie above it: registered there at start-up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from accounts.access import Caller
from agents.context import compile_system_prompt
from agents.model_calls import CallContext
from agents.models import Agent, Block
from agents.schemas.agent_files import FileMessage
from agents.threads import FoundMessage, MessageSearch
from conversations import images, message_files, wire
from conversations import search as searching
from conversations.models import Conversation, Message, Role
from conversations.rows import row_of, searchable
from conversations.turn import prompt_input
from core.errors import AppError, BadInput, Conflict, NotFound
from core.time import now
from providers.resolve import resolve

_MESSAGE_IDS = """
SELECT conversation.agent_id, array_agg('message-' || message.id
    ORDER BY (message.seq = 0) DESC, (message.role = 'summary') DESC, message.seq)
FROM conversations_conversation AS conversation
JOIN conversations_message AS message ON message.conversation_id = conversation.id AND message.in_context
WHERE conversation.is_default AND conversation.agent_id = ANY(%s::uuid[])
GROUP BY conversation.agent_id
"""


def system_row(conversation: Conversation, new_with: Sequence[Block] | None = None) -> Message:
    """The first message of a conversation, compiled for the agent as it is now; to be saved with `compiled_version`.

    `new_with`: the blocks of an agent that was just made; nothing is asked of the database then.
    """
    agent = conversation.agent
    prompt = prompt_input(conversation, agent, _provider_type(conversation, agent), 1, new_with)
    text = compile_system_prompt(prompt)
    return Message(
        organization_id=conversation.organization_id,
        agent_id=agent.pk,
        conversation=conversation,
        seq=0,
        role=Role.SYSTEM,
        content=[{"type": "text", "text": text}],
        text=text,
    )


def _provider_type(conversation: Conversation, agent: Agent) -> str:
    try:
        handle = conversation.model or agent.model
        return resolve(agent.organization_id, handle, agent.project_id or "").credential.provider_type
    except AppError:  # the provider was removed: the prompt is compiled all the same
        return ""


class ConversationThreads:
    """See `agents.threads.Threads`."""

    @transaction.atomic(savepoint=False)
    def open_default(
        self, agent: Agent, blocks: Sequence[Block], initial: Sequence[dict[str, Any]] | None, caller: Caller
    ) -> list[str]:
        messages = list(initial or ())
        conversation = Conversation(
            organization_id=agent.organization_id,
            agent=agent,
            is_default=True,
            created_by_id=caller.user_id,
            last_updated_by_id=caller.user_id,
            next_seq=1 + len(messages),
            compiled_version=agent.prompt_version,
        )
        conversation.save(force_insert=True)
        rows = [system_row(conversation, blocks)]
        rows += [_initial(conversation, seq, message) for seq, message in enumerate(messages, 1)]
        Message.objects.bulk_create(rows)
        return [row.pk for row in rows]

    def message_ids(self, agent_ids: Iterable[str]) -> dict[str, list[str]]:
        with connection.cursor() as cursor:
            cursor.execute(_MESSAGE_IDS, [[agent_id[-36:] for agent_id in agent_ids]])
            return {f"agent-{agent_id}": ids for agent_id, ids in cursor.fetchall()}

    def pending_approvals(self, agent_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        waiting = Conversation.objects.filter(agent_id__in=list(agent_ids), is_default=True)
        pending = dict(waiting.exclude(pending_approval_id="").values_list("pending_approval_id", "agent_id"))
        if not pending:
            return {}
        requests = Message.objects.filter(pk__in=list(pending))
        return {pending[row.pk]: wire.message_of(row_of(row))[-1] for row in requests}

    def recompile(self, agent: Agent, *, dry_run: bool, update_timestamp: bool) -> str:
        conversation = _default_of(agent)
        return recompile_conversation(conversation, agent, dry_run=dry_run)

    @transaction.atomic
    def set_message_ids(self, agent: Agent, message_ids: Sequence[str]) -> None:
        conversation = Conversation.objects.select_for_update().get(agent=agent, is_default=True)
        found = set(conversation.messages.filter(pk__in=list(message_ids)).values_list("pk", flat=True))
        for message_id in message_ids:
            if message_id not in found:
                raise NotFound(f"Message with ID {message_id} not found in the agent's conversation")
        conversation.messages.filter(in_context=True, seq__gt=0).exclude(pk__in=found).update(in_context=False)
        conversation.messages.filter(pk__in=found).update(in_context=True)
        if conversation.pending_approval_id and conversation.pending_approval_id not in found:
            raise Conflict("A tool call awaits approval, so its request must stay in context: answer it, or cancel.")
        _new_context(conversation)

    def write_messages(self, agent: Agent, conversation_id: str | None) -> tuple[list[dict[str, Any]], list[str]]:
        return message_files.write(agent, conversation_id)

    def take_messages(self, agent: Agent, messages: Sequence[FileMessage], in_context: Collection[str]) -> None:
        message_files.take(agent, messages, in_context)

    def query_vectors(self, search: MessageSearch, context: CallContext) -> Mapping[str, Sequence[float]]:
        return searching.query_vectors(search, context)

    def search_messages(
        self, search: MessageSearch, vectors: Mapping[str, Sequence[float]] | None = None
    ) -> list[FoundMessage]:
        scored = bool(search.query.strip())
        return [
            FoundMessage(m.pk, m.role, m.text, m.created_at, hit.score if scored else None)
            for hit in searching.find(search, vectors or {})
            for m in (hit.message,)
        ]


def recompile_conversation(conversation: Conversation, agent: Agent, *, dry_run: bool) -> str:
    """The system message compiled anew; stored unless `dry_run`."""
    in_context = conversation.messages.filter(in_context=True).count()
    prompt = prompt_input(conversation, agent, _provider_type(conversation, agent), in_context)
    text = compile_system_prompt(prompt)
    if not dry_run:
        with transaction.atomic():
            conversation.messages.filter(seq=0).update(content=[{"type": "text", "text": text}], text=text)
            _new_context(conversation, compiled_version=agent.prompt_version)
    return text


def _new_context(conversation: Conversation, **more: Any) -> None:
    """Counted by the database: a turn may have raised it since the row was read."""
    Conversation.objects.filter(pk=conversation.pk).update(context_version=F("context_version") + 1, **more)


def _default_of(agent: Agent) -> Conversation:
    return Conversation.objects.select_related("agent").get(agent=agent, is_default=True)


def _initial(conversation: Conversation, seq: int, message: dict[str, Any]) -> Message:
    said = message["content"]
    content = [{"type": "text", "text": said}] if isinstance(said, str) else [_part(part, seq) for part in said]
    return Message(
        organization_id=conversation.organization_id,
        agent_id=conversation.agent_id,
        conversation=conversation,
        seq=seq,
        role=message["role"],
        content=content,
        text=searchable({"content": content, "tool_calls": [], "tool_returns": []}),
        name=message["name"],
        otid=message["otid"],
        sender_id=message["sender_id"],
        created_at=now(),
    )


def _part(part: dict[str, Any], seq: int) -> dict[str, Any]:
    if part["type"] == "text":
        return {"type": "text", "text": part["text"]}
    try:
        return images.inline(part["source"]["data"], part["source"]["detail"])
    except BadInput as error:
        raise BadInput(f"initial_message_sequence.{seq - 1}: {error.message}") from None
