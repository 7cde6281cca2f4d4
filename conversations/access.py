"""The only door from a caller to conversations, messages, runs and steps: all of its organization, no other."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from accounts.access import Caller
from conversations.batch_models import Batch
from conversations.models import Conversation, Message, Run, Step
from core.errors import BadInput, Invalid, NotFound
from core.ids import is_id

M = TypeVar("M", bound=Model)

DEFAULT = "default"
# What a list or a reference to a run has no use for, and may be large.
_RUN_BULK = ("input", "billing")
_STEP_BULK = ("run__input", "run__billing", "run__options", "run__usage", "run__error")


def conversations_of(caller: Caller) -> QuerySet[Conversation]:
    return Conversation.objects.filter(organization_id=caller.organization_id)


def messages_of(caller: Caller) -> QuerySet[Message]:
    return Message.objects.filter(organization_id=caller.organization_id)


def runs_of(caller: Caller) -> QuerySet[Run]:
    """With their conversations, without what was sent."""
    runs = Run.objects.filter(organization_id=caller.organization_id)
    return runs.select_related("conversation").defer(*_RUN_BULK)


def steps_of(caller: Caller) -> QuerySet[Step]:
    """With their runs."""
    return Step.objects.filter(organization_id=caller.organization_id).select_related("run").defer(*_STEP_BULK)


def batches_of(caller: Caller) -> QuerySet[Batch]:
    return Batch.objects.filter(organization_id=caller.organization_id)


def get_batch(caller: Caller, batch_id: str) -> Batch:
    return _one(batches_of(caller), batch_id, "Batch")


def get_conversation(caller: Caller, conversation_id: str) -> Conversation:
    """With its agent."""
    return _one(conversations_of(caller).select_related("agent"), conversation_id, "Conversation")


def conversation_ref(caller: Caller, value: str, agent_id: str | None = None) -> Conversation:
    """The conversation, with its agent, that `conv-…`, `default` (of `agent_id`) or `agent-…` (its default) names.

    `agent_id` with another name: a conversation of another agent is not found.
    """
    found = _named(conversations_of(caller).select_related("agent"), value, agent_id).first()
    if found is None:
        raise _unknown(value, agent_id)
    return found


def organization_of(reference: str) -> str:
    """Whose the conversation, or the agent, is: a person who is logged in may act in several organizations."""
    rows = Conversation.objects.all()
    rows = rows.filter(pk=reference) if is_id("conv", reference) else rows.filter(agent_id=reference, is_default=True)
    found = rows.values_list("organization_id", flat=True).first()
    if found is None:
        raise _unknown(reference, None)
    return found


def conversation_id_of(caller: Caller, value: str, agent_id: str | None = None) -> str:
    """Like `conversation_ref`, where the row itself is not needed."""
    found = _named(conversations_of(caller), value, agent_id).values_list("pk", flat=True).first()
    if found is None:
        raise _unknown(value, agent_id)
    return found


def get_message(caller: Caller, message_id: str, agent_id: str | None = None) -> Message:
    """`agent_id`: a message of another agent is not found."""
    rows = messages_of(caller)
    return _one(rows if agent_id is None else rows.filter(agent_id=agent_id), message_id, "Message")


def get_run(caller: Caller, run_id: str, agent_id: str | None = None) -> Run:
    """With its conversation. `agent_id`: a run of another agent is not found."""
    rows = runs_of(caller)
    return _one(rows if agent_id is None else rows.filter(agent_id=agent_id), run_id, "Run")


def check_run(caller: Caller, run_id: str) -> None:
    """Like `get_run`, where the row itself is not needed."""
    if not Run.objects.filter(organization_id=caller.organization_id, pk=run_id).exists():
        raise _missing("Run", run_id)


def get_step(caller: Caller, step_id: str) -> Step:
    return _one(steps_of(caller), step_id, "Step")


def check_step(caller: Caller, step_id: str) -> None:
    """Like `get_step`, where the row itself is not needed."""
    if not Step.objects.filter(organization_id=caller.organization_id, pk=step_id).exists():
        raise _missing("Step", step_id)


def _named(rows: QuerySet[Conversation], value: str, agent_id: str | None) -> QuerySet[Conversation]:
    if agent_id is not None:
        rows = rows.filter(agent_id=agent_id)
    if is_id("conv", value):
        return rows.filter(pk=value)
    if is_id("agent", value):
        return rows.filter(agent_id=value, is_default=True)
    if value != DEFAULT:
        raise Invalid(f"conversation_id: “{value}” is neither conv-<uuid4>, agent-<uuid4> nor “{DEFAULT}”.")
    if agent_id is None:
        raise BadInput(f"The conversation “{DEFAULT}” needs an agent_id.")
    return rows.filter(is_default=True)


def _unknown(value: str, agent_id: str | None) -> NotFound:
    if is_id("conv", value):
        return _missing("Conversation", value)
    return _missing("Agent", value if is_id("agent", value) else agent_id or value)


def _one(rows: QuerySet[M], row_id: str, noun: str) -> M:
    row = rows.filter(pk=row_id).first()
    if row is None:
        raise _missing(noun, row_id)
    return row


def _missing(noun: str, row_id: str) -> NotFound:
    return NotFound(f"{noun} with ID {row_id} not found")
