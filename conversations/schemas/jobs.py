"""Jobs on the wire, as clients of old know them: runs that were sent with /messages/async, under ids of their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from conversations.models import Run
from conversations.schemas.base import LongPage
from conversations.schemas.runs import Status, Work, run_out
from core.ids import bare_uuid, id_pattern
from core.pagination import Cursor

JobId = Annotated[str, Field(pattern=id_pattern("job"))]


class Job(Work):
    """What jobs and batches tell alike."""

    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    updated_at: datetime
    agent_id: str | None = None


class JobOut(Job):
    """Job of the contract."""

    status: Status
    metadata: dict[str, Any] | None = None
    job_type: Literal["run"] = "run"
    user_id: str | None = None


class JobQuery(LongPage):
    """`source_id`: jobs of a source there are none."""

    active: bool = False
    ascending: bool | None = None
    source_id: str | None = None

    def cursor(self) -> Cursor:
        found = super().cursor()
        asked = self.ascending and "order" not in self.model_fields_set
        return replace(
            found,
            before=found.before and run_id_of(found.before),
            after=found.after and run_id_of(found.after),
            order="asc" if asked else found.order,
        )


def run_id_of(job_id: str) -> str:
    return f"run-{bare_uuid(job_id)}"


def job_out(run: Run) -> JobOut:
    """Costs a query where the run's conversation is not loaded."""
    shown = {name: value for name, value in run_out(run) if name in JobOut.model_fields}
    user = run.user_id or None
    shown |= {"id": f"job-{bare_uuid(run.pk)}", "created_by_id": user, "user_id": user, "updated_at": run.updated_at}
    return JobOut.model_construct(**shown)
