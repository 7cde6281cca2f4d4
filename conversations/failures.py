"""How a run ends badly: one place that knows what is kept of it, what its followers hear, and what its caller reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.db import transaction

from agents.events import MessageAdded, RunEnded, StepEnded
from agents.model_calls import Outcome
from budgets.errors import BudgetExceeded
from conversations import history as histories
from conversations import queue, unfinished
from conversations.commit import LeaseLost, note_last_run, step_row, write_run
from conversations.events import publish, statistics
from conversations.models import Run, RunStatus, Step, StepStatus
from conversations.turn import Work
from core.errors import AppError
from core.time import now
from providers.errors import BadResponse, ContextWindowExceeded, ProviderError
from providers.usage import Usage
from streams.publish import RunWriter

MESSAGES = {
    "llm_rate_limit": "The model's provider limits the rate of requests. Wait before sending again.",
    "llm_authentication": "The model's provider refused the key. Check the provider's key.",
    "llm_timeout": "The model's provider did not answer in time.",
    "llm_insufficient_credits": "The account at the model's provider has no credits left.",
    "llm_bad_request": "The model's provider refused the request.",
    "llm_empty_response": "The model's provider gave an answer that could not be used.",
    "llm_error": "The model's provider failed.",
    "context_window_exceeded": "The context is longer than the model's window, and compaction did not help.",
    "internal_error": "An unknown error occurred.",
}


class StepFailed(Exception):
    """A model call failed for good, or its answer cannot be used; the step keeps what it cost."""

    def __init__(self, error: ProviderError | AppError, work: Work, outcome: Outcome) -> None:
        super().__init__(error.message)
        self.error = error
        self.work = work
        self.outcome = outcome


def describe(error: Exception) -> dict[str, Any]:
    """The run's `error`: type, message, detail, the HTTP status its caller gets, and what else the caller is told."""
    if isinstance(error, ProviderError):
        message = MESSAGES.get(error.error_type, MESSAGES["llm_error"])
        detail = f"{type(error).__name__}: {error.message}"
        return {"type": error.error_type, "message": message, "detail": detail, "status": error.status}
    if isinstance(error, AppError):
        told = {"type": error.code, "message": error.message, "detail": error.message, "status": error.status}
        more = {"extra": error.extra, "retry_after": error.retry_after}
        return told | {name: value for name, value in more.items() if value}
    return {
        "type": "internal_error",
        "message": MESSAGES["internal_error"],
        "detail": f"{type(error).__name__}; the server's log has the rest.",
        "status": 500,
    }


def stop_reason_of(error: Exception) -> str:
    if isinstance(error, BadResponse):
        return "invalid_llm_response"
    if isinstance(error, ContextWindowExceeded):
        return "context_window_overflow_in_system_prompt"
    if isinstance(error, BudgetExceeded):
        return "insufficient_credits"
    return "llm_api_error" if isinstance(error, ProviderError) else "error"


def fail_run(run: Run, writer: RunWriter, failure: Exception) -> None:
    """End the run as failed, with a failed step for what was called and paid; its conversation is free again."""
    error = failure.error if isinstance(failure, StepFailed) else failure
    outcome = failure.outcome if isinstance(failure, StepFailed) else Outcome()
    described, reason = describe(error), stop_reason_of(error)
    usage = Usage(**run.usage) + outcome.all_usage
    histories.forget(run.conversation_id)
    changes: dict[str, Any] = {
        "status": RunStatus.FAILED,
        "stop_reason": reason,
        "error": described,
        "completed_at": now(),
        "usage": asdict(usage),
        "worker": "",
        "current_step_id": "",
    }
    if outcome.all_cost_usd is not None:
        changes["cost_usd"] = (run.cost_usd or 0) + outcome.all_cost_usd
    try:
        with transaction.atomic():
            if isinstance(failure, StepFailed):
                _insert_failed_step(failure, described, reason)
            write_run(run, changes)
            answered = unfinished.answer_calls_outside(run, "the run failed", StepStatus.FAILED)
    except LeaseLost:
        return
    steps = run.step_count + isinstance(failure, StepFailed)
    told: list[Any] = [MessageAdded(message=answered)] if answered else []
    if isinstance(failure, StepFailed):
        told.append(StepEnded(step_id=run.current_step_id, status="failed", usage=asdict(outcome.usage)))
    told.append(
        RunEnded(status="failed", stop_reason=reason, usage=statistics(usage), step_count=steps, error=described)
    )
    publish(writer, *told)
    note_last_run(run, reason)
    queue.begin_next(run.conversation_id)


def _insert_failed_step(failure: StepFailed, described: dict[str, Any], reason: str) -> None:
    step = step_row(
        failure.work,
        failure.outcome,
        at=now(),
        status=StepStatus.FAILED,
        stop_reason=reason,
        error_type=described["type"],
        error_data=described,
    )
    Step.objects.bulk_create([step])
