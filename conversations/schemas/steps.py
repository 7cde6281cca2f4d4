"""Steps on the wire: Step, its metrics, the trace of its model call, and what finds steps."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from agents.schemas.agents import StopReason
from agents.schemas.base import AgentId, Page, ProjectId, Tags, Wire
from conversations.models import Step
from conversations.schemas.base import LongPage
from conversations.schemas.runs import to_ns
from conversations.schemas.usage import (
    CompletionTokensDetails,
    PromptTokensDetails,
    completion_details,
    prompt_details,
)
from providers.usage import Usage

Feedback = Literal["positive", "negative"]
_STOP_REASONS = frozenset(get_args(StopReason))


class StepOut(Wire):
    """Step of the contract, and what it cost. Token counts are null where no model answered."""

    id: str
    origin: str | None = None
    organization_id: str
    provider_id: str | None = None
    run_id: str | None = None
    agent_id: str | None = None
    provider_name: str | None = None
    provider_category: str | None = None
    model: str | None = None
    model_handle: str | None = None
    model_endpoint: str | None = None
    context_window_limit: int | None = None
    completion_tokens: int | None = None
    prompt_tokens: int | None = None
    total_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    stop_reason: str | None = None
    tags: list[str] = Field(default_factory=list)
    tid: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    messages: list[dict[str, Any]] = Field(default_factory=list)
    feedback: Feedback | None = None
    project_id: str | None = None
    error_type: str | None = None
    error_data: dict[str, Any] | None = None
    status: str
    attempt: int = 1
    cost_usd: Decimal | None = None
    price_source: str | None = None
    price_tier: str | None = None
    price_confidence: str | None = None


class StepMetrics(Wire):
    id: str
    organization_id: str
    provider_id: str | None = None
    run_id: str | None = None
    agent_id: str | None = None
    step_start_ns: int | None = None
    llm_request_start_ns: int | None = None
    llm_request_ns: int | None = None
    tool_execution_ns: int | None = None
    step_ns: int | None = None
    base_template_id: str | None = None
    template_id: str | None = None
    project_id: str | None = None


class StepFilters(Wire):
    """`model`: a handle or a model's name. `tags`, `trace_ids`: any of them."""

    agent_id: AgentId | None = None
    model: Annotated[str, Field(max_length=255)] | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    feedback: Feedback | None = None
    has_feedback: bool | None = None
    tags: Tags | None = None
    trace_ids: list[str] | None = None
    project_id: ProjectId | None = None


class StepQuery(StepFilters, Page):
    pass


class RunStepQuery(LongPage):
    pass


TransactionId = Annotated[str, Field(min_length=1, max_length=200)]


class GiveFeedback(Wire):
    """Null takes feedback back; `tags` are left alone where they are not sent."""

    feedback: Feedback | None = None
    tags: Tags | None = None


def step_out(step: Step) -> StepOut:
    """Costs a query where the step's run is not loaded."""
    answered = bool(step.usage)
    usage = Usage(**step.usage)
    return StepOut.model_construct(
        id=step.pk,
        organization_id=step.organization_id,
        provider_id=step.provider_id or None,
        run_id=step.run_id,
        agent_id=step.agent_id,
        provider_name=step.provider_name or None,
        provider_category=step.provider_category or None,
        model=step.model or None,
        model_handle=step.model_handle or None,
        context_window_limit=step.context_window_limit,
        completion_tokens=usage.output if answered else None,
        prompt_tokens=usage.prompt if answered else None,
        total_tokens=usage.total if answered else None,
        cached_input_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        reasoning_tokens=usage.reasoning,
        completion_tokens_details=completion_details(usage),
        prompt_tokens_details=prompt_details(usage),
        stop_reason=step.stop_reason if step.stop_reason in _STOP_REASONS else None,
        tags=step.tags,
        tid=step.tid,
        trace_id=step.run.trace_id or None,
        request_id=step.run.request_id or None,
        messages=[],
        feedback=step.feedback,
        project_id=step.run.project_id,
        error_type=step.error_type,
        error_data=step.error_data,
        status=step.status,
        attempt=step.attempt,
        cost_usd=step.cost_usd,
        price_source=step.price_source or None,
        price_tier=step.price_tier or None,
        price_confidence=step.price_confidence or None,
    )


def step_metrics(step: Step) -> StepMetrics:
    return StepMetrics(
        id=step.pk,
        organization_id=step.organization_id,
        provider_id=step.provider_id or None,
        run_id=step.run_id,
        agent_id=step.agent_id,
        step_start_ns=to_ns(step.started_at),
        llm_request_ns=_ns(step.model_ms),
        tool_execution_ns=_ns(step.tools_ms),
        step_ns=_ns(step.total_ms),
        project_id=step.run.project_id,
    )


def _ns(ms: int | None) -> int | None:
    return None if ms is None else ms * 1_000_000
