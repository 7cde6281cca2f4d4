"""An answer, read to its end: what every dialect's reader is, and how a break in it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import orjson

from providers.clients.sse import payloads
from providers.clients.transport import Answer
from providers.errors import ConnectionFailed, ProviderError, StreamInterrupted
from providers.events import Finished, ModelEvent
from providers.usage import Usage

Split = Callable[[Iterable[bytes]], Iterator[bytes]]


class Reader(Protocol):
    """One answer. `done` once the vendor said that it is over; `unshown`: bytes of it that came and are held back."""

    done: bool

    @property
    def unshown(self) -> int: ...

    def feed(self, data: bytes, secret: str) -> list[ModelEvent]:
        """The events of one piece of the stream. An error in it is raised."""
        ...

    def finish(self) -> tuple[list[ModelEvent], Finished]:
        """(what was held back, the whole). Raises where the stream ended before its answer did."""
        ...

    def so_far(self) -> tuple[Usage, dict[str, Any]]:
        """(usage, the answer in its non-streamed shape) of an answer that broke off."""
        ...


def parsed(arguments: str) -> Any:
    """A call's arguments as JSON, or as the text that was to become it."""
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


def said(reader: Reader, answer: Answer, secret: str, split: Split = payloads) -> Iterator[ModelEvent]:
    """The events of an answer, `Finished` last. `split` cuts its bytes into the vendor's events."""
    try:
        yield from _events(reader, answer, secret, split)
    except ProviderError as error:
        raise _interrupted(error, reader) if answer.started else _unstarted(error, reader) from None
    finally:
        answer.close()


def _events(reader: Reader, answer: Answer, secret: str, split: Split) -> Iterator[ModelEvent]:
    """From a stream, or from one JSON of a server that does not stream."""
    feed = reader.feed
    parts: Iterator[bytes] = (
        iter((b"".join(answer.chunks()),)) if "json" in answer.content_type else split(answer.chunks())
    )
    for data in parts:
        for event in feed(data, secret):
            answer.started = True
            yield event
        answer.complete = reader.done
    rest, finished = reader.finish()
    yield from rest
    yield finished


def _interrupted(error: ProviderError, reader: Reader) -> ProviderError:
    """The failure of an answer that had begun, with what was said and an estimate of what it cost."""
    if not isinstance(error, StreamInterrupted):
        error = StreamInterrupted(error.message, upstream_status=error.upstream_status)
    error.usage, error.partial = reader.so_far()
    return error


def _unstarted(error: ProviderError, reader: Reader) -> ProviderError:
    """The failure of an answer of which nothing was shown: it may be asked for again. What was held back has a cost."""
    failed = ConnectionFailed(error.message) if isinstance(error, StreamInterrupted) else error
    if reader.unshown:
        failed.usage, failed.partial = reader.so_far()
    return failed
