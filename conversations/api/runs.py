"""/v1/runs: find runs, and what they used, called and cost."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.http import ApiRequest
from agents.api.answers import answer, answer_list, answer_plain
from conversations import access, changes, run_search
from conversations.api.messages import runs_router as router
from conversations.queries import find_runs, tools_used
from conversations.schemas.runs import (
    ActiveRunQuery,
    RunId,
    RunMetrics,
    RunOut,
    RunQuery,
    SearchRunQuery,
    TraceQuery,
    run_metrics,
    run_out,
)
from conversations.schemas.steps import RunStepQuery, StepOut, step_out
from conversations.schemas.traces import call_of
from conversations.schemas.usage import UsageOut, usage_out
from core.pagination import page
from providers.usage import Usage
from telemetry.reading import calls_of_run

search_router = Router(tags=["internal"])


@router.get("/", response=list[RunOut])
def list_runs(request: ApiRequest, query: Query[RunQuery]) -> HttpResponse:
    rows = find_runs(request.caller, query, request.project_id)
    return answer_list(map(run_out, page(rows, query.cursor())))


@search_router.get("/", response=list[RunOut])
def search_runs(request: ApiRequest, query: Query[SearchRunQuery]) -> HttpResponse:
    """The filters of /v1/runs/, and more: by tools, number of steps, dates and duration."""
    rows = run_search.search_runs(request.caller, query, request.project_id)
    return answer_list(map(run_out, page(rows, query.cursor(), key=query.order_by)))


@router.get("/active", response=list[RunOut], deprecated=True)
def list_active_runs(request: ApiRequest, query: Query[ActiveRunQuery]) -> HttpResponse:
    active = query.filters()
    return answer_list(map(run_out, page(find_runs(request.caller, active, request.project_id), active.cursor())))


@router.get("/{run_id}", response=RunOut)
def retrieve_run(request: ApiRequest, run_id: Path[RunId]) -> HttpResponse:
    return answer(run_out(access.get_run(request.caller, run_id)))


@router.delete("/{run_id}", response=None)
def delete_run(request: ApiRequest, run_id: Path[RunId]) -> HttpResponse:
    """With its steps; its messages stay. A run that goes on is cancelled first."""
    changes.delete_run(access.get_run(request.caller, run_id))
    return answer_plain(None)


@router.get("/{run_id}/steps", response=list[StepOut])
def list_run_steps(request: ApiRequest, run_id: Path[RunId], query: Query[RunStepQuery]) -> HttpResponse:
    access.check_run(request.caller, run_id)
    return answer_list(map(step_out, page(access.steps_of(request.caller).filter(run_id=run_id), query.cursor())))


@router.get("/{run_id}/usage", response=UsageOut)
def retrieve_usage(request: ApiRequest, run_id: Path[RunId]) -> HttpResponse:
    """The sums over the run's steps."""
    return answer(usage_out(Usage(**access.get_run(request.caller, run_id).usage)))


@router.get("/{run_id}/metrics", response=RunMetrics)
def retrieve_metrics(request: ApiRequest, run_id: Path[RunId]) -> HttpResponse:
    run = access.get_run(request.caller, run_id)
    return answer(run_metrics(run, tools_used(run.pk)))


@router.get("/{run_id}/trace", response=list[dict[str, object]])
def retrieve_trace(request: ApiRequest, run_id: Path[RunId], query: Query[TraceQuery]) -> HttpResponse:
    """The run's model calls as telemetry has them, oldest first; a call of the last second may not be there yet."""
    access.check_run(request.caller, run_id)
    return answer_plain([call_of(row) for row in calls_of_run(request.caller.organization_id, run_id, query.limit)])
