"""A step of a batch's run whose model call goes to the vendor's batch API: the run is parked until its answer is there.

A parked run is running, but nobody holds it and no sweep rings for it. Asking and parking are one transaction; so is
letting in and waking (`conversations.batches`). A ring that comes meanwhile parks it again. The answer is read from its
row, as often as the step is done: a worker that dies over it costs the vendor nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import transaction

from agents import batch_calls
from agents.model_calls import ModelCall, Outcome
from conversations.batch_models import BATCH_RUN, BatchItem, ItemStatus
from conversations.commit import write_run
from conversations.models import Run
from conversations.turn import Work, call_context, fallbacks
from conversations.vendor_models import CallState, VendorCall
from core.errors import AppError
from core.time import now, to_ms
from providers import batching, errors, pricing
from providers.clients.base import NATIVE, dialect_of
from providers.clients.batching import Batching
from providers.errors import ContextWindowExceeded, ProviderError, RateLimited, Refused
from providers.events import Finished, ModelEvent
from providers.resolve import ResolvedModel
from providers.types import ModelRequest
from providers.usage import Usage
from telemetry.trace import CallStart

PARKED_FOR = timedelta(hours=30)  # long enough that only a fault of ours can exceed it; then the sweep rings
OFF = "queued"
# What a step can act on by itself; after any other failure it asks once more in the ordinary way, which can do more.
_ANSWERS = (ContextWindowExceeded, Refused)


class Parked(Exception):
    """The step goes on when the vendor has answered."""


class BatchedCall:
    """A call that was made through a batch, as a step sees it: the same as a `ModelCall`."""

    def __init__(self, row: VendorCall, target: ResolvedModel) -> None:
        start = batch_calls.loaded(row.start)
        self.target = _as_called(target, row)
        self.outcome = Outcome(
            call_id=start.id,
            usage=Usage(**(row.usage or {})),
            model_ms=took_ms(row),
        )
        if row.price is not None:
            self.outcome.charge(pricing.Price(cost_usd=row.cost_usd, **row.price))
        self._row = row

    def events(self) -> Iterator[ModelEvent]:
        """Raises ProviderError."""
        if self._row.error is not None:
            raise error_of(self._row)
        answer = finished(self._row)
        self.outcome.logprobs, self.outcome.token_ids = answer.logprobs, answer.token_ids
        yield answer


def waited_for(run: Run) -> bool:
    """Whether the step that is to be done has its model's answer. The step keeps the id it was asked under.

    Raises Parked.
    """
    if run.run_type != BATCH_RUN:
        return False
    call = _last(run)
    if call is None:
        return False
    if call.let_in_at is None:
        _park_again(run, call)
    if not _answers(call):
        return False
    run.current_step_id = call.step_id
    return True


def model_call(work: Work, request: ModelRequest, abandoned: Callable[[], bool]) -> ModelCall | BatchedCall:
    """The step's call: one that is made now, or one that was made by the vendor meanwhile. Raises Parked, AppError."""
    run = work.run
    context = call_context(work, "agent_step")
    if run.run_type == BATCH_RUN:
        call = _last(run)
        if call is not None and _answers(call):
            work.started_at = call.created_at
            if call.error is not None:  # the step may mend it, and ask anew
                VendorCall.objects.filter(pk=call.pk).update(state=CallState.DROPPED)
            return BatchedCall(call, work.target)
        api = _api_of(work.target) if call is None or call.state == CallState.DROPPED else None
        if api is not None and not _is_waited_for(work):
            _ask(work, request, api, attempt=call.attempt + 1 if call else 1)
    return ModelCall(work.target, request, context, abandoned, fallbacks(work.agent, work.conversation))


def _api_of(target: ResolvedModel) -> Batching | None:
    if settings.BATCH_CALLS == OFF or target.is_previous_key or (target.info.tool_mode or NATIVE) != NATIVE:
        return None
    return batching.batching_of(target.credential)


def _is_waited_for(work: Work) -> bool:
    """Whether others wait for the conversation: further requests to the agent, or people. They need not wait a day."""
    if work.conversation.sends_wait:
        return True
    items = BatchItem.objects.filter(organization_id=work.run.organization_id, agent_id=work.run.agent_id)
    return items.filter(status=ItemStatus.WAITING).exists()


def _ask(work: Work, request: ModelRequest, api: Batching, attempt: int) -> NoReturn:
    """Hold what it may cost, keep what is to be sent, park. Raises Parked, LeaseLost, AppError."""
    run, wait = work.run, PARKED_FOR
    body = api.body(request)
    refusal: AppError | None = None
    with transaction.atomic():
        try:
            start, is_held = batch_calls.ask(work.target, request, call_context(work, "agent_step"), body)
            _keep(work, start, body, is_held=is_held, attempt=attempt)
        except RateLimited as error:  # a limit of ours: it is asked again when that helps, the sweep rings then
            wait = timedelta(seconds=error.retry_after or 1)
        except AppError as error:  # raised after the commit: what was counted of the refusal stays
            refusal = error
        if refusal is None:
            _park(run, wait)
    raise refusal or Parked(run.pk)


def _keep(work: Work, start: CallStart, body: bytes, *, is_held: bool, attempt: int) -> None:
    run, target = work.run, work.target
    VendorCall.objects.create(
        id=f"vendor_call-{start.id}",
        organization_id=run.organization_id,
        run=run,
        step_index=run.step_count,
        attempt=attempt,
        step_id=run.current_step_id,
        provider_id=target.provider_id or "",
        provider_name=target.info.provider_name,
        dialect=dialect_of(target.credential),
        model=target.model,
        start=batch_calls.dumped(start),
        is_held=is_held,
        request=body,
        request_bytes=len(body),
        created_at=start.created_at,
    )


def _park_again(run: Run, call: VendorCall) -> None:
    """Raises Parked, unless it was let in just now."""
    with transaction.atomic():
        same = VendorCall.objects.select_for_update().filter(pk=call.pk)
        call.let_in_at = same.values_list("let_in_at", flat=True).get()
        if call.let_in_at is None:
            _park(run, PARKED_FOR)
    if call.let_in_at is None:
        raise Parked(run.pk)
    call.refresh_from_db()


def _park(run: Run, wait: timedelta) -> None:
    parked = {"worker": "", "current_step_id": "", "failures": 0, "lease_expires_at": now() + wait}
    write_run(run, parked)


def _last(run: Run) -> VendorCall | None:
    """Of the step that is to be done."""
    return VendorCall.objects.filter(run=run, step_index=run.step_count).order_by("attempt").last()


def _answers(call: VendorCall) -> bool:
    if call.state == CallState.ANSWERED:
        return True
    return call.state == CallState.FAILED and isinstance(error_of(call), _ANSWERS)


def took_ms(call: VendorCall) -> int:
    """From the asking to the answer, the wait at the vendor and before it included."""
    return max(0, to_ms(call.created_at, call.ended_at or now()))  # two hosts' clocks


def finished(call: VendorCall) -> Finished:
    return batching.read(call.dialect, call.model, bytes(call.response or b""), call.request_bytes)


def error_json(error: ProviderError) -> dict[str, Any]:
    return {"name": type(error).__name__, "message": error.message, "status": error.upstream_status}


def error_of(call: VendorCall) -> ProviderError:
    told = call.error or {}
    kind: type[ProviderError] = getattr(errors, told.get("name", ""), ProviderError)
    return kind(told.get("message", ""), upstream_status=told.get("status"))


def _as_called(target: ResolvedModel, row: VendorCall) -> ResolvedModel:
    """The model that was asked, should the agent have another one by now."""
    start = row.start
    info = replace(target.info, handle=start["llm_config"]["handle"], provider_name=row.provider_name)
    return replace(
        target,
        model=row.model,
        info=info,
        provider_id=row.provider_id or None,
        category=start["provider_category"],
        credential=replace(target.credential, provider_type=start["provider"]),
    )
