"""/v1/steps: find steps, what was said to the model in one, and what people thought of it."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer, answer_list, answer_plain
from conversations import access, changes
from conversations.api.lists import steps_router as router
from conversations.queries import find_steps
from conversations.schemas.base import StepId
from conversations.schemas.steps import (
    GiveFeedback,
    StepMetrics,
    StepOut,
    StepQuery,
    TransactionId,
    step_metrics,
    step_out,
)
from conversations.schemas.traces import ProviderTrace, provider_trace
from core.pagination import page
from telemetry.reading import call_of_step

telemetry_router = Router(tags=["steps"])


@router.get("/", response=list[StepOut])
def list_steps(request: ApiRequest, query: Query[StepQuery]) -> HttpResponse:
    rows = find_steps(request.caller, query, request.project_id)
    return answer_list(map(step_out, page(rows, query.cursor())))


@router.get("/{step_id}", response=StepOut)
def retrieve_step(request: ApiRequest, step_id: Path[StepId]) -> HttpResponse:
    return answer(step_out(access.get_step(request.caller, step_id)))


@router.get("/{step_id}/metrics", response=StepMetrics)
def retrieve_metrics(request: ApiRequest, step_id: Path[StepId]) -> HttpResponse:
    return answer(step_metrics(access.get_step(request.caller, step_id)))


@router.get("/{step_id}/trace", response=ProviderTrace | None)
def retrieve_trace(request: ApiRequest, step_id: Path[StepId]) -> HttpResponse:
    """What was said to the model and what it answered; null while telemetry does not have it."""
    access.check_step(request.caller, step_id)
    trace = call_of_step(request.caller.organization_id, step_id)
    return answer_plain(None) if trace is None else answer(provider_trace(trace))


@router.patch("/{step_id}/feedback", response=StepOut)
def give_feedback(request: ApiRequest, step_id: Path[StepId], data: GiveFeedback) -> HttpResponse:
    step = access.get_step(request.caller, step_id)
    return answer(step_out(changes.give_feedback(step, data.model_dump(exclude_unset=True))))


@router.patch("/{step_id}/transaction/{transaction}", response=StepOut)
def note_transaction(request: ApiRequest, step_id: Path[StepId], transaction: Path[TransactionId]) -> HttpResponse:
    step = access.get_step(request.caller, step_id)
    return answer(step_out(changes.note_transaction(step, transaction)))


@telemetry_router.get("/{step_id}", response=ProviderTrace | None, deprecated=True)
def retrieve_provider_trace(request: ApiRequest, step_id: Path[StepId]) -> HttpResponse:
    """The former name of a step's trace."""
    return retrieve_trace(request, step_id)
