"""Messages on the wire: the union LettaMessage, which `conversations.wire` makes, and what finds messages.

The models say what an answer looks like; a page is written without them, since checking our own shapes a second time
would cost more than making them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.sandbox.base import Outcome
from agents.schemas.base import ConversationId, Wire
from agents.tools.execute import DEFAULT_LIMIT, limit_return
from agents.tools.source_runs import printed, told
from conversations.schemas.base import ConversationRef, LongPage, MessageType
from conversations.wire import View
from core.ids import new_id
from core.pagination import Cursor, Order
from core.time import now

OUTSIDE = "none"  # the id of a call that no model made
Name = Annotated[str, Field(max_length=200)]


class _Message(Wire):
    """One stored message may give several of these, with one `id`; `otid` tells them apart."""

    id: str
    date: datetime
    name: str | None = None
    otid: str | None = None
    sender_id: str | None = None
    step_id: str | None = None
    is_err: bool | None = None
    seq_id: int | None = None
    run_id: str | None = None


class TextPart(Wire):
    type: Literal["text"] = "text"
    text: str
    signature: str | None = None


class ImagePart(Wire):
    type: Literal["image"] = "image"
    source: dict[str, Any]


class ToolCallOut(Wire):
    name: str
    arguments: str
    tool_call_id: str


class ToolReturnOut(Wire):
    type: Literal["tool"] = "tool"
    tool_return: str
    status: Literal["success", "error"]
    tool_call_id: str
    stdout: list[str] | None = None
    stderr: list[str] | None = None


class SystemMessage(_Message):
    message_type: Literal["system_message"]
    content: str


class UserMessage(_Message):
    message_type: Literal["user_message"]
    content: str | list[TextPart | ImagePart]


class AssistantMessage(_Message):
    message_type: Literal["assistant_message"]
    content: str | list[TextPart]


class ReasoningMessage(_Message):
    message_type: Literal["reasoning_message"]
    source: Literal["reasoner_model", "non_reasoner_model"]
    reasoning: str
    signature: str | None = None


class HiddenReasoningMessage(_Message):
    message_type: Literal["hidden_reasoning_message"]
    state: Literal["redacted", "omitted"]
    hidden_reasoning: str | None = None


class ToolCallMessage(_Message):
    message_type: Literal["tool_call_message"]
    tool_call: ToolCallOut
    tool_calls: list[ToolCallOut]


class ToolReturnMessage(_Message):
    message_type: Literal["tool_return_message"]
    tool_return: str
    status: Literal["success", "error"]
    tool_call_id: str
    stdout: list[str] | None = None
    stderr: list[str] | None = None
    tool_returns: list[ToolReturnOut]


def tool_run_out(outcome: Outcome) -> ToolReturnMessage:
    """Of a tool that was run outside any conversation."""
    at, text = now(), limit_return(told(outcome), DEFAULT_LIMIT)
    out, err = printed(outcome)
    status: Literal["success", "error"] = "error" if outcome.failure else "success"
    one = ToolReturnOut(tool_return=text, status=status, tool_call_id=OUTSIDE, stdout=out, stderr=err)
    shared = one.model_dump(exclude={"type"})
    return ToolReturnMessage(
        id=new_id("message"), date=at, message_type="tool_return_message", tool_returns=[one], **shared
    )


class ApprovalRequestMessage(_Message):
    """`expires_at`: where nobody has answered by then, the calls are denied. Left out of one that waits for ever."""

    message_type: Literal["approval_request_message"]
    tool_call: ToolCallOut
    tool_calls: list[ToolCallOut]
    expires_at: datetime | None = None


class ApprovalResponseMessage(_Message):
    message_type: Literal["approval_response_message"]
    approvals: list[dict[str, Any]] | None = None
    approve: bool | None = None
    approval_request_id: str | None = None
    reason: str | None = None


class SummaryMessage(_Message):
    message_type: Literal["summary_message"]
    summary: str
    compaction_stats: dict[str, Any] | None = None


class EventMessage(_Message):
    """Only in streams, and only where `include_compaction_messages` asks for it."""

    message_type: Literal["event_message"]
    event_type: Literal["compaction"]
    event_data: dict[str, Any]


MessageOut = Annotated[
    SystemMessage
    | UserMessage
    | AssistantMessage
    | ReasoningMessage
    | HiddenReasoningMessage
    | ToolCallMessage
    | ToolReturnMessage
    | ApprovalRequestMessage
    | ApprovalResponseMessage
    | SummaryMessage
    | EventMessage,
    Field(discriminator="message_type"),
]


class MessageQuery(LongPage):
    """`limit` counts stored messages, as on the retired server: a page holds whole ones, so it may have more items
    than `limit`, and fewer where `include_return_message_types` leaves some out."""

    include_return_message_types: list[MessageType] | None = None

    def newest_last(self) -> bool:
        """Whether the page, read newest first, is turned round."""
        return False

    def view(self) -> View:
        return View(include=_set(self.include_return_message_types), compaction_messages=self._wants_summaries())

    def _wants_summaries(self) -> bool:
        """Summaries come as user messages, unless a caller names their type."""
        return "summary_message" in (self.include_return_message_types or ())


class ConversationMessageQuery(MessageQuery):
    """Newest first. `agent_id` goes with the conversation `default`."""

    agent_id: str | None = None
    group_id: str | None = None
    include_err: bool | None = None


class _Chronological(MessageQuery):
    """Without `order`, as the retired server did it: the newest messages, the oldest of them first. A cursor then goes
    by time: `before` an id the messages just before it, `after` an id those just after it."""

    order: Order | None = None  # type: ignore[assignment]

    def cursor(self) -> Cursor:
        order = self.order or ("asc" if self.before or self.after else "desc")
        return Cursor(before=self.before, after=self.after, limit=self.limit or 100, order=order)

    def newest_last(self) -> bool:
        return self.order is None and not (self.before or self.after)


class AgentMessageQuery(_Chronological):
    conversation_id: ConversationRef | None = None
    group_id: str | None = None
    include_err: bool | None = None
    use_assistant_message: bool = True
    assistant_message_tool_name: Name = "send_message"
    assistant_message_tool_kwarg: Name = "message"

    def view(self) -> View:
        return replace(
            super().view(),
            use_assistant_message=self.use_assistant_message,
            assistant_tool=self.assistant_message_tool_name,
            assistant_kwarg=self.assistant_message_tool_kwarg,
        )


class AllMessageQuery(_Chronological):
    """Of all conversations of the organization."""

    conversation_id: ConversationId | None = None


class TurnMessageQuery(MessageQuery):
    """Of a run or a step, the oldest first."""

    order: Order = "asc"


def _set(types: list[MessageType] | None) -> frozenset[str] | None:
    return None if types is None else frozenset(types)
