"""What became of the calls of a vendor's batch: each is ended, paid and traced once, and its run may go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta

import orjson
from django.db import transaction
from django.db.models import QuerySet

from agents import batch_calls
from agents.model_calls import Outcome
from conversations import doorbell, parking
from conversations.models import ACTIVE
from conversations.vendor_models import CallState, VendorBatch, VendorBatchState, VendorCall
from core.ids import bare_uuid
from core.time import now
from providers import batching
from providers.catalog import describe
from providers.clients.base import Credential
from providers.clients.batching import Batching, BatchState, NotMade, Result
from providers.errors import BadResponse, ProviderError
from providers.resolve import ResolvedModel
from telemetry import queries
from telemetry.client import TelemetryUnavailable
from telemetry.recorder import recorder
from telemetry.trace import CallEnd, CallStart

log = logging.getLogger(__name__)

MOST_A_ROUND = 500
LEFT_BEHIND = timedelta(minutes=10)  # longer than a trace takes to ClickHouse


def collect(batch: VendorBatch, api: Batching, state: BatchState, credential: Credential | None) -> None:
    """The results of a batch that has ended. Whoever died over it before left the rest of them."""
    for result in _readable(api.results(state)):
        call = _given(batch).filter(pk=result.line_id).first()
        if call is not None:
            _end(call, result, _known(call, credential))
    why = NotMade(f"The vendor did not make the call: its batch was {state.word}. {state.message}".strip())
    give_up(batch, why, credential)


def give_up(batch: VendorBatch, why: ProviderError, credential: Credential | None) -> None:
    """The batch has ended; calls that have no answer by now get none of it."""
    for call in _given(batch).iterator():
        _end(call, Result(str(call.pk), error=why), _known(call, credential))
    told = {"error": why.message[:2000]} if batch.vendor_id == "" else {}
    ended = {"state": VendorBatchState.ENDED, "ended_at": now(), "due_at": None, **told}
    VendorBatch.objects.filter(pk=batch.pk).update(**ended)
    doorbell.ring_batches()


def drop_unwanted(batch: VendorBatch | None = None) -> int:
    """Calls that wait, or are in a batch not sent yet, and whose runs have ended: they are not made. How many.

    Answers whose runs have ended wait for nobody, and are emptied with them.
    """
    waiting = VendorCall.objects.filter(state=CallState.WAITING) if batch is None else _given(batch)
    unwanted = waiting.exclude(run__status__in=ACTIVE).defer("request")
    dropped = sum(map(_drop, unwanted.iterator()))
    parked = VendorCall.objects.filter(let_in_at=None, ended_at__isnull=False)
    parked.exclude(run__status__in=ACTIVE).update(let_in_at=now())
    used = VendorCall.objects.filter(response__isnull=False, let_in_at__isnull=False, traced_at__isnull=False)
    used.exclude(run__status__in=ACTIVE).update(response=None)
    return dropped


@transaction.atomic
def _drop(call: VendorCall) -> bool:
    at = now()
    gone = {"ended_at": at, "traced_at": at, "let_in_at": at, "request": b""}
    same = VendorCall.objects.filter(pk=call.pk, state=call.state)
    if not same.update(state=CallState.DROPPED, **gone):
        return False
    if call.is_held:
        batch_calls.release(batch_calls.loaded(call.start))
    return True


def _given(batch: VendorBatch) -> QuerySet[VendorCall]:
    return VendorCall.objects.filter(batch=batch, state=CallState.GIVEN)


def _readable(results: Iterator[Result]) -> Iterator[Result]:
    """A line that makes no sense ends the reading: the calls behind it count as not made."""
    try:
        yield from results
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("The results of a vendor's batch cannot be read: %s: %s", type(error).__name__, error)


def _end(call: VendorCall, result: Result, credential: Credential) -> None:
    """Answer, cost and hold in one transaction; the trace after it, see `trace_left_behind`."""
    call.ended_at = now()
    call.response = orjson.dumps(result.response) if result.response is not None else None
    call.error = parking.error_json(result.error) if result.error else None
    start = batch_calls.loaded(call.start, bytes(call.request), credential.secrets)
    outcome, end = _outcome(call, start, credential)
    call.state = CallState.FAILED if call.error else CallState.ANSWERED
    call.usage, call.cost_usd = asdict(outcome.usage), outcome.cost_usd
    price = outcome.price
    call.price = price and {"source": price.source, "tier": price.tier, "confidence": price.confidence}
    columns = ("ended_at", "response", "error", "state", "usage", "cost_usd", "price")
    with transaction.atomic():
        mine = VendorCall.objects.filter(pk=call.pk, state=CallState.GIVEN)
        if not mine.update(**{name: getattr(call, name) for name in columns}):
            return
        if call.is_held:
            batch_calls.settle(start, outcome, billed=call.error is None)
    _trace(call, start, end)


def _outcome(call: VendorCall, start: CallStart, credential: Credential) -> tuple[Outcome, CallEnd]:
    """By what is stored; an answer that makes no sense is a failure."""
    took = parking.took_ms(call)
    if call.error is None:
        try:
            return batch_calls.answered(_target(call, credential), start, parking.finished(call), took)
        except ProviderError as error:
            call.error = parking.error_json(error)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            bad = BadResponse(f"The provider's answer cannot be read: {type(error).__name__}")
            call.error = parking.error_json(bad)
    return batch_calls.failed(start, parking.error_of(call), took)


def _known(call: VendorCall, credential: Credential | None) -> Credential:
    """What is left of a key that is gone: enough to price by."""
    return credential or Credential(provider_type=call.start["provider"], dialect=call.dialect)


def _target(call: VendorCall, credential: Credential) -> ResolvedModel:
    return ResolvedModel(
        credential=credential,
        model=call.model,
        info=describe(credential.provider_type, call.model),
        provider_id=call.provider_id or None,
        category=call.start["provider_category"],
    )


# Traces


def _trace(call: VendorCall, start: CallStart, end: CallEnd) -> None:
    recorder().record(start, end)
    VendorCall.objects.filter(pk=call.pk).update(traced_at=now(), request=b"")


def trace_left_behind() -> int:
    """Calls whose worker died between their end and their trace: written now, if they were not. How many."""
    left = VendorCall.objects.filter(traced_at=None, ended_at__lt=now() - LEFT_BEHIND).order_by("ended_at")
    written = 0
    for call in left[:MOST_A_ROUND]:
        try:
            is_there = queries.get_trace(str(call.organization_id), bare_uuid(str(call.pk))) is not None
        except TelemetryUnavailable:
            break
        if is_there:
            VendorCall.objects.filter(pk=call.pk).update(traced_at=now(), request=b"")
        else:
            organization_id, name = str(call.organization_id), call.provider_name
            found = batching.credential_of(organization_id, call.provider_id, name, call.dialect)
            credential = _known(call, found)
            start = batch_calls.loaded(call.start, bytes(call.request), credential.secrets)
            _trace(call, start, _outcome(call, start, credential)[1])
            written += 1
    return written
