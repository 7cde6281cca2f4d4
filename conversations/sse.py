"""A run's events as the frames of `/v1`'s event streams, and as the one answer of a call that does not stream.

A frame's `seq_id` is the event's number times 100 plus the frame's place within the event, so that a client that
resumes behind any frame misses and repeats none.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import orjson

from agents.events import Event as RunEvent
from conversations import wire
from conversations.following import follow_run
from conversations.models import Run
from conversations.retelling import ended_event
from conversations.tokens import Tokens
from conversations.wire import View, Wire, otid_of
from core.errors import AppError
from core.time import now, to_seconds

PLACES = 100
KEEPALIVE_S = 15.0
DONE = b"data: [DONE]\n\n"

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Framing:
    """How one follower wants a run's events. `numbered`: a background run, which can be resumed by `seq_id`."""

    run_id: str
    view: View
    tokens: bool = False
    pings: bool = True
    numbered: bool = False


def view_of(options: dict[str, Any]) -> View:
    return View(
        include=options.get("include_return_message_types"),
        compaction_messages=options.get("include_compaction_messages", False),
        use_assistant_message=options.get("use_assistant_message", True),
        assistant_tool=options.get("assistant_message_tool_name", "send_message"),
        assistant_kwarg=options.get("assistant_message_tool_kwarg", "message"),
    )


def framing_of(run: Run, *, pings: bool = True) -> Framing:
    return Framing(
        run_id=run.pk,
        view=view_of(run.options),
        tokens=run.options.get("stream_tokens", False),
        pings=pings,
        numbered=run.background,
    )


async def frames(framing: Framing, after: int = 0) -> AsyncGenerator[bytes, None]:
    """The frames of a run behind the frame numbered `after`, with keep-alives, to the end."""
    event_after = max(0, after // PLACES - 1)  # the event of that frame is read again: it may have further frames
    if framing.pings and not framing.numbered:
        yield data(ping(framing.run_id, None))
    try:
        async for seen in follow_run(framing.run_id, event_after, KEEPALIVE_S):
            if seen is None:
                if framing.pings:
                    yield data(ping(framing.run_id, None))
                continue
            number, event = seen
            known = 0 if event["type"] == "run_ended" else after  # nobody who asks for more has seen the end
            frames_of = b"".join(
                frame for place, frame in enumerate(_frames(framing, number, event)) if number * PLACES + place > known
            )
            if frames_of:
                yield frames_of
    except AppError as error:  # the answer has begun: only a frame can say that it breaks off
        yield b"".join(_ending(framing, _broken_off(error)))


def _broken_off(error: AppError) -> Event:
    told = {"type": "stream_incomplete", "message": error.message, "detail": error.message, "status": error.status}
    return {"type": "run_ended", "status": "failed", "stop_reason": "error", "usage": {}, "error": told}


def _frames(framing: Framing, number: int, event: Event) -> Iterator[bytes]:
    if event["type"] == "run_ended":
        yield from _ending(framing, event)
        return
    for place, message in enumerate(messages_of(framing, event)):
        if framing.numbered:
            message["seq_id"] = number * PLACES + place
        yield data(message)


def messages_of(framing: Framing, event: Event) -> list[Wire]:
    """The API messages of one event, filtered as the caller asked."""
    kind = event["type"]
    if kind == "run_started":
        return [ping(framing.run_id, None)] if framing.numbered and framing.pings else []
    make = _BY_TYPE.get(kind)
    if make is None:
        return []
    found = make(framing, event)
    include = framing.view.include
    return found if include is None else [m for m in found if m["message_type"] in include]


def _added(framing: Framing, event: Event) -> list[Wire]:
    row = event["message"]
    if row["role"] in ("user", "system", "summary") or row.get("approvals") is not None:
        return []
    if not framing.tokens:
        return wire.message_of(row, framing.view)
    if row["role"] != "tool":
        return []  # it was streamed piece by piece
    return [m for item in row["tool_returns"] for m in wire.message_of({**row, "tool_returns": [item]}, framing.view)]


def _text(framing: Framing, event: Event) -> list[Wire]:
    return [_piece(framing, event, "assistant_message") | {"content": event["text"]}] if framing.tokens else []


def _reasoning(framing: Framing, event: Event) -> list[Wire]:
    if not framing.tokens:
        return []
    shown = {"source": "reasoner_model", "reasoning": event["text"], "signature": event.get("signature")}
    return [_piece(framing, event, "reasoning_message") | shown]


def _hidden(framing: Framing, event: Event) -> list[Wire]:
    if not framing.tokens:
        return []
    shown = {"state": "redacted" if event["data"] else "omitted", "hidden_reasoning": event["data"] or None}
    return [_piece(framing, event, "hidden_reasoning_message") | shown]


def _tool_call(framing: Framing, event: Event) -> list[Wire]:
    """The name first, then the arguments; a call that waits for a human comes as an approval request."""
    if not framing.tokens:
        return []
    pieces: list[Wire] = []
    if event["name"]:
        pieces.append({"name": event["name"], "tool_call_id": event["tool_call_id"]})
    if event["arguments"]:
        pieces.append({"arguments": event["arguments"], "tool_call_id": event["tool_call_id"]})
    if not event["needs_approval"]:
        common = _piece(framing, event, "tool_call_message")
        return [common | {"tool_call": piece, "tool_calls": piece} for piece in pieces]
    common = _piece(framing, event, "approval_request_message") | {"otid": event["message_id"]}
    whole = [{"name": None, "arguments": None, **piece} for piece in pieces]
    return [common | {"tool_call": piece, "tool_calls": piece} for piece in whole]


def _compaction_started(framing: Framing, event: Event) -> list[Wire]:
    if not framing.view.compaction_messages:
        return []
    row = {"id": f"message-{uuid.uuid4()}", "date": to_seconds(now()), "run_id": framing.run_id}
    told = {
        "trigger": event["trigger"],
        "context_token_estimate": event["context_tokens"],
        "context_window": event["context_window"],
    }
    return [wire.base("event_message", row, None) | {"event_type": "compaction", "event_data": told}]


def _compacted(framing: Framing, event: Event) -> list[Wire]:
    if not framing.view.compaction_messages:
        return []
    return wire.message_of({**event["message"], "stats": event["stats"]}, framing.view)


_BY_TYPE = {
    "message_added": _added,
    "text_delta": _text,
    "reasoning_delta": _reasoning,
    "hidden_reasoning": _hidden,
    "tool_call_delta": _tool_call,
    "compaction_started": _compaction_started,
    "compacted": _compacted,
}


def _piece(framing: Framing, event: Event, message_type: str) -> Wire:
    row = {
        "id": event["message_id"],
        "date": event["date"],
        "step_id": event["step_id"],
        "run_id": framing.run_id,
    }
    return wire.base(message_type, row, otid_of(event["message_id"], event["index"]))


def _ending(framing: Framing, event: Event) -> Iterator[bytes]:
    yield data(stop_reason(event))
    error = event.get("error")
    if error is not None:
        told = {
            "message_type": "error_message",
            "run_id": framing.run_id,
            "error_type": error["type"],
            "message": error["message"],
            "detail": error["detail"],
            "seq_id": None,
        }
        yield b"event: error\n" + data(told)
    elif event["status"] != "cancelled":
        yield data(usage_statistics(event))
    yield DONE


def stop_reason(event: Event) -> Wire:
    return {"message_type": "stop_reason", "stop_reason": event["stop_reason"]}


def usage_statistics(event: Event) -> Wire:
    usage = event["usage"]
    return {
        "message_type": "usage_statistics",
        "completion_tokens": usage.get("completion_tokens", 0),
        "prompt_tokens": usage.get("prompt_tokens", 0),
        "total_tokens": usage.get("total_tokens", 0),
        "step_count": event.get("step_count", 0),
        "run_ids": None,
        "cached_input_tokens": usage.get("cached_input_tokens"),
        "cache_write_tokens": usage.get("cache_write_tokens"),
        "reasoning_tokens": usage.get("reasoning_tokens"),
        "context_tokens": event.get("context_tokens"),
    }


def ping(run_id: str, seq_id: int | None) -> Wire:
    row = {"id": f"ping-{uuid.uuid4()}", "date": to_seconds(now()), "run_id": run_id}
    return wire.base("ping", row, None) | {"seq_id": seq_id}


def data(message: Wire) -> bytes:
    return b"data: " + orjson.dumps(message) + b"\n\n"


@dataclass(slots=True)
class Answered:
    """What a call that does not stream gets: the LettaResponse, or the error with its status."""

    status: int
    body: Wire = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


async def drain(run: Run, view: View | None = None) -> Answered:
    """Follow the run to its end: the stream, drained."""
    framing = Framing(run_id=run.pk, view=view or view_of(run.options))
    found: list[Wire] = []
    tokens = Tokens(turns=[] if run.options.get("return_token_ids") else None)
    async for seen in follow_run(run.pk):
        if seen is None:
            continue
        event = seen[1]
        if event["type"] == "run_ended":
            return _answered(event, found, tokens)
        tokens.note(event)
        found += messages_of(framing, event)
    raise AppError("the run's stream ended without an end")


def answered_of(run: Run, events: Iterable[RunEvent]) -> Answered:
    """The same, of a run that has ended, from what is stored of it."""
    framing = Framing(run_id=run.pk, view=view_of(run.options))
    found = [message for event in events for message in messages_of(framing, event.model_dump())]
    return _answered(ended_event(run).model_dump(), found, Tokens())


def _answered(event: Event, messages: list[Wire], tokens: Tokens) -> Answered:
    error = event.get("error")
    if error is not None:
        wait = error.get("retry_after")
        return Answered(error["status"], error_body(error), {"Retry-After": str(ceil(wait))} if wait else {})
    body = {"messages": messages, "stop_reason": stop_reason(event), "usage": usage_statistics(event)}
    return Answered(200, body | {"logprobs": tokens.logprobs, "turns": tokens.turns or None})


def error_body(error: dict[str, Any]) -> Wire:
    """Shape B for failures of a model's provider, shape A for all others."""
    if error["type"].startswith("llm_"):
        return {"error": {name: error[name] for name in ("type", "message", "detail")}}
    return {"detail": error["detail"] or error["message"], **error.get("extra", {})}
