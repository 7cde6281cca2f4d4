"""The routes of `/v1` that send messages, and those that follow a run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from django.http import HttpResponse, StreamingHttpResponse
from ninja import Path, Query, Router
from pydantic import BaseModel, Field

from accounts.access import Caller
from accounts.http import ApiRequest
from agents.access import get_agent
from agents.api.answers import JSON, answer, answer_plain
from agents.schemas.agents import AgentState, CompactionSettings
from agents.schemas.base import AgentId
from agents.states import state_of
from conversations import access, actions, preview, sse, steering
from conversations.actions import Send, Started
from conversations.compacting import compact_conversation
from conversations.inputs import (
    AsyncBody,
    ConversationBody,
    SendBody,
    StreamingBody,
    fingerprint,
    options_of,
    otids_key,
    rows_of,
)
from conversations.models import ACTIVE, Conversation, Run
from conversations.schemas.base import ConversationRef
from conversations.schemas.runs import RunId
from conversations.schemas.sending import CompactionResponse, LettaResponse
from conversations.sse import Framing
from conversations.threads import recompile_conversation
from core.errors import BadInput, Gone
from core.http import AwaitedResponse
from streams.publish import kept

agents_router = Router(tags=["messages"])
conversations_router = Router(tags=["messages"])
runs_router = Router(tags=["runs"])

STREAM_HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


class CancelBody(BaseModel):
    run_ids: list[RunId] | None = None


class ResetBody(BaseModel):
    add_default_initial_messages: bool = False


class CompactBody(BaseModel):
    agent_id: AgentId | None = None
    compaction_settings: CompactionSettings | None = None

    def settings(self) -> dict[str, Any] | None:
        """Those that were sent."""
        given = self.compaction_settings
        return None if given is None else given.model_dump(exclude_unset=True)


class ResumeBody(BaseModel):
    """`starting_after`: the `seq_id` of the last frame that was seen."""

    agent_id: AgentId | None = None
    run_id: RunId | None = None
    otid: str | None = None
    starting_after: int = Field(default=0, ge=0)
    include_pings: bool = True
    poll_interval: float | None = None
    batch_size: int | None = None


@agents_router.post("/{agent_id}/messages", response=LettaResponse)
def create_message(request: ApiRequest, agent_id: Path[AgentId], data: StreamingBody) -> HttpResponse:
    """Send to the agent's default conversation. `streaming` answers with an event stream."""
    return _sent(request, access.conversation_ref(request.caller, "default", agent_id), data)


@agents_router.post("/{agent_id}/messages/stream", response=LettaResponse)
def stream_message(request: ApiRequest, agent_id: Path[AgentId], data: ConversationBody) -> HttpResponse:
    """Send, and answer with an event stream."""
    data = data.model_copy(update={"streaming": True})
    return _sent(request, access.conversation_ref(request.caller, "default", agent_id), data)


@agents_router.post("/{agent_id}/messages/async")
def create_message_async(request: ApiRequest, agent_id: Path[AgentId], data: AsyncBody) -> HttpResponse:
    """Send, and answer at once with the run."""
    send = send_of(request, data, background=True, run_type="send_message_async")
    conversation = access.conversation_ref(request.caller, "default", agent_id)
    started = actions.start_run(request.caller, conversation, send)
    return answer_plain(steering.run_wire(started.run, started.own))


@agents_router.post("/{agent_id}/messages/preview-raw-payload", response=dict[str, Any])
def preview_message(request: ApiRequest, agent_id: Path[AgentId], data: StreamingBody) -> HttpResponse:
    """What the model's vendor would be sent. Nothing is sent, and no run is made."""
    conversation = access.conversation_ref(request.caller, "default", agent_id)
    return answer_plain(preview.request_of(request.caller, conversation, data))


@agents_router.post("/{agent_id}/messages/cancel", response=dict[str, str])
def cancel_message(request: ApiRequest, agent_id: Path[AgentId], data: CancelBody | None = None) -> HttpResponse:
    """Cancel the named runs of the agent, or whatever runs in its default conversation."""
    run_ids = data.run_ids if data else None
    if run_ids:
        runs = [access.get_run(request.caller, run_id, agent_id=agent_id) for run_id in run_ids]
        return answer_plain(actions.cancel_runs(runs))
    return answer_plain(actions.cancel_conversation(access.conversation_ref(request.caller, "default", agent_id)))


@agents_router.patch("/{agent_id}/reset-messages", response=AgentState | None)
def reset_messages(request: ApiRequest, agent_id: Path[AgentId], data: ResetBody | None = None) -> HttpResponse:
    agent = get_agent(request.caller, agent_id)
    actions.reset_messages(agent)
    return answer(state_of(agent, frozenset({"blocks", "tools", "tags"})))


@agents_router.post("/{agent_id}/summarize", response=CompactionResponse)
def compact_agent(request: ApiRequest, agent_id: Path[AgentId], data: CompactBody | None = None) -> HttpResponse:
    """Replace older messages of the default conversation by a summary."""
    conversation = access.conversation_ref(request.caller, "default", agent_id)
    return answer_plain(compact_conversation(request.caller, conversation, data.settings() if data else None))


@conversations_router.post("/{conversation_id}/messages", response=LettaResponse)
def create_conversation_message(
    request: ApiRequest, conversation_id: Path[ConversationRef], data: ConversationBody
) -> HttpResponse:
    """Send to a conversation. Answers with an event stream, or with JSON where `streaming` is false."""
    conversation = access.conversation_ref(request.caller, conversation_id, data.agent_id)
    return _sent(request, conversation, data, run_type="send_conversation_message")


@conversations_router.post("/{conversation_id}/messages/preview-raw-payload", response=dict[str, Any])
def preview_conversation_message(
    request: ApiRequest, conversation_id: Path[ConversationRef], data: ConversationBody
) -> HttpResponse:
    """What the model's vendor would be sent. Nothing is sent, and no run is made."""
    conversation = access.conversation_ref(request.caller, conversation_id, data.agent_id)
    return answer_plain(preview.request_of(request.caller, conversation, data))


@conversations_router.post("/{conversation_id}/stream", response=LettaResponse)
def resume_conversation(
    request: ApiRequest, conversation_id: Path[ConversationRef], data: ResumeBody | None = None
) -> HttpResponse:
    """Follow the run named by `run_id`, the one that a message with `otid` started, or the one that is active."""
    data = data or ResumeBody()
    return _resumed(_run_to_resume(request.caller, conversation_id, data), data)


@conversations_router.post("/{conversation_id}/compact", response=CompactionResponse)
def compact(
    request: ApiRequest, conversation_id: Path[ConversationRef], data: CompactBody | None = None
) -> HttpResponse:
    data = data or CompactBody()
    conversation = access.conversation_ref(request.caller, conversation_id, data.agent_id)
    return answer_plain(compact_conversation(request.caller, conversation, data.settings()))


@conversations_router.post("/{conversation_id}/recompile", response=str)
def recompile(
    request: ApiRequest,
    conversation_id: Path[ConversationRef],
    dry_run: Query[bool] = False,
    data: CompactBody | None = None,
) -> HttpResponse:
    """The conversation's system message, compiled anew; stored unless `dry_run`."""
    conversation = access.conversation_ref(request.caller, conversation_id, data.agent_id if data else None)
    return answer_plain(recompile_conversation(conversation, conversation.agent, dry_run=dry_run))


@runs_router.post("/{run_id}/stream", response=LettaResponse)
def resume_run(request: ApiRequest, run_id: Path[RunId], data: ResumeBody | None = None) -> HttpResponse:
    """Follow a background run behind the frame `starting_after`."""
    return _resumed(steering.answering(access.get_run(request.caller, run_id)), data or ResumeBody())


def _sent(
    request: ApiRequest, conversation: Conversation, data: StreamingBody, run_type: str = "send_message"
) -> HttpResponse:
    send = send_of(request, data, background=data.background, run_type=run_type)
    started = actions.start_run(request.caller, conversation, send)
    limits = started.passed.headers
    if data.streaming:
        framing = sse.framing_of(started.own or started.run, pings=data.include_pings)
        framing = replace(framing, run_id=started.run.pk)
        return AwaitedResponse(partial(_stream, framing, headers=limits, own=started.own))
    return AwaitedResponse(partial(_drained, started))


async def _drained(started: Started) -> HttpResponse:
    answered = await steering.drain(started.run, started.own)
    headers = started.passed.headers | answered.headers
    return HttpResponse(orjson.dumps(answered.body), status=answered.status, content_type=JSON, headers=headers)


async def _stream(
    framing: Framing, after: int = 0, headers: dict[str, str] | None = None, own: Run | None = None
) -> StreamingHttpResponse:
    frames = sse.frames(framing, after) if own is None else steering.frames(framing, own)
    headers = STREAM_HEADERS | (headers or {})
    return StreamingHttpResponse(frames, content_type="text/event-stream; charset=utf-8", headers=headers)


def send_of(request: ApiRequest, data: SendBody, *, background: bool, run_type: str) -> Send:
    """The request as an action wants it. `Idempotency-Key` counts before the otids of the messages."""
    headers = request.headers
    given = headers.get("Idempotency-Key")
    key = hashlib.sha256(given.encode()).hexdigest() if given else otids_key(data)
    return Send(
        rows=rows_of(data),
        options=options_of(data),
        background=background,
        run_type=run_type,
        idempotency_key=key,
        request_hash=fingerprint(data) if key else "",
        request_id=headers.get("x-api-request-log-id", "")[:200],
        billing={
            name: headers[f"X-Billing-{header}"]
            for name, header in (
                ("plan_type", "Plan-Type"),
                ("cost_source", "Cost-Source"),
                ("customer_id", "Customer-Id"),
            )
            if f"X-Billing-{header}" in headers
        },
        callback_url=getattr(data, "callback_url", None),
        when_busy=data.when_busy,
    )


def _run_to_resume(caller: Caller, conversation_id: str, data: ResumeBody) -> Run:
    if data.run_id:
        return access.get_run(caller, data.run_id)
    conversation = access.conversation_ref(caller, conversation_id, data.agent_id)
    runs = Run.objects.filter(conversation=conversation).order_by("-created_at")
    if data.otid:
        run = runs.filter(input__contains=[{"otid": data.otid}]).first()
    else:
        run = runs.filter(status__in=ACTIVE).order_by("waits_turn", "-created_at").first()
    if run is None:
        raise BadInput("No active runs found for this conversation.")
    return steering.answering(run)


def _resumed(run: Run, data: ResumeBody) -> HttpResponse:
    if not run.background:
        raise BadInput("This run was not started in the background (background=true): its stream cannot be resumed.")
    if run.status not in ACTIVE and not kept(run.pk):
        raise Gone("The events of this run are no longer kept. Read its messages instead.")
    return AwaitedResponse(partial(_stream, sse.framing_of(run, pings=data.include_pings), data.starting_after))
