"""Runs on the wire: Run, its usage and its metrics, and what finds runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.schemas.agents import StopReason
from agents.schemas.base import MAX_INT, AgentId, ProjectId, Wire
from conversations.batch_models import Batch
from conversations.models import Run, RunStatus
from conversations.schemas.base import ConversationRef, LongPage
from core.ids import id_pattern
from core.pagination import Cursor

RunId = Annotated[str, Field(pattern=id_pattern("run"))]
Status = Literal["created", "running", "completed", "failed", "cancelled"]
# The wire knows no waiting: a run that waits for approval has ended its turn, and says so by its stop reason.
STATUSES: dict[str, Status] = {
    RunStatus.QUEUED: "created",
    RunStatus.RUNNING: "running",
    RunStatus.WAITING_APPROVAL: "completed",
    RunStatus.COMPLETED: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}

# Of rows and of the wire by the same names.
_COLUMNS = (
    "id",
    "created_at",
    "completed_at",
    "callback_url",
    "callback_sent_at",
    "callback_status_code",
    "callback_error",
)


class RequestConfig(Wire):
    use_assistant_message: bool = True
    assistant_message_tool_name: str = "send_message"
    assistant_message_tool_kwarg: str = "message"
    include_return_message_types: list[str] | None = None


class Work(Wire):
    """What runs, jobs and batches tell alike."""

    id: str
    created_at: datetime
    completed_at: datetime | None = None
    background: bool | None = None
    stop_reason: str | None = None
    callback_url: str | None = None
    callback_sent_at: datetime | None = None
    callback_status_code: int | None = None
    callback_error: str | None = None
    ttft_ns: int | None = None
    total_duration_ns: int | None = None


class RunOut(Work):
    """Run of the contract, and what it cost. `conversation_id` null: the agent's default conversation."""

    status: Status
    agent_id: str
    conversation_id: str | None = None
    base_template_id: str | None = None
    metadata: dict[str, Any] | None = None
    request_config: RequestConfig | None = None
    cost_usd: Decimal | None = None
    step_count: int = 0


class RunMetrics(Wire):
    id: str
    organization_id: str
    agent_id: str | None = None
    project_id: str | None = None
    run_start_ns: int | None = None
    run_ns: int | None = None
    num_steps: int | None = None
    tools_used: list[str] | None = None
    template_id: str | None = None
    base_template_id: str | None = None


class RunFilters(Wire):
    """`conversation_id`: also `default`, and an agent's id, for default conversations."""

    active: bool = False
    agent_id: AgentId | None = None
    agent_ids: list[AgentId] | None = None
    conversation_id: ConversationRef | None = None
    statuses: list[Status] | None = None
    stop_reason: StopReason | None = None
    background: bool | None = None


class RunQuery(RunFilters, LongPage):
    ascending: bool | None = None

    def cursor(self) -> Cursor:
        found = super().cursor()
        return replace(found, order="asc") if self.ascending else found


class SearchRunQuery(RunQuery):
    """`tools_used`: names or ids, any of them. `duration_value`: nanoseconds. `duration_percentile`: those that took at
    least as long as this share, in percent, of what the other filters find. Runs that go on have no duration."""

    run_id: RunId | None = None
    template_family: str | None = None
    step_count: Annotated[int, Field(ge=0, le=MAX_INT)] | None = None
    step_count_operator: Literal["eq", "gte", "lte"] = "eq"
    tools_used: list[Annotated[str, Field(max_length=100)]] | None = None
    project_id: ProjectId | None = None
    duration_percentile: Annotated[int, Field(ge=0, le=100)] | None = None
    duration_value: Annotated[int, Field(ge=0, le=10**18)] | None = None
    duration_operator: Literal["gt", "lt", "eq"] | None = None
    start_date: datetime | None = None
    end_date: datetime | None = None
    order_by: Literal["created_at", "duration"] = "created_at"  # type: ignore[assignment]


class ActiveRunQuery(Wire):
    agent_id: AgentId | None = None
    background: bool | None = None

    def filters(self) -> RunQuery:
        return RunQuery(active=True, agent_id=self.agent_id, background=self.background)


class TraceQuery(Wire):
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000


def work_of(row: Run | Batch) -> dict[str, Any]:
    """What a run's row and a batch's have alike."""
    found = {name: getattr(row, name) for name in _COLUMNS}
    return found | {"total_duration_ns": _ns_between(row.created_at, row.completed_at)}


def run_out(run: Run) -> RunOut:
    """Costs a query where the run's conversation is not loaded."""
    return RunOut.model_construct(
        **work_of(run),
        status=STATUSES[run.status],
        agent_id=run.agent_id,
        conversation_id=None if run.conversation.is_default else run.conversation_id,
        background=run.background,
        metadata=_metadata(run),
        request_config=_request_config(run.options),
        stop_reason=run.stop_reason,
        ttft_ns=None if run.ttft_ms is None else run.ttft_ms * 1_000_000,
        cost_usd=run.cost_usd,
        step_count=run.step_count,
    )


def run_wire(run: Run) -> dict[str, Any]:
    return run_out(run).model_dump(mode="json")


def run_metrics(run: Run, tools_used: list[str]) -> RunMetrics:
    """`tools_used`: names, where the retired server had ids, so that what a client brought along is there too."""
    return RunMetrics(
        id=run.pk,
        organization_id=run.organization_id,
        agent_id=run.agent_id,
        project_id=run.project_id,
        run_start_ns=to_ns(run.created_at),
        run_ns=_ns_between(run.created_at, run.completed_at),
        num_steps=run.step_count,
        tools_used=tools_used or None,
    )


def to_ns(at: datetime) -> int:
    whole = at.astimezone(UTC).replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + at.microsecond * 1_000


def _ns_between(earlier: datetime, later: datetime | None) -> int | None:
    return None if later is None else max(0, to_ns(later) - to_ns(earlier))


def _metadata(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {"run_type": run.run_type}
    if run.folded_into_id:
        found["folded_into"] = run.folded_into_id
    if run.error:
        found["error"] = {name: run.error.get(name) for name in ("type", "message", "detail")}
    return found


def _request_config(options: dict[str, Any]) -> RequestConfig:
    known = {name: options[name] for name in RequestConfig.model_fields if name in options}
    return RequestConfig.model_construct(**known)
