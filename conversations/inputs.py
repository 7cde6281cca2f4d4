"""What a caller may send: the bodies of every message-sending route, and the rows that they become."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agents.tools.arguments import clean_all
from conversations import images
from conversations.schemas.base import MessageType
from core.errors import BadInput
from core.ids import new_id

WhenBusy = Literal["reject", "queue", "steer"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")


class TextContent(_Body):
    type: Literal["text"]
    text: str
    signature: str | None = None


class Base64Image(_Body):
    type: Literal["base64"]
    media_type: str
    data: str
    detail: str | None = None


class UrlImage(_Body):
    """Fetched when it is sent; a `data:` URL is taken too."""

    type: Literal["url"]
    url: str = Field(min_length=1)


class ImageContent(_Body):
    type: Literal["image"]
    source: Annotated[Base64Image | UrlImage, Field(discriminator="type")]


Content = str | list[Annotated[TextContent | ImageContent, Field(discriminator="type")]]


class MessageCreate(_Body):
    type: Literal["message"] = "message"
    role: Literal["user", "system", "assistant"]
    content: Content
    name: str | None = Field(default=None, max_length=200)
    otid: str | None = Field(default=None, max_length=200)
    sender_id: str | None = Field(default=None, max_length=60)
    group_id: str | None = Field(default=None, max_length=60)


class ApprovalReturn(_Body):
    """`edited_arguments`: the call is made with these in the place of the model's."""

    type: Literal["approval"] = "approval"
    tool_call_id: str
    approve: bool
    reason: str | None = None
    edited_arguments: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _edited_is_approved(self) -> ApprovalReturn:
        if self.edited_arguments is not None and not self.approve:
            raise ValueError("edited_arguments needs approve=true: a call that is denied is not made")
        return self


class ClientToolReturn(_Body):
    type: Literal["tool"] = "tool"
    tool_call_id: str
    tool_return: str | list[TextContent]
    status: Literal["success", "error"] = "success"
    stdout: list[str] | None = None
    stderr: list[str] | None = None


def _told_kind(value: Any) -> Any:
    """An item of `approvals` without a type is an approval where it approves or denies, else a tool's return."""
    if isinstance(value, dict) and "type" not in value:
        return {**value, "type": "approval" if "approve" in value else "tool"}
    return value


Approval = Annotated[
    Annotated[ApprovalReturn | ClientToolReturn, Field(discriminator="type")], BeforeValidator(_told_kind)
]


class ApprovalCreate(_Body):
    """The old form, `approve` with `approval_request_id`, answers every call that waits."""

    type: Literal["approval"] = "approval"
    approvals: list[Approval] | None = None
    approve: bool | None = None
    approval_request_id: str | None = None
    reason: str | None = None
    otid: str | None = Field(default=None, max_length=200)
    group_id: str | None = None


class ToolReturnCreate(_Body):
    type: Literal["tool_return"] = "tool_return"
    tool_returns: list[ClientToolReturn] = Field(min_length=1)
    otid: str | None = Field(default=None, max_length=200)
    group_id: str | None = None


def _message_kind(value: Any) -> Any:
    if not isinstance(value, dict) or value.get("type"):
        return value
    approves = any(key in value for key in ("approvals", "approve", "approval_request_id"))
    return {**value, "type": "approval" if approves else "message"}


Sent = Annotated[
    Annotated[MessageCreate | ApprovalCreate | ToolReturnCreate, Field(discriminator="type")],
    BeforeValidator(_message_kind),
]


class ClientTool(_Body):
    name: str = Field(min_length=1, max_length=100)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ClientSkill(_Body):
    """A skill that the client has; the model is told where it is, and reads it with the client's own tools."""

    name: str = Field(min_length=1, max_length=200)
    description: str = Field(max_length=10_000)
    location: str = Field(max_length=2083)


class SendBody(_Body):
    """Fields that every sending route has. Exactly one of `messages` and `input`."""

    messages: list[Sent] | None = None
    input: Content | None = None
    max_steps: int = Field(default=50, ge=1, le=1000)
    include_return_message_types: list[MessageType] | None = None
    client_tools: list[ClientTool] | None = None
    client_skills: list[ClientSkill] | None = Field(default=None, max_length=500)
    override_model: str | None = None
    override_system: str | None = None
    include_compaction_messages: bool = False
    return_logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    return_token_ids: bool = False
    use_assistant_message: bool = True
    assistant_message_tool_name: str = "send_message"
    assistant_message_tool_kwarg: str = "message"
    when_busy: WhenBusy = Field(
        default="reject",
        description="Where a turn runs: 409, a run that begins when those before it have ended, or a part of that turn",
    )

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        return clean_all(value)

    @model_validator(mode="after")
    def _one_source(self) -> SendBody:
        if (self.messages is None) == (self.input is None):
            raise ValueError("give exactly one of 'input' and 'messages'")
        if self.messages is not None and not self.messages:
            raise ValueError("'messages' is empty: give at least one")
        return self


class StreamingBody(SendBody):
    streaming: bool = False
    stream_tokens: bool = False
    include_pings: bool = True
    background: bool = False

    @model_validator(mode="after")
    def _streaming_flags(self) -> StreamingBody:
        asked = [
            name
            for name, given in (
                ("stream_tokens", self.stream_tokens),
                ("background", self.background),
                ("include_pings=false", not self.include_pings),
            )
            if given
        ]
        if asked and not self.streaming:
            raise ValueError(f"{', '.join(asked)} needs streaming=true: set it, or leave the option out")
        return self


class ConversationBody(StreamingBody):
    streaming: bool = True
    agent_id: str | None = None


class AsyncBody(SendBody):
    callback_url: str | None = Field(default=None, max_length=2083)


def options_of(body: SendBody) -> dict[str, Any]:
    """The request without its messages: what the run remembers of it."""
    return body.model_dump(
        exclude={"messages", "input", "agent_id", "callback_url", "when_busy"}, exclude_defaults=True
    )


def rows_of(body: SendBody) -> list[dict[str, Any]]:
    """The messages as the columns they will be stored in, but for images that are yet to be fetched (`images.loaded`).
    Their ids are given here, so that a retry keeps them."""
    sent = body.messages or [MessageCreate(role="user", content=body.input or "")]
    rows = [_row(each) for each in sent]
    images.check(rows)
    return rows


def _row(sent: MessageCreate | ApprovalCreate | ToolReturnCreate) -> dict[str, Any]:
    if isinstance(sent, MessageCreate):
        return _message(sent)
    row: dict[str, Any] = {"id": new_id("message"), "role": "approval", "content": [], "otid": sent.otid, "name": None}
    row |= {"sender_id": None, "group_id": None}
    if isinstance(sent, ToolReturnCreate):
        return row | {"approvals": [_tool_return(item) for item in sent.tool_returns]}
    if sent.approvals is not None:
        return row | {
            "approvals": [
                _tool_return(item) if isinstance(item, ClientToolReturn) else _approval(item) for item in sent.approvals
            ]
        }
    if sent.approve is None:
        raise BadInput("An approval needs 'approvals', or 'approve' with 'approval_request_id'.")
    whole = {"type": "all", "approve": sent.approve, "reason": sent.reason, "request_id": sent.approval_request_id}
    return row | {"approvals": [whole]}


def _approval(item: ApprovalReturn) -> dict[str, Any]:
    return item.model_dump(exclude={"edited_arguments"} if item.edited_arguments is None else None)


def _tool_return(item: ClientToolReturn) -> dict[str, Any]:
    found = item.model_dump()
    if not isinstance(item.tool_return, str):
        found["tool_return"] = "".join(part.text for part in item.tool_return)
    return found


def _message(sent: MessageCreate) -> dict[str, Any]:
    message_id = new_id("message")
    return {
        "id": message_id,
        "role": sent.role,
        "content": parts_of(sent.content),
        "name": sent.name,
        "otid": sent.otid or new_id("message")[-36:],
        "sender_id": sent.sender_id,
        "group_id": sent.group_id,
    }


def parts_of(content: Content) -> list[dict[str, Any]]:
    """As stored: see `conversations.models.Message`."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_image(part.source) if isinstance(part, ImageContent) else _text(part) for part in content]


def _text(part: TextContent) -> dict[str, Any]:
    return {"type": "text", "text": part.text}


def _image(source: Base64Image | UrlImage) -> dict[str, Any]:
    if isinstance(source, UrlImage):
        return images.linked(source.url)
    if source.media_type not in images.TYPES:
        raise BadInput(f"'{source.media_type}' is not an image type that models take: {', '.join(images.TYPES)}.")
    return images.inline(source.data, source.detail)


def otids_key(body: SendBody) -> str | None:
    """One key for the given otids, so that the same send, repeated, is known again."""
    given = [sent.otid for sent in body.messages or () if sent.otid]
    return hashlib.sha256("|".join(given).encode()).hexdigest()[:32] if given else None


def fingerprint(body: SendBody) -> str:
    """Equal for equal requests: a key that comes back with another request is a mistake of its sender."""
    return hashlib.sha256(orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()
