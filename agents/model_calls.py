"""Every call to a model, wrapped once: retried, timed, priced and traced."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings

from agents import circuits, ledger, spending
from agents.failover import StandBy, note_turning
from agents.ledger import LISTED_TERMS, UNBILLED, price_call
from agents.spending import CostOf, Held
from core.db import release_connection
from core.time import now
from providers import embeddings, pricing, usage_extract
from providers.clients.base import client_for
from providers.errors import ProviderError
from providers.events import Finished, ModelEvent
from providers.resolve import Asker, ResolvedModel, note_use, resolve, stand_in
from providers.types import ModelRequest
from providers.usage import Usage
from providers.use import note_stand_in
from telemetry.recorder import recorder
from telemetry.spool import OpenCall
from telemetry.trace import NOT_BILLED, UNPRICED, CallEnd, CallStart

BACKOFF_S = 0.5
MAX_BACKOFF_S = 20.0
BYTES_PER_TOKEN = 4


class Abandoned(Exception):
    """The caller no longer wants the answer: the run was cancelled, or its lease was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """On whose behalf a model is called: what a trace says of it."""

    organization_id: str
    call_type: str
    project_id: str = ""
    agent_id: str = ""
    agent_tags: tuple[str, ...] = ()
    conversation_id: str = ""
    run_id: str = ""
    step_id: str = ""
    trace_id: str = ""
    identity_id: str = ""
    api_key_id: str = ""
    billing: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a call cost in the end: of the last attempt, which is the one that answered or gave up.

    `earlier_…`: of the attempts before it. Most cost nothing; one whose answer broke off before it was shown does.
    """

    call_id: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal | None = None
    price_source: str = ""
    model_ms: int = 0
    ttft_ms: int | None = None
    first_event_at: datetime | None = None
    price: pricing.Price | None = None
    terms: usage_extract.Terms = LISTED_TERMS
    reported_total: int | None = None
    logprobs: list[dict[str, Any]] | None = None
    token_ids: list[int] | None = None
    earlier_usage: Usage = field(default_factory=Usage)
    earlier_cost_usd: Decimal | None = None

    @property
    def all_usage(self) -> Usage:
        return self.earlier_usage + self.usage

    @property
    def all_cost_usd(self) -> Decimal | None:
        """None where nothing is known of any."""
        costs = [cost for cost in (self.earlier_cost_usd, self.cost_usd) if cost is not None]
        return sum(costs, Decimal(0)) if costs else None

    def after(self, call_id: str) -> Outcome:
        """That of the next attempt."""
        return Outcome(call_id=call_id, earlier_usage=self.all_usage, earlier_cost_usd=self.all_cost_usd)

    def charge(self, price: pricing.Price) -> None:
        self.price, self.cost_usd, self.price_source = price, price.cost_usd, price.source


class ModelCall:
    """One wanted answer of a model, with as many attempts as it takes.

    `fallbacks`: handles of the models that are asked, in this order, when `target` is overloaded, limited or out.
    """

    def __init__(
        self,
        target: ResolvedModel,
        request: ModelRequest,
        context: CallContext,
        abandoned: Callable[[], bool] = bool,
        fallbacks: Sequence[str] = (),
    ) -> None:
        self.target = target
        self.request = request
        self.context = context
        self.outcome = Outcome()
        self._abandoned = abandoned
        asker = Asker(context.organization_id, context.project_id, context.identity_id)
        self._stand_by = StandBy(asker, fallbacks)
        self._wanted_output = request.max_output_tokens
        self._estimated = 0
        self._at = now()
        self._held = Held()

    def events(self) -> Iterator[ModelEvent]:
        """The events of the attempt that answers. Raises ProviderError, Abandoned."""
        attempt = tries = 0
        if (first := self._stand_by.instead_of(self.target)) is not None:
            self._turn_to(first)
        while True:
            attempt, tries, shown = attempt + 1, tries + 1, False
            try:
                for event in self._attempt(attempt):
                    shown = True
                    yield event
                circuits.note(self.target, None)
                return
            except ProviderError as error:
                circuits.note(self.target, error)
                if shown:
                    raise
                if error.retryable and tries < settings.MODEL_MAX_ATTEMPTS:
                    self._wait(tries, error.retry_after)
                    continue
                other = next_key(self.target, error) or self._next_model(error)
                if other is None:
                    raise
                self.target, tries = other, 0

    def _next_model(self, error: ProviderError) -> ResolvedModel | None:
        other = self._stand_by.after(self.target, error)
        if other is not None:
            self._turn_to(other)
        return other

    def _turn_to(self, other: ResolvedModel) -> None:
        wanted, most = self._wanted_output, other.info.max_output_tokens
        fitting = min(wanted, most) if wanted and most else wanted
        self.request = replace(self.request, model=other.model, max_output_tokens=fitting)
        self.target = other

    def _attempt(self, attempt: int) -> Iterator[ModelEvent]:
        client = client_for(self.target.credential, tool_mode=self.target.info.tool_mode)
        body = client.request_body(self.request)
        start = call_start(self.target, self.context, attempt, body, self.request)
        self._estimated, self._at = start.estimated_prompt_tokens, start.created_at
        cost_of = _cost_of(self.target, self.context)
        self._held = spending.hold(start, self.request.max_output_tokens, cost_of)
        release_connection()
        trace: OpenCall | None = recorder().begin(start)
        self.outcome = self.outcome.after(start.id)  # not before: a step names no call that has no trace
        clock = time.perf_counter()
        seen = 0
        try:
            for event in client.stream(self.request):
                if not seen:
                    self.outcome.ttft_ms = _ms_since(clock)
                    self.outcome.first_event_at = now()
                seen += 1
                if isinstance(event, Finished):
                    self._settle(trace, event, clock)
                    trace = None
                elif self._abandoned():
                    raise Abandoned
                yield event
        except ProviderError as error:
            self._fail(trace, clock, error.error_type, error, seen)
            trace = None
            raise
        finally:
            if trace is not None:  # the consumer stopped listening, or our own code failed
                self._fail(trace, clock, "cancelled", None, seen)
            spending.settle(self._held, self.outcome, billed=self.outcome.price_source != NOT_BILLED)

    def _settle(self, trace: OpenCall | None, answer: Finished, clock: float) -> None:
        outcome = self.outcome
        outcome.model_ms = _ms_since(clock)
        outcome.usage = answer.usage
        outcome.terms = usage_extract.terms(self.target.credential.provider_type, answer.response)
        outcome.logprobs, outcome.token_ids = answer.logprobs, answer.token_ids
        outcome.reported_total = ledger.reported_total(self.target, answer.usage, answer.response)
        outcome.charge(self._price(answer.usage))
        if trace is not None:  # first of all: what follows may fail
            response = orjson.dumps(answer.response)
            trace.finish(call_end(outcome, response_json=response, finish_reason=answer.finish_reason))
        spending.settle(self._held, outcome, billed=True)
        self._note_use(None)

    def _note_use(self, error: ProviderError | None) -> None:
        target = self.target
        if target.provider_id is not None:
            note_use(target.provider_id, error, target.client, is_previous=target.is_previous_key)

    def _price(self, usage: Usage) -> pricing.Price:
        return price_call(self.target, usage, self.context.organization_id, self.outcome.terms, self._at)

    def _fail(
        self, trace: OpenCall | None, clock: float, error_type: str, error: ProviderError | None, seen: int
    ) -> None:
        if trace is None:
            return
        outcome = self.outcome
        outcome.model_ms = _ms_since(clock)
        if error is not None and not seen and error.usage is None:  # it never began to answer: vendors do not bill that
            outcome.charge(UNBILLED)
        else:  # it was working on it and will be paid for it, so it is counted, and marked as a guess
            outcome.usage = (error and error.usage) or Usage(input=self._estimated, output=seen, estimated=True)
            outcome.charge(self._price(outcome.usage))
        message = error.message if error else "The caller stopped listening."
        trace.finish(failed_end(outcome, error_type, message))
        if error is not None:
            self._note_use(error)

    def _wait(self, attempt: int, retry_after: float | None) -> None:
        pause = retry_after if retry_after is not None else BACKOFF_S * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311
        deadline = time.monotonic() + min(pause, MAX_BACKOFF_S)
        release_connection()
        while (left := deadline - time.monotonic()) > 0:
            if self._abandoned():
                raise Abandoned
            time.sleep(min(left, 0.1))


def embed_texts(texts: Sequence[str], *, handle: str, context: CallContext) -> list[list[float]]:
    """One vector per text. Raises ProviderError, core.errors.AppError."""
    target = resolve(context.organization_id, handle, context.project_id, context.identity_id)
    body = orjson.dumps({"model": target.model, "input": list(texts)})
    attempt = 1
    while True:
        try:
            with _traced(target, context, body, attempt) as outcome:
                answer = embeddings.embed(list(texts), credential=target.credential, model=target.model)
                outcome.usage = answer.usage
            note_use(target.provider_id, is_previous=target.is_previous_key)
            return answer.vectors
        except ProviderError as error:
            note_use(target.provider_id, error, is_previous=target.is_previous_key)
            other = next_key(target, error)
            if other is None:
                raise
            target, attempt = other, attempt + 1


def next_key(target: ResolvedModel, error: ProviderError) -> ResolvedModel | None:
    """Whose key a call that failed is made with next, by the organization's rule; None: it has failed."""
    other = stand_in(target, error)
    if other is None:
        return None
    if other.is_previous_key and other.provider_id:
        note_stand_in(other.provider_id, error)
    else:
        note_turning(target, error, other)
    return other


@contextmanager
def _traced(target: ResolvedModel, context: CallContext, body: bytes, attempt: int) -> Iterator[Outcome]:
    """A call that is not streamed, as one trace."""
    start = call_start(target, context, attempt, body, None)
    held = spending.hold(start, None, _cost_of(target, context))
    trace = recorder().begin(start)
    outcome = Outcome(call_id=start.id)
    release_connection()
    clock = time.perf_counter()
    try:
        yield outcome
    except ProviderError as error:
        outcome.model_ms = _ms_since(clock)
        outcome.charge(UNBILLED)
        trace.finish(failed_end(outcome, error.error_type, error.message))
        spending.settle(held, outcome, billed=False)
        raise
    except BaseException:  # our own code failed, or the worker is told to stop: what was sent may have to be paid
        outcome.model_ms = _ms_since(clock)
        outcome.usage = Usage(input=start.estimated_prompt_tokens, estimated=True)
        outcome.charge(price_call(target, outcome.usage, context.organization_id, at=start.created_at))
        trace.finish(failed_end(outcome, "cancelled", "The caller stopped listening."))
        spending.settle(held, outcome, billed=True)
        raise
    outcome.model_ms = _ms_since(clock)
    outcome.charge(price_call(target, outcome.usage, context.organization_id, at=start.created_at))
    trace.finish(call_end(outcome, response_json=b"{}"))
    spending.settle(held, outcome, billed=True)


def failed_end(outcome: Outcome, error_type: str, message: str) -> CallEnd:
    response = orjson.dumps({"error": message, "error_type": error_type})
    return call_end(outcome, response_json=response, error_type=error_type, error_message=message)


def _cost_of(target: ResolvedModel, context: CallContext) -> CostOf:
    return lambda usage: price_call(target, usage, context.organization_id).cost_usd


def call_start(
    target: ResolvedModel, context: CallContext, attempt: int, body: bytes, request: ModelRequest | None
) -> CallStart:
    config: dict[str, Any] = {
        "model": target.model,
        "handle": target.info.handle,
        "model_endpoint_type": target.credential.provider_type,
        "model_endpoint": target.credential.base_url,
        "provider_name": target.info.provider_name,
        "provider_category": target.category,
        "context_window": target.info.context_window,
    }
    if request is not None:
        config |= {"temperature": request.temperature, "max_tokens": request.max_output_tokens}
    if target.credential.dialect:
        config["dialect"] = target.credential.dialect
    tokens = len(body) // BYTES_PER_TOKEN
    estimate = price_call(target, Usage(input=tokens, estimated=True), context.organization_id)
    return CallStart(
        id=str(uuid.uuid4()),
        organization_id=context.organization_id,
        project_id=context.project_id,
        agent_id=context.agent_id,
        agent_tags=context.agent_tags,
        conversation_id=context.conversation_id,
        run_id=context.run_id,
        step_id=context.step_id,
        trace_id=context.trace_id,
        call_type=context.call_type,
        provider=target.credential.provider_type,
        provider_name=target.info.provider_name,
        provider_category=target.category,
        provider_key_id=target.provider_id or "",
        model=target.model,
        attempt=attempt,
        identity_id=context.identity_id,
        api_key_id=context.api_key_id,
        created_at=now(),
        request_json=body,
        secrets=target.credential.secrets,
        llm_config=config,
        estimated_prompt_tokens=tokens,
        estimated_cost_usd=estimate.cost_usd,
        billing_plan_type=context.billing.get("plan_type", ""),
        billing_cost_source=context.billing.get("cost_source", ""),
        billing_customer_id=context.billing.get("customer_id", ""),
    )


def call_end(outcome: Outcome, **rest: Any) -> CallEnd:
    usage = outcome.usage
    if outcome.price is not None:
        rest |= ledger.price_columns(outcome.price, outcome.terms, usage)
    return CallEnd(
        reported_total_tokens=outcome.reported_total,
        input_tokens=usage.input,
        cache_read_tokens=usage.cache_read,
        cache_write_5m_tokens=usage.cache_write_5m,
        cache_write_1h_tokens=usage.cache_write_1h,
        output_tokens=usage.output,
        reasoning_tokens=usage.reasoning,
        usage_estimated=usage.estimated,
        cost_usd=outcome.cost_usd,
        price_source=outcome.price_source or UNPRICED,
        latency_ms=outcome.model_ms,
        ttft_ms=outcome.ttft_ms,
        **rest,
    )


def _ms_since(clock: float) -> int:
    return round((time.perf_counter() - clock) * 1000)
