"""/v1/messages/batches: sends given in bulk, how they stand, and what became of them."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpResponse
from ninja import Path, Query, Router
from pydantic import Field

from accounts.http import ApiRequest
from agents.api.answers import answer, answer_list, answer_plain
from conversations import access, batches
from conversations.queries import batch_messages
from conversations.schemas.batches import (
    BATCH_ID,
    BatchJob,
    BatchMessageQuery,
    BatchMessages,
    BatchQuery,
    CreateBatch,
    batch_out,
)
from core.pagination import page

router = Router(tags=["messages"])
BatchId = Annotated[str, Field(pattern=BATCH_ID)]


@router.post("/batches", response=BatchJob)
def create_batch(request: ApiRequest, data: CreateBatch) -> HttpResponse:
    """Each request becomes a run of its agent's default conversation, when there is room, behind all other sends."""
    batch = batches.create_batch(request.caller, data)
    return answer(batch_out(batch, {"pending": batch.request_count}))


@router.get("/batches", response=list[BatchJob])
def list_batches(request: ApiRequest, query: Query[BatchQuery]) -> HttpResponse:
    found = page(access.batches_of(request.caller), query.cursor())
    counts = batches.counts_of(found)
    return answer_list(batch_out(batch, counts[batch.pk]) for batch in found)


@router.get("/batches/{batch_id}", response=BatchJob)
def retrieve_batch(request: ApiRequest, batch_id: Path[BatchId]) -> HttpResponse:
    batch = access.get_batch(request.caller, batch_id)
    return answer(batch_out(batch, batches.counts_of([batch])[batch.pk], batches.refusals_of(batch)))


@router.patch("/batches/{batch_id}/cancel", response=BatchJob)
def cancel_batch(request: ApiRequest, batch_id: Path[BatchId]) -> HttpResponse:
    """What has not begun never does, and what runs is cancelled."""
    batch = access.get_batch(request.caller, batch_id)
    batches.cancel_batch(batch, request.caller.actor_id)
    return answer(batch_out(batch, batches.counts_of([batch])[batch.pk]))


@router.get("/batches/{batch_id}/messages", response=BatchMessages)
def list_batch_messages(request: ApiRequest, batch_id: Path[BatchId], query: Query[BatchMessageQuery]) -> HttpResponse:
    """Of its runs, as stored: what was sent and what was answered. Newest first."""
    batch = access.get_batch(request.caller, batch_id)
    return answer_plain({"messages": batch_messages(batch, query)})
