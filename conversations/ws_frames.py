"""The frames of `/ws`, both ways, and the codes it closes with. `docs/websocket.md` shows each with an example."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from conversations.inputs import SendBody, StreamingBody
from core.errors import AppError, Invalid
from core.ids import id_pattern
from providers.errors import ProviderError

PROTOCOL = 1
MAX_FRAME_BYTES = 8 * 1024 * 1024

FrameId = Annotated[str, Field(max_length=200)]
RunId = Annotated[str, Field(pattern=id_pattern("run"))]


class Close(IntEnum):
    TOO_BIG = 1009
    INTERNAL = 1011
    BAD_FRAME = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    SLOW = 4408
    TOO_MANY = 4429


CLOSE_OF_STATUS = {
    401: Close.UNAUTHENTICATED,
    403: Close.FORBIDDEN,
    404: Close.NOT_FOUND,
    422: Close.NOT_FOUND,
    429: Close.TOO_MANY,
}
RETRY_STATUSES = frozenset({409, 429, 502, 503, 504})


class _Command(BaseModel):
    """What a client sends. `id` comes back in the answer."""

    model_config = ConfigDict(extra="forbid")

    id: FrameId | None = None


class SendCommand(SendBody):
    """Start a turn. `stream_tokens`: follow it piece by piece, else in whole messages."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["send"]
    id: FrameId | None = None
    stream_tokens: bool = True
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=200)

    def body(self) -> StreamingBody:
        """The same as the routes of `/v1` take it, where it is a streamed turn in the background."""
        shared = {name: getattr(self, name) for name in SendBody.model_fields}
        return StreamingBody.model_construct(
            **shared, streaming=True, stream_tokens=self.stream_tokens, background=True, include_pings=True
        )


class FollowCommand(_Command):
    """See a run's events behind the one numbered `after`."""

    type: Literal["follow"]
    run_id: RunId
    after: int = Field(default=0, ge=0)
    stream_tokens: bool = True


class CancelCommand(_Command):
    """Without `run_id`: whatever runs or waits in the conversation."""

    type: Literal["cancel"]
    run_id: RunId | None = None


class PingCommand(_Command):
    type: Literal["ping"]


Command = Annotated[
    SendCommand | FollowCommand | CancelCommand | PingCommand,
    Field(discriminator="type"),
]
_COMMAND: TypeAdapter[SendCommand | FollowCommand | CancelCommand | PingCommand] = TypeAdapter(Command)
COMMANDS = ("send", "follow", "cancel", "ping")


class ActiveRun(BaseModel):
    run_id: str
    status: Literal["queued", "running", "waiting_approval"]
    last_seq: int


class Hello(BaseModel):
    """The first frame. `active_run`: what runs or waits for approval now."""

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL
    agent_id: str
    conversation_id: str
    active_run: ActiveRun | None


class Accepted(BaseModel):
    """The command was carried out. `fresh` False: this send was known already, and this is its run.

    `own_run_id`: of what was sent into the turn `run_id`: the run that it becomes if that ends without it.
    """

    type: Literal["accepted"] = "accepted"
    id: str | None
    command: Literal["send", "follow", "cancel"]
    run_id: str
    fresh: bool = True
    own_run_id: str | None = None


class EventFrame(BaseModel):
    """`event` is one of `agents.events`."""

    type: Literal["event"] = "event"
    run_id: str
    seq: int
    event: dict[str, Any]


class Ended(BaseModel):
    """The last frame of a run."""

    type: Literal["ended"] = "ended"
    run_id: str
    seq: int
    status: Literal["completed", "failed", "cancelled", "waiting_approval"]
    stop_reason: str
    usage: dict[str, Any]
    step_count: int = 0
    context_tokens: int = 0
    error: dict[str, Any] | None = None


class ErrorFrame(BaseModel):
    """`retry`: the same frame may be taken later. `extra`: what the code brings, as `run_id` of a busy conversation."""

    type: Literal["error"] = "error"
    id: str | None = None
    code: str
    message: str
    retry: bool = False
    extra: dict[str, Any] = Field(default_factory=dict)


class Pong(BaseModel):
    type: Literal["pong"] = "pong"
    id: str | None


class Resync(BaseModel):
    """Events between the client's cursor and `after` are kept no more: read the messages, then go on from `after`."""

    type: Literal["resync"] = "resync"
    run_id: str
    after: int


ServerFrame = Hello | Accepted | EventFrame | Ended | ErrorFrame | Pong | Resync


class UnreadableFrame(Exception):
    """Not a frame at all: the connection ends with it."""


def read(text: str) -> SendCommand | FollowCommand | CancelCommand | PingCommand:
    """Raises UnreadableFrame for what is no command; Invalid, with `extra["id"]`, for one with wrong fields."""
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableFrame(f"A frame must be JSON: {error}") from None
    if not isinstance(data, dict) or data.get("type") not in COMMANDS:
        raise UnreadableFrame(f"A frame must be an object whose “type” is one of {', '.join(COMMANDS)}.")
    try:
        return _COMMAND.validate_python(data)
    except ValidationError as error:
        told = "; ".join(_describe(problem) for problem in error.errors(include_url=False, include_input=False))
        given = data.get("id")
        raise Invalid(told, extra={"id": given if isinstance(given, str) else None}) from None


def _describe(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"][1:])
    reason = str(problem["msg"]).removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


def error_frame(error: AppError | ProviderError, frame_id: str | None) -> ErrorFrame:
    if isinstance(error, ProviderError):
        return ErrorFrame(id=frame_id, code=error.error_type, message=error.message, retry=error.retryable)
    extra = {name: value for name, value in error.extra.items() if name != "id" and value is not None}
    if isinstance(error.detail, dict):
        extra = {**error.detail, **extra}
    code = str(extra.pop("code", error.code))
    message = str(extra.pop("message", error.message))
    return ErrorFrame(id=frame_id, code=code, message=message, retry=error.status in RETRY_STATUSES, extra=extra)


def event_frame(run_id: str, seq: int, event: dict[str, Any]) -> bytes:
    """An `event`, or the `ended` that a run's last event is. Made for every token, so without a model in between."""
    if event["type"] != "run_ended":
        return orjson.dumps({"type": "event", "run_id": run_id, "seq": seq, "event": event})
    return orjson.dumps({**event, "type": "ended", "run_id": run_id, "seq": seq})


def encode(frame: ServerFrame) -> bytes:
    return orjson.dumps(frame.model_dump())
