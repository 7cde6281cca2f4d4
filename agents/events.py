"""What happens in a run, event by event; the wire shapes of `/v1` and `/ws` are made from these at the edge.

An event that carries a piece of a message names the message (`message_id`) and the place of the piece's kind within
it (`index`: reasoning 0, text 1, first tool call 2, ... as far as they occur), which is what `otid` is made from.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Event(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunStarted(_Event):
    type: Literal["run_started"] = "run_started"
    run_id: str
    agent_id: str
    conversation_id: str


class StepStarted(_Event):
    type: Literal["step_started"] = "step_started"
    step_id: str
    index: int
    attempt: int = 1


class _Delta(_Event):
    message_id: str
    step_id: str
    index: int
    date: str = Field(description="ISO 8601, whole seconds")


class ReasoningDelta(_Delta):
    type: Literal["reasoning_delta"] = "reasoning_delta"
    text: str
    signature: str | None = None


class HiddenReasoning(_Delta):
    """Thinking that the model kept to itself; `data` is opaque, empty where the vendor gives nothing."""

    type: Literal["hidden_reasoning"] = "hidden_reasoning"
    data: str = ""


class TextDelta(_Delta):
    type: Literal["text_delta"] = "text_delta"
    text: str


class ToolCallDelta(_Delta):
    """The first piece of a call carries its name. `needs_approval`: the run will stop for a human or the client."""

    type: Literal["tool_call_delta"] = "tool_call_delta"
    tool_call_id: str
    name: str | None = None
    arguments: str = ""
    needs_approval: bool = False


class MessageAdded(_Event):
    """A message that is stored now: the columns of `conversations.models.Message`, by name."""

    type: Literal["message_added"] = "message_added"
    message: dict[str, Any]


class CompactionStarted(_Event):
    type: Literal["compaction_started"] = "compaction_started"
    trigger: str
    context_tokens: int
    context_window: int


class Compacted(_Event):
    """`message` is the stored summary; `stats` are the contract's CompactionStats."""

    type: Literal["compacted"] = "compacted"
    message: dict[str, Any]
    stats: dict[str, Any]


class StepEnded(_Event):
    """`logprobs`, `token_ids`: of the answer's tokens, where the caller asked for them and the vendor tells them."""

    type: Literal["step_ended"] = "step_ended"
    step_id: str
    status: Literal["success", "failed", "cancelled"]
    usage: dict[str, Any]
    cost_usd: str | None = None
    logprobs: list[dict[str, Any]] | None = None
    token_ids: list[int] | None = None


class StepLost(_Event):
    """The worker died; what was streamed of this step's message is void, and the step is done again."""

    type: Literal["step_lost"] = "step_lost"
    step_id: str


class RunEnded(_Event):
    """Always the last event. `error`: type, message, detail, status."""

    type: Literal["run_ended"] = "run_ended"
    status: Literal["completed", "failed", "cancelled", "waiting_approval"]
    stop_reason: str
    usage: dict[str, Any]
    step_count: int
    context_tokens: int = 0
    error: dict[str, Any] | None = None


Event = Annotated[
    RunStarted
    | StepStarted
    | ReasoningDelta
    | HiddenReasoning
    | TextDelta
    | ToolCallDelta
    | MessageAdded
    | CompactionStarted
    | Compacted
    | StepEnded
    | StepLost
    | RunEnded,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
