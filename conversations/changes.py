"""What is changed about conversations, runs and steps afterwards: titles, models, feedback, and their end."""

from __future__ import annotations

from typing import Any

from accounts.access import Caller
from agents import memory, model_fit
from conversations.actions import cancel_run
from conversations.models import ACTIVE, Conversation, Run, RunStatus, Step
from core.errors import Conflict
from core.time import now


def update_conversation(caller: Caller, conversation: Conversation, changes: dict[str, Any]) -> Conversation:
    """Columns, and `archived`. Only what changes is written, so that a running turn loses nothing of its own."""
    fields = {name: value for name, value in changes.items() if name != "archived"}
    if changes.get("archived") is not None:
        fields["archived_at"] = (conversation.archived_at or now()) if changes["archived"] else None
    if fields.get("model") or fields.get("model_settings"):
        project_id = caller.project_id or conversation.agent.project_id or ""
        model = fields.get("model") or conversation.model or conversation.agent.model
        model_fit.check(conversation.organization_id, model, fields.get("model_settings"), project_id)
    if "model" in fields:
        fields["compiled_version"] = 0  # the system prompt may differ by provider: the next step compiles it anew
    fields |= {"updated_at": now(), "last_updated_by_id": caller.user_id}
    Conversation.objects.filter(pk=conversation.pk).update(**fields)
    for name, value in fields.items():
        setattr(conversation, name, value)
    return conversation


def delete_conversation(conversation: Conversation) -> None:
    """With its messages, runs, steps and own blocks; what runs in it is cancelled first. Traces and spend stay in
    telemetry."""
    if conversation.is_default:
        raise Conflict("The default conversation goes with its agent: reset its messages, or delete the agent.")
    for run in Run.objects.filter(conversation=conversation, status__in=ACTIVE):
        cancel_run(run)
    memory.delete_own_blocks([conversation.pk])
    conversation.delete()


def delete_run(run: Run) -> None:
    """With its steps; its messages stay in the conversation. One that goes on is cancelled first."""
    if run.status in (*ACTIVE, RunStatus.WAITING_APPROVAL):
        cancel_run(run)
    run.delete()


def note_transaction(step: Step, tid: str) -> Step:
    """Which transaction of the caller's billing paid for the step."""
    Step.objects.filter(pk=step.pk).update(updated_at=now(), tid=tid)
    step.tid = tid
    return step


def give_feedback(step: Step, changes: dict[str, Any]) -> Step:
    """`feedback`, and `tags` where given."""
    fields = {name: value for name, value in changes.items() if name != "tags" or value is not None}
    if fields:
        Step.objects.filter(pk=step.pk).update(updated_at=now(), **fields)
    for name, value in fields.items():
        setattr(step, name, value)
    return step
