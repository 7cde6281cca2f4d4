"""Messages turned into vectors, behind the turns that made them: a bounded round at a time, the newest first.

A conversation's `vector_seq` says how far it is. Messages from before there was an embedding model are taken up in the
same way, so there is no other back-fill.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from agents.model_calls import CallContext, embed_texts
from agents.models import Agent
from conversations.models import Conversation, Message, Role
from conversations.search import embedding_of
from conversations.vector_models import MessageVector
from core.errors import AppError
from core.time import now
from providers.errors import BadRequest, ProviderError

log = logging.getLogger(__name__)

EMBEDDED = (Role.USER, Role.ASSISTANT, Role.APPROVAL)
CONVERSATIONS = 100
BATCH = 64
MAX_CHARACTERS = 8_000
RETRY = timedelta(minutes=5)


@dataclass(slots=True)
class _Share:
    """One agent's part of a round."""

    agent: Agent
    conversations: list[Conversation] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


def embed_round(limit: int) -> int:
    """Look at so many messages at most; how many vectors were made."""
    claimed = _claim()
    if not claimed:
        return 0
    rows = _unseen(claimed, limit)
    _note_progress(claimed, rows, limit)
    shares: dict[str, _Share] = {}
    of = {conversation.pk: conversation for conversation in claimed}
    for conversation in claimed:
        shares.setdefault(conversation.agent_id, _Share(conversation.agent)).conversations.append(conversation)
    for row in rows:
        if row.role in EMBEDDED and row.text.strip():
            shares[of[row.conversation_id].agent_id].messages.append(row)
    return sum(map(_embed, shares.values()))


@transaction.atomic
def _claim() -> list[Conversation]:
    """Conversations with messages without vectors, taken for a while: who dies over them leaves them to the next."""
    waiting = Conversation.objects.filter(
        Q(vectors_after=None) | Q(vectors_after__lte=now()), vector_seq__lt=F("next_seq")
    )
    if not settings.DEFAULT_EMBEDDING:
        waiting = waiting.exclude(Q(agent__embedding=None) | Q(agent__embedding=""))
    locked = waiting.select_for_update(skip_locked=True, no_key=True, of=("self",)).select_related("agent")
    found = list(locked.order_by("-last_message_at")[:CONVERSATIONS])
    Conversation.objects.filter(pk__in=[one.pk for one in found]).update(vectors_after=now() + RETRY)
    return found


def _unseen(claimed: Sequence[Conversation], limit: int) -> list[Message]:
    rows = Message.objects.filter(conversation__in=claimed, seq__gte=F("conversation__vector_seq"))
    return list(rows.order_by("conversation", "seq").only("conversation", "seq", "role", "text", "created_at")[:limit])


def _note_progress(claimed: Sequence[Conversation], rows: Sequence[Message], limit: int) -> None:
    """How far each conversation is when these rows are done. The last one of a full round may have more."""
    last = rows[-1] if len(rows) == limit else None
    reached: dict[str, int] = defaultdict(int)
    for row in rows:
        reached[row.conversation_id] = row.seq + 1
    for conversation in claimed:
        if last is None or (conversation.pk in reached and conversation.pk != last.conversation_id):
            conversation.vector_seq = conversation.next_seq
        else:
            conversation.vector_seq = max(conversation.vector_seq, reached[conversation.pk])


def _embed(share: _Share) -> int:
    """The messages, then the progress. Where the model cannot be asked, all of it waits."""
    try:
        made = [vector for start in range(0, len(share.messages), BATCH) for vector in _vectors(share, start)]
    except (ProviderError, AppError) as error:
        log.warning("%s: its messages get their vectors later: %s", share.agent.pk, error.message)
        return 0
    with transaction.atomic():
        columns = ["handle", "dim", "embedding"]
        MessageVector.objects.bulk_create(made, update_conflicts=True, unique_fields=["message"], update_fields=columns)
        for conversation in share.conversations:
            conversation.vectors_after = None
        Conversation.objects.bulk_update(share.conversations, ["vector_seq", "vectors_after"])
    return len(made)


def _vectors(share: _Share, start: int) -> list[MessageVector]:
    """Of one call's messages; none where the model refuses them, which asking again would not mend."""
    agent, messages = share.agent, share.messages[start : start + BATCH]
    handle = embedding_of(agent)
    context = CallContext(
        organization_id=agent.organization_id,
        call_type="embedding",
        project_id=agent.project_id or "",
        agent_id=agent.pk,
        agent_tags=tuple(agent.tags),
        trace_id=uuid.uuid4().hex,
    )
    try:
        found = embed_texts([row.text[:MAX_CHARACTERS] for row in messages], handle=handle, context=context)
    except BadRequest as error:
        log.warning("%s: messages are found by their words alone: %s", agent.pk, error.message)
        return []
    return [
        MessageVector(
            message_id=row.pk,
            organization_id=agent.organization_id,
            agent_id=agent.pk,
            conversation_id=row.conversation_id,
            role=row.role,
            handle=handle,
            dim=len(vector),
            embedding=vector,
            created_at=row.created_at,
        )
        for row, vector in zip(messages, found, strict=True)
    ]
