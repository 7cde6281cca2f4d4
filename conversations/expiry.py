"""Requests for approval that nobody has answered: denied at their time, and the turn goes on, or ends.

It goes on as with any answer: by a run that denies each call, with the options of the run that asked. It ends where
that cannot be: a budget is used up, the model is gone, or it has asked once more and again nobody answered.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from accounts.access import Caller
from conversations import actions, approvals
from conversations.actions import Send
from conversations.models import ACTIVE, Conversation, Message, Run, RunStatus
from conversations.rows import Row, row_of
from core.errors import AppError, Conflict
from core.ids import new_id
from core.time import now
from providers.errors import ProviderError

log = logging.getLogger(__name__)

RUN_TYPE = "approval_expired"
BATCH = 100
EXPIRED = "nobody answered within {}"


def expire_due(at: datetime | None = None) -> int:
    """How many requests were taken back."""
    due = Run.objects.filter(status=RunStatus.WAITING_APPROVAL, approval_expires_at__lt=at or now())
    runs = due.select_related("conversation__agent").order_by("approval_expires_at")[:BATCH]
    return sum(_expire(run) for run in runs)


def _expire(run: Run) -> bool:
    conversation = run.conversation
    pending = conversation.pending_approval_id
    request = Message.objects.filter(pk=pending, run=run).first() if pending else None
    if request is None:  # answered, but by none that told the run
        Run.objects.filter(pk=run.pk, status=RunStatus.WAITING_APPROVAL).update(status=RunStatus.COMPLETED)
        return False
    waited = (run.approval_expires_at or now()) - request.created_at
    reason = EXPIRED.format(timedelta(seconds=round(waited.total_seconds())))
    try:
        if run.run_type != RUN_TYPE and _goes_on(run, conversation, row_of(request), reason):
            return True
    except Conflict:  # an answer is on its way after all
        return False
    except (AppError, ProviderError) as error:
        log.info("%s: its request expired, and the turn ends: %s", run.pk, error)
    return actions.cancel_run(run, reason)


def _goes_on(run: Run, conversation: Conversation, request: Row, reason: str) -> bool:
    """False where a former try has ended without a word to the model."""
    denied = [
        {"type": "approval", "tool_call_id": call_id, "approve": False, "reason": reason}
        for call_id in approvals.awaits(request)
    ]
    answer: Row = {
        "id": new_id("message"),
        "role": "approval",
        "content": [],
        "otid": None,
        "name": None,
        "sender_id": None,
        "group_id": None,
    }
    send = Send(
        rows=[{**answer, "approvals": denied}],
        options=run.options,
        background=True,
        run_type=RUN_TYPE,
        idempotency_key=f"expired:{request['id']}",
        callback_url=run.callback_url,
    )
    caller = Caller(run.organization_id, run.user_id, frozenset())
    started = actions.start_run(caller, conversation, send)
    return started.fresh or started.run.status in ACTIVE
