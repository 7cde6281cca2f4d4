"""/v1/jobs: what was sent with /messages/async, as clients of old look after it; runs are the name of today."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router

from accounts.access import Caller
from accounts.http import ApiRequest
from agents.api.answers import answer, answer_list
from conversations import access, actions, changes
from conversations.models import Run
from conversations.queries import find_jobs
from conversations.schemas.jobs import JobId, JobOut, JobQuery, job_out, run_id_of
from core.errors import NotFound
from core.pagination import page

router = Router(tags=["jobs"])


@router.get("/", response=list[JobOut], deprecated=True)
def list_jobs(request: ApiRequest, query: Query[JobQuery]) -> HttpResponse:
    rows = find_jobs(request.caller, query, request.project_id)
    return answer_list(map(job_out, page(rows, query.cursor())))


@router.get("/active", response=list[JobOut], deprecated=True)
def list_active_jobs(request: ApiRequest, query: Query[JobQuery]) -> HttpResponse:
    return list_jobs(request, query.model_copy(update={"active": True}))


@router.get("/{job_id}", response=JobOut, deprecated=True)
def retrieve_job(request: ApiRequest, job_id: Path[JobId]) -> HttpResponse:
    return answer(job_out(_run(request.caller, job_id)))


@router.patch("/{job_id}/cancel", response=JobOut, deprecated=True)
def cancel_job(request: ApiRequest, job_id: Path[JobId]) -> HttpResponse:
    """One that has ended stays as it is."""
    actions.cancel_run(_run(request.caller, job_id))
    return retrieve_job(request, job_id)


@router.delete("/{job_id}", response=JobOut, deprecated=True)
def delete_job(request: ApiRequest, job_id: Path[JobId]) -> HttpResponse:
    """With its steps; its messages stay. One that goes on is cancelled first."""
    run = _run(request.caller, job_id)
    shown = job_out(run)
    changes.delete_run(run)
    return answer(shown)


def _run(caller: Caller, job_id: str) -> Run:
    try:
        return access.get_run(caller, run_id_of(job_id))
    except NotFound:
        raise NotFound(f"Job with ID {job_id} not found") from None
