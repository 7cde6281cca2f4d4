"""What is done to conversations and runs: each action one function, called by the API, the admin and tests alike."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import redis
from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.access import Caller
from agents.events import Event, MessageAdded
from agents.models import Agent
from budgets.models import Stop
from conversations import answers, approvals, callbacks, doorbell, gates, images, queue, steering, unfinished
from conversations.events import encode
from conversations.gates import Passed
from conversations.inputs import WhenBusy
from conversations.models import ACTIVE, Conversation, Message, Run, RunStatus, StepStatus
from conversations.retelling import ended_event
from conversations.rows import Row
from core.errors import Conflict
from core.time import now
from providers.resolve import resolve
from streams.publish import ENDED, Batch, append

log = logging.getLogger(__name__)

_CANCEL = """
WITH live AS (
    SELECT id, status FROM conversations_run
    WHERE id = %s AND status IN ('queued', 'running', 'waiting_approval')
    FOR UPDATE
)
UPDATE conversations_run AS run SET status = 'cancelled', stop_reason = 'cancelled', fence = fence + 1, worker = '',
    completed_at = now()
FROM live WHERE run.id = live.id
RETURNING run.*, live.status AS was
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """What is sent. `rows`: the messages as they will be stored; `options`: the rest of the request.

    `when_busy`: what becomes of it where a turn runs; see `conversations.queue` and `conversations.steering`.
    """

    rows: Sequence[dict[str, Any]]
    options: dict[str, Any] = field(default_factory=dict)
    background: bool = False
    run_type: str = "send_message"
    idempotency_key: str | None = None
    request_hash: str = ""
    request_id: str = ""
    billing: dict[str, str] = field(default_factory=dict)
    callback_url: str | None = None
    when_busy: WhenBusy = "reject"

    @property
    def may_wait(self) -> bool:
        return self.when_busy != "reject"


@dataclass(frozen=True, slots=True)
class Started:
    """`fresh` False: the same request was sent before, and this is its run.

    `own`: of what was sent into a running turn, which `run` is then: the run that it becomes if that ends without it.
    """

    run: Run
    fresh: bool
    passed: Passed = field(default_factory=Passed)
    own: Run | None = None


def start_run(caller: Caller, conversation: Conversation, send: Send) -> Started:
    """Queue a turn, or have the one that runs take it in.

    Raises Conflict where one runs already or an approval is awaited, BadInput for what cannot be. Raises Stopped,
    BudgetExceeded and RateLimitExceeded, and then makes no run.
    """
    started = _start(caller, conversation, send)
    answering = steering.answering(started.run)
    return started if answering.pk == started.run.pk else replace(started, run=answering, own=started.run)


def _start(caller: Caller, conversation: Conversation, send: Send) -> Started:
    agent = conversation.agent
    kept = gates.check_sender(caller, agent.pk)
    account = answers.account(caller, conversation, send.rows, send.billing)
    handle = send.options.get("override_model") or conversation.model or agent.model
    target = resolve(agent.organization_id, handle, account["project_id"] or "", account["identity_id"])
    if send.idempotency_key and (known := _known(conversation, send)):
        return Started(known, fresh=False)
    if (before := answers.repeated(conversation, send.rows)) is not None:
        return Started(before, fresh=False)
    rows = answers.checked(conversation, send.rows)
    if not send.may_wait and not conversation.pending_approval_id and queue.is_waited_for(conversation):
        raise _busy(conversation)
    images.check_model(rows, target.info)
    rows = images.loaded(rows)
    run = Run(
        **account,
        organization_id=conversation.organization_id,
        agent_id=agent.pk,
        conversation=conversation,
        input=rows,
        options={**send.options, **kept},
        background=send.background,
        run_type=send.run_type,
        idempotency_key=send.idempotency_key,
        request_hash=send.request_hash,
        request_id=send.request_id,
        callback_url=callbacks.checked(send.callback_url),
        callback_due_at=now() if send.callback_url else None,
        steers=send.when_busy == "steer",
        trace_id=secrets.token_hex(16),
        lease_expires_at=now() + timedelta(seconds=settings.RUN_LEASE_S),
    )
    passed = gates.check(run, target)
    started = _insert(run, send, passed) or _insert(run, send, passed)
    if started is None:
        raise _busy(conversation)
    return started


def _insert(run: Run, send: Send, passed: Passed) -> Started | None:
    """None where it is worth a second try: the turn in the way has just ended, or this one may wait for it.

    Raises Conflict where it goes on.
    """
    try:
        with transaction.atomic():
            run.waits_turn = _waits(run, send)
            if not (run.waits_turn and run.steers):
                gates.check_parallel(run, passed)
            run.save(force_insert=True)
            if run.waits_turn:
                queue.note_waiting(run.conversation)
            else:
                transaction.on_commit(partial(doorbell.ring, run.pk, 0))
    except IntegrityError:
        known = _known(run.conversation, send) if send.idempotency_key else None
        if known is not None:
            return Started(known, fresh=False)
        if send.may_wait and not run.conversation.pending_approval_id:
            run.waits_turn = True
            return None
        busy = _busy(run.conversation)
        if busy.extra["run_id"] is None:
            return None
        raise busy from None
    return Started(run, fresh=True, passed=passed)


def _waits(run: Run, send: Send) -> bool:
    """An answer to what the conversation waits for comes before what waits for the conversation."""
    may = send.may_wait and not run.conversation.pending_approval_id
    return may and (run.waits_turn or queue.must_wait(run.conversation))


def _known(conversation: Conversation, send: Send) -> Run | None:
    """The run that an earlier send with this key started."""
    run = Run.objects.filter(conversation=conversation, idempotency_key=send.idempotency_key).first()
    if run is not None and run.request_hash != send.request_hash:
        raise Conflict(
            "This idempotency key was used for another request: use a new one.", extra={"run_id": str(run.pk)}
        )
    return run


def _busy(conversation: Conversation) -> Conflict:
    running = Run.objects.filter(conversation=conversation, status__in=ACTIVE)
    first = running.order_by("waits_turn", "created_at").values_list("pk", flat=True).first()
    message = "CONVERSATION_BUSY: a turn is running in this conversation. Wait for it, follow it, or cancel it."
    return Conflict(message, extra={"run_id": first})


def cancel_run(run: Run, why: str = approvals.CANCELLED) -> bool:
    """End the run now, whoever works on it; False where it had ended already. What it committed stays.

    What was sent into its turn and waits to be taken in is cancelled with it. `why`: what the model reads of the calls
    that waited for approval.
    """
    with transaction.atomic():
        cancelled = next(iter(Run.objects.raw(_CANCEL, [run.pk[-36:]])), None)
        if cancelled is None:
            return False
        if vars(cancelled)["was"] == RunStatus.WAITING_APPROVAL:
            answered = _deny_pending(cancelled, why)
        else:
            answered = unfinished.answer_calls_outside(cancelled, approvals.CANCELLED, StepStatus.CANCELLED)
        if cancelled.callback_due_at is not None:
            transaction.on_commit(doorbell.ring_callbacks)
    told: list[Event] = [MessageAdded(message=answered)] if answered else []
    try:
        events = [encode(event) for event in (*told, ended_event(cancelled))]
        append(cancelled.pk, cancelled.fence, Batch(events, f"{cancelled.fence}.cancelled", ENDED))
    except redis.RedisError as error:
        log.warning("%s: its followers were not told that it was cancelled: %s", run.pk, error)
    if not cancelled.waits_turn:
        for other in steering.waiting_in(cancelled.conversation_id):
            cancel_run(other)
    queue.begin_next(cancelled.conversation_id)
    return True


def _deny_pending(run: Run, why: str) -> Row | None:
    """The calls that waited get an answer."""
    conversation = Conversation.objects.select_for_update().get(pk=run.conversation_id)
    if not conversation.pending_approval_id:
        return None
    request = Message.objects.filter(pk=conversation.pending_approval_id, run=run).first()
    return unfinished.answer_calls(conversation, request, run, why) if request else None


def cancel_conversation(conversation: Conversation) -> dict[str, str]:
    """Cancel what runs or waits in the conversation. Raises Conflict where nothing does."""
    runs = Run.objects.filter(conversation=conversation, status__in=(*ACTIVE, RunStatus.WAITING_APPROVAL))
    found = list(runs.order_by("-waits_turn", "-created_at"))  # else those that wait would begin, or end with another
    if not found:
        raise Conflict("No active run to cancel in this conversation.")
    return cancel_runs(found)


def cancel_stopped(stop: Stop) -> int:
    """Cancel what runs for the target of a stop; how many."""
    return sum(cancel_run(run) for run in gates.runs_of(stop))


def cancel_runs(runs: Sequence[Run]) -> dict[str, str]:
    """Run id to "cancelled", or "failed" where the run had ended otherwise."""
    return {run.pk: "cancelled" if cancel_run(run) or run.status == RunStatus.CANCELLED else "failed" for run in runs}


@transaction.atomic
def reset_messages(agent: Agent) -> None:
    """Take every message of the default conversation out of context but the system message; they stay searchable."""
    conversation = Conversation.objects.select_for_update().get(agent=agent, is_default=True)
    if Run.objects.filter(conversation=conversation, status__in=ACTIVE).exists():
        raise _busy(conversation)
    Run.objects.filter(conversation=conversation, status=RunStatus.WAITING_APPROVAL).update(
        status=RunStatus.CANCELLED, stop_reason="cancelled", completed_at=now()
    )
    Message.objects.filter(conversation=conversation, in_context=True, seq__gt=0).update(in_context=False)
    Conversation.objects.filter(pk=conversation.pk).update(
        context_version=conversation.context_version + 1,
        compiled_version=0,
        context_tokens=0,
        pending_approval_id="",
    )
