"""Batches on the wire: what is given in bulk, and how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from agents.schemas.base import AgentId, Wire
from conversations.batch_models import Batch, BatchStatus
from conversations.inputs import SendBody, options_of, rows_of
from conversations.schemas.base import LongPage
from conversations.schemas.jobs import Job
from conversations.schemas.runs import Status, work_of
from conversations.schemas.search import StoredMessage
from core.ids import id_pattern

MOST = 10_000
BATCH_ID = id_pattern("job")


class BatchRequest(SendBody):
    """A send to the agent's default conversation."""

    agent_id: AgentId


class CreateBatch(Wire):
    requests: list[BatchRequest] = Field(min_length=1, max_length=MOST)
    callback_url: str | None = Field(default=None, max_length=2083)

    def sends(self) -> Iterator[tuple[BatchRequest, list[dict[str, Any]], dict[str, Any]]]:
        """(request, rows, options) of each. Raises BadInput."""
        for request in self.requests:
            yield request, rows_of(request), options_of(request)


class BatchJob(Job):
    """`metadata.counts`: how many requests are pending, running, completed, failed and cancelled. `metadata.errors` (of
    one that is retrieved): why no run was made of some; runs that failed say so themselves."""

    status: Literal[Status, "expired"]
    job_type: Literal["batch"] = "batch"
    metadata: dict[str, Any]


class BatchMessages(Wire):
    messages: list[StoredMessage]


class BatchMessageQuery(LongPage):
    agent_id: AgentId | None = None


class BatchQuery(LongPage):
    """Newest first."""


def batch_out(batch: Batch, counts: Mapping[str, int], errors: Sequence[Mapping[str, str]] = ()) -> BatchJob:
    told = {word: counts.get(word, 0) for word in ("pending", "running", "completed", "failed", "cancelled")}
    return BatchJob(
        **work_of(batch),
        status=_status(batch, counts),
        updated_at=batch.updated_at,
        created_by_id=batch.user_id or None,
        last_updated_by_id=batch.user_id or None,
        metadata={"request_count": batch.request_count, "counts": told, "errors": list(errors)},
        background=True,
    )


def _status(batch: Batch, counts: Mapping[str, int]) -> Any:
    if batch.status == BatchStatus.RUNNING:
        return "created" if counts.get("pending") == batch.request_count else "running"
    failed = batch.status == BatchStatus.COMPLETED and counts.get("failed") == batch.request_count
    return "failed" if failed else batch.status
