"""Batches on the wire: what is given in bulk, and how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from agents.schemas.base import AgentId, Wire
from conversations.batch_models import Batch, BatchStatus
from conversations.inputs import SendBody, options_of, rows_of
from conversations.schemas.base import LongPage
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


class BatchJob(Wire):
    """`metadata.counts`: how many requests are pending, running, completed, failed and cancelled. `metadata.errors` (of
    one that is retrieved): why no run was made of some; runs that failed say so themselves."""

    id: str
    status: Literal["created", "running", "completed", "failed", "cancelled", "expired"]
    job_type: Literal["batch"] = "batch"
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    created_by_id: str | None = None
    last_updated_by_id: str | None = None
    stop_reason: str | None = None
    metadata: dict[str, Any]
    background: bool | None = None
    agent_id: str | None = None
    callback_url: str | None = None
    callback_sent_at: datetime | None = None
    callback_status_code: int | None = None
    callback_error: str | None = None
    ttft_ns: int | None = None
    total_duration_ns: int | None = None


class BatchMessages(Wire):
    messages: list[StoredMessage]


class BatchMessageQuery(LongPage):
    agent_id: AgentId | None = None


class BatchQuery(LongPage):
    """Newest first."""


def batch_out(batch: Batch, counts: Mapping[str, int], errors: Sequence[Mapping[str, str]] = ()) -> BatchJob:
    told = {word: counts.get(word, 0) for word in ("pending", "running", "completed", "failed", "cancelled")}
    return BatchJob(
        id=batch.pk,
        status=_status(batch, counts),
        created_at=batch.created_at,
        updated_at=batch.updated_at,
        completed_at=batch.completed_at,
        created_by_id=batch.user_id or None,
        last_updated_by_id=batch.user_id or None,
        metadata={"request_count": batch.request_count, "counts": told, "errors": list(errors)},
        background=True,
        callback_url=batch.callback_url,
        callback_sent_at=batch.callback_sent_at,
        callback_status_code=batch.callback_status_code,
        callback_error=batch.callback_error,
        total_duration_ns=_ns(batch),
    )


def _status(batch: Batch, counts: Mapping[str, int]) -> Any:
    if batch.status == BatchStatus.RUNNING:
        return "created" if counts.get("pending") == batch.request_count else "running"
    failed = batch.status == BatchStatus.COMPLETED and counts.get("failed") == batch.request_count
    return "failed" if failed else batch.status


def _ns(batch: Batch) -> int | None:
    if batch.completed_at is None:
        return None
    return round((batch.completed_at - batch.created_at).total_seconds() * 1_000_000) * 1_000
