"""How a conversation begins: new, or as a fork of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from accounts.access import Caller
from agents import memory, model_fit
from agents.models import Agent, Block, RevisionActor
from conversations.models import Conversation, Message, Role
from conversations.threads import system_row
from core.errors import BadInput, NotFound
from core.ids import bare_uuid

# A copy's id is made from the original's, so that an answer to a request for approval can name the copy of its request,
# in one pass over the rows; it looks like any other. Copies have no run and step: those made the originals. A summary
# that is in context stands for what comes before `last`, though it was made later.
_COPY = """
INSERT INTO conversations_message ({columns})
SELECT {values} FROM conversations_message AS message
WHERE conversation_id = %(source)s AND seq > 0 AND (seq <= %(last)s OR id = %(summary)s::uuid)
"""


def _copy_of(message_id: str) -> str:
    digest = f"encode(substr(sha256((%(fork)s || {message_id})::bytea), 1, 16), 'hex')"
    return f"overlay(overlay({digest} PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid"


_VALUES = {
    "id": _copy_of("message.id"),
    "conversation_id": "%(fork)s::uuid",
    "run_id": "NULL",
    "step_id": "NULL",
    "seq": "row_number() OVER (ORDER BY message.seq)",
    "group_id": f"CASE WHEN message.role = 'approval' AND message.group_id LIKE 'message-%%' THEN 'message-' || "
    f"{_copy_of('substr(message.group_id, 9)')} ELSE message.group_id END",
    "in_context": "CASE WHEN %(first)s::integer IS NULL THEN message.in_context WHEN message.role = 'summary' "
    "THEN message.id IS NOT DISTINCT FROM %(summary)s::uuid ELSE message.seq >= %(first)s END",
    "updated_at": "now()",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConversation:
    summary: str | None = None
    description: str | None = None
    model: str | None = None
    model_settings: dict[str, Any] | None = None
    context_window_limit: int | None = None
    hidden: bool = False
    isolated_block_labels: tuple[str, ...] = ()


@transaction.atomic
def create_conversation(caller: Caller, agent: Agent, new: NewConversation) -> Conversation:
    """Raises BadInput: a model that is not there, a label of no block."""
    project_id = caller.project_id or agent.project_id or ""
    if new.model or new.model_settings:
        model_fit.check(agent.organization_id, new.model or agent.model, new.model_settings, project_id)
    return _begin(caller, agent, new, _to_isolate(agent, new.isolated_block_labels))


@transaction.atomic
def fork_conversation(
    caller: Caller, source: Conversation, *, message_id: str | None = None, hidden: bool = False
) -> Conversation:
    """A conversation of its own with what was said so far, or up to `message_id`, and what the model saw of it then.

    Blocks that the source has to itself are copied as they are now. A call that waits for approval stays behind, and a
    call goes with what it returned. Raises NotFound for a message of another conversation.
    """
    new = NewConversation(
        model=source.model,
        model_settings=source.model_settings,
        context_window_limit=source.context_window_limit,
        hidden=hidden,
    )
    cut = _cut_at(source, message_id) if message_id else _Cut(source.next_seq - 1, None, _summary(source))
    cut = _before_what_waits(source, cut)
    fork = _begin(caller, source.agent, new, memory.own_blocks(source.pk))
    fork.copied = _copy(source, fork, cut)
    fork.next_seq = fork.vector_seq = 1 + fork.copied  # what copies mean is known of the originals
    fork.context_tokens = 0 if message_id else source.context_tokens
    fork.save(update_fields=["copied", "next_seq", "vector_seq", "context_tokens"])
    return fork


def _begin(caller: Caller, agent: Agent, new: NewConversation, isolated: list[Block]) -> Conversation:
    conversation = Conversation.objects.create(
        organization_id=agent.organization_id,
        agent=agent,
        next_seq=1,
        compiled_version=agent.prompt_version,
        created_by_id=caller.user_id,
        last_updated_by_id=caller.user_id,
        summary=new.summary,
        description=new.description,
        model=new.model,
        model_settings=new.model_settings,
        context_window_limit=new.context_window_limit,
        hidden=new.hidden,
    )
    memory.isolate(conversation.pk, isolated, memory.Actor(RevisionActor.API, caller.user_id, "conversations.create"))
    system_row(conversation).save(force_insert=True)
    return conversation


def _to_isolate(agent: Agent, labels: tuple[str, ...]) -> list[Block]:
    if not labels:
        return []
    blocks = {block.label: block for block in memory.blocks_in(agent.pk)}
    missing = [label for label in labels if label not in blocks]
    if missing:
        there = ", ".join(sorted(blocks)) or "none"
        raise BadInput(f"isolated_block_labels: the agent has no block {', '.join(missing)}; it has: {there}.")
    return [blocks[label] for label in dict.fromkeys(labels)]


@dataclass(frozen=True, slots=True)
class _Cut:
    """Which messages a fork takes: those up to `last`, and of these the model sees the summary, and the others from
    `first` on. `first` None: it sees those that it sees in the source."""

    last: int
    first: int | None
    summary: str | None


def _cut_at(source: Conversation, message_id: str) -> _Cut:
    message = source.messages.filter(pk=message_id).only("seq", "in_context").first()
    if message is None:
        raise NotFound(f"Message with ID {message_id} not found in conversation {source.pk}")
    last = _with_returns(source, message.seq)
    if message.in_context:
        return _Cut(last, None, _summary(source) if last else None)
    return _as_it_was(source, last)


def _summary(source: Conversation) -> str | None:
    return source.messages.filter(role=Role.SUMMARY, in_context=True).values_list("pk", flat=True).last()


def _with_returns(source: Conversation, seq: int) -> int:
    """The place of the message, or that of the returns of the calls that it makes or decides about."""
    message = source.messages.only("tool_calls", "approvals").get(seq=seq)
    if not message.tool_calls and message.approvals is None:
        return seq
    returns = source.messages.filter(role=Role.TOOL, seq__gt=seq).order_by("seq")
    return returns.values_list("seq", flat=True).first() or seq


def _as_it_was(source: Conversation, last: int) -> _Cut:
    """What the model saw when `last` was the newest: the summary before it, what that had left, and what came since."""
    said = source.messages.filter(seq__gt=0)
    summary = said.filter(role=Role.SUMMARY, seq__lte=last).order_by("seq").last()
    if summary is None:
        return _Cut(last, 1, None)
    kept = (summary.stats or {}).get("messages_count_after", 2) - 2
    before = said.filter(seq__lt=summary.seq).exclude(role=Role.SUMMARY).order_by("-seq")
    left = list(before.values_list("seq", flat=True)[:kept]) if kept > 0 else []
    return _Cut(last, left[-1] if left else summary.seq, summary.pk)


def _before_what_waits(source: Conversation, cut: _Cut) -> _Cut:
    if not source.pending_approval_id:
        return cut
    waits = source.messages.filter(pk=source.pending_approval_id).values_list("seq", flat=True).first()
    return cut if waits is None or cut.last < waits else _Cut(waits - 1, cut.first, cut.summary)


def _copy(source: Conversation, fork: Conversation, cut: _Cut) -> int:
    """How many messages were copied. One statement, however many."""
    columns = [str(field.column) for field in Message._meta.concrete_fields]
    values = [_VALUES.get(column, f'message."{column}"') for column in columns]
    quoted = ", ".join(f'"{column}"' for column in columns)
    parameters: dict[str, str | int | None] = {
        "source": bare_uuid(source.pk),
        "fork": bare_uuid(fork.pk),
        "last": cut.last,
        "first": cut.first,
        "summary": bare_uuid(cut.summary) if cut.summary else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(_COPY.format(columns=quoted, values=", ".join(values)), parameters)
        return cursor.rowcount
