"""Finding conversations, messages, runs and steps: the filters of the lists, each one database query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Case, F, IntegerField, Q, QuerySet, Value, When

from accounts.access import Caller
from agents.models import ConversationBlock
from conversations import wire
from conversations.access import DEFAULT, conversations_of, runs_of, steps_of
from conversations.batch_models import Batch
from conversations.models import ACTIVE, Conversation, Message, Role, Run, Step
from conversations.overview import stored_message
from conversations.rows import COLUMNS, dated
from conversations.schemas.batches import BatchMessageQuery
from conversations.schemas.conversations import ConversationFilters, ConversationOut, conversation_out
from conversations.schemas.jobs import JobQuery
from conversations.schemas.messages import MessageQuery
from conversations.schemas.runs import STATUSES, RunFilters
from conversations.schemas.steps import StepFilters
from core.ids import is_id
from core.pagination import page
from core.time import aware

# Which stored messages can give an API message of a type; the others are not even read.
_ROLES_OF: dict[str, frozenset[str]] = {
    "system_message": frozenset({Role.SYSTEM}),
    "user_message": frozenset({Role.USER, Role.SUMMARY}),
    "summary_message": frozenset({Role.SUMMARY}),
    "assistant_message": frozenset({Role.ASSISTANT, Role.APPROVAL}),
    "reasoning_message": frozenset({Role.ASSISTANT, Role.APPROVAL}),
    "hidden_reasoning_message": frozenset({Role.ASSISTANT, Role.APPROVAL}),
    "tool_call_message": frozenset({Role.ASSISTANT}),
    "tool_return_message": frozenset({Role.TOOL}),
    "approval_request_message": frozenset({Role.APPROVAL}),
    "approval_response_message": frozenset({Role.APPROVAL}),
}


def read_messages(rows: QuerySet[Message], query: MessageQuery, *, key: str = "seq") -> list[wire.Wire]:
    """One page as API messages. `key`: "seq" within one conversation, else "created_at"."""
    if query.include_return_message_types is not None:
        wanted = [_ROLES_OF.get(name, frozenset()) for name in query.include_return_message_types]
        rows = rows.filter(role__in=sorted(frozenset().union(*wanted)))
    found = page(rows.values(*COLUMNS), query.cursor(), key=key)
    if query.newest_last():
        found.reverse()
    return wire.messages_of(map(dated, found), query.view())


def thread(conversation_id: str, *, group_id: str | None = None, with_errors: bool | None = None) -> QuerySet[Message]:
    """The messages of a conversation that was found through `access`, in context or not."""
    rows = Message.objects.filter(conversation_id=conversation_id)
    if group_id is not None:
        rows = rows.filter(group_id=group_id)
    return rows if with_errors else rows.filter(is_err=False)


def batch_messages(batch: Batch, query: BatchMessageQuery) -> list[wire.Wire]:
    """One page of what its runs said, each with the id of the item that it belongs to."""
    rows = Message.objects.filter(run__batch_item__batch=batch)
    if query.agent_id:
        rows = rows.filter(agent_id=query.agent_id)
    rows = rows.annotate(batch_item_id=F("run__batch_item"))
    found = page(rows.values(*COLUMNS, "updated_at", "batch_item_id"), query.cursor())
    return [stored_message(row) for row in found]


def find_conversations(
    caller: Caller, filters: ConversationFilters, project_id: str | None = None
) -> QuerySet[Conversation]:
    """Without hidden ones, and without the default ones, which are reached through their agents."""
    rows = conversations_of(caller).filter(is_default=False, hidden=False)
    given = {
        "agent_id": filters.agent_id,
        "summary__icontains": filters.summary_search or None,
        "agent__project_id": project_id,
        "archived_at__isnull": {"unarchived": True, "archived": False}.get(filters.archive_status),
    }
    return rows.filter(**{field: value for field, value in given.items() if value is not None})


def conversations_out(conversations: Sequence[Conversation]) -> list[ConversationOut]:
    """Two queries, however many conversations."""
    pks = [conversation.pk for conversation in conversations]
    ids, blocks = ids_in_context(pks), _own_blocks(pks)
    return [conversation_out(one, ids.get(one.pk, ()), blocks.get(one.pk, ())) for one in conversations]


def _own_blocks(conversation_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    if conversation_ids:
        rows = ConversationBlock.objects.filter(conversation_id__in=conversation_ids).order_by("id")
        for conversation_id, block_id in rows.values_list("conversation_id", "block_id"):
            found[conversation_id].append(block_id)
    return found


def ids_in_context(conversation_ids: Sequence[str]) -> dict[str, list[str]]:
    """What the model sees of each, in its order: the system message, the summary, the rest. One query."""
    if not conversation_ids:
        return {}
    place = Case(
        When(seq=0, then=Value(0)), When(role=Role.SUMMARY, then=Value(1)), default=2, output_field=IntegerField()
    )
    rows = Message.objects.filter(conversation_id__in=conversation_ids, in_context=True).order_by(place, "seq")
    found: dict[str, list[str]] = defaultdict(list)
    for conversation_id, message_id in rows.values_list("conversation_id", "pk"):
        found[conversation_id].append(message_id)
    return found


def find_runs(caller: Caller, filters: RunFilters, project_id: str | None = None) -> QuerySet[Run]:
    given = {
        "agent_id": filters.agent_id,
        "agent_id__in": filters.agent_ids,
        **_conversation(filters.conversation_id),
        "status__in": _statuses(filters),
        "stop_reason": filters.stop_reason,
        "background": filters.background,
        "project_id": project_id,
    }
    return runs_of(caller).filter(**{field: value for field, value in given.items() if value is not None})


def find_jobs(caller: Caller, query: JobQuery, project_id: str | None = None) -> QuerySet[Run]:
    rows = find_runs(caller, RunFilters(active=query.active), project_id).filter(run_type="send_message_async")
    return rows.none() if query.source_id else rows


def find_steps(caller: Caller, filters: StepFilters, project_id: str | None = None) -> QuerySet[Step]:
    given = {
        "agent_id": filters.agent_id,
        "created_at__gte": aware(filters.start_date),
        "created_at__lte": aware(filters.end_date),
        "feedback": filters.feedback,
        "feedback__isnull": None if filters.has_feedback is None else not filters.has_feedback,
        "run__trace_id__in": filters.trace_ids,
        "run__project_id": filters.project_id or project_id,
    }
    rows = steps_of(caller).filter(**{field: value for field, value in given.items() if value is not None})
    if filters.model:
        rows = rows.filter(Q(model=filters.model) | Q(model_handle=filters.model))
    if filters.tags:
        rows = rows.filter(reduce(or_, (Q(tags__contains=[tag]) for tag in filters.tags)))
    return rows


def tools_used(run_id: str) -> list[str]:
    """Names of the tools that the run's steps called, each once, in the order of their first use."""
    lists: Iterable[list[str]] = (
        Step.objects.filter(run_id=run_id).order_by("index").values_list("tools_used", flat=True)
    )
    return list(dict.fromkeys(name for names in lists for name in names))


def _conversation(ref: str | None) -> dict[str, Any]:
    if ref is None or is_id("conv", ref):
        return {"conversation_id": ref}
    default = {"conversation__is_default": True}
    return default if ref == DEFAULT else default | {"conversation__agent_id": ref}


def _statuses(filters: RunFilters) -> list[str] | None:
    if filters.active:
        return list(ACTIVE)
    if filters.statuses is None:
        return None
    return [ours for ours, shown in STATUSES.items() if shown in filters.statuses]
