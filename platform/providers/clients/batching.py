"""A vendor's batch API: many calls given at once, answered within a day, at half the price. A door beside the clients'.

Each file `*_batches.py` is one vendor's: to the wire, from the wire, map the errors. When to send, how to go on after a
crash, and what is paid is decided outside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from providers.clients.reading import Reader
from providers.clients.transport import Transport
from providers.errors import BadRequest, ProviderError
from providers.events import Finished
from providers.types import ModelRequest

TIER = "batch"  # as price lists call it
SEND_TIMEOUT_S = 120.0
ASK_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 300.0


class NotMade(ProviderError):
    """The batch ended before the vendor came to this call: it expired, or was cancelled. Nothing is billed."""

    status = 503
    retryable = True


class Undecided(Exception):
    """Whether a batch reached the vendor cannot be said yet: ask again later."""


@dataclass(frozen=True, slots=True)
class Line:
    """One call. `id`: at most 64 letters, digits, `-` and `_`; `body`: the JSON that is sent."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One batch as it is given. `name`: ours, and no other batch's. `prepared`: what `prepare` answered."""

    name: str
    lines: Sequence[Line]
    prepared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A batch of which nobody knows whether it arrived. `known`: the vendor's ids of other batches of ours."""

    name: str
    line_ids: frozenset[str]
    since: datetime
    known: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """How a batch stands. `word`: the vendor's own; `files`: where its results lie, at vendors that name files."""

    id: str
    word: str
    ended: bool
    done: int = 0
    failed: int = 0
    message: str = ""
    files: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call: the vendor's whole answer, or why there is none."""

    line_id: str
    response: dict[str, Any] | None = None
    error: ProviderError | None = None


class Batching(Protocol):
    """All may raise ProviderError; `submit` one whose `upstream_status` says whether the vendor refused."""

    def body(self, request: ModelRequest) -> bytes:
        """The JSON of one call."""
        ...

    def prepare(self, batch: Submission) -> str:
        """What has to be done before, which costs nothing and may be done twice."""
        ...

    def submit(self, batch: Submission) -> str:
        """The vendor's id. Sent once: it is never repeated here."""
        ...

    def find(self, wanted: Wanted) -> str | None:
        """The vendor's id of a batch that was submitted, or None. Raises Undecided."""
        ...

    def state(self, vendor_id: str) -> BatchState: ...

    def results(self, state: BatchState) -> Iterator[Result]:
        """Of a batch that has ended, in any order; calls that it did not come to may be missing."""
        ...

    def cancel(self, vendor_id: str) -> None:
        """Harmless where it has ended."""
        ...


class HasTransport(Protocol):
    transport: Transport


def cancel(transport: Transport, path: str) -> None:
    """Ask for it at `path`; harmless where the batch has ended."""
    try:
        transport.post(path, b"{}", ASK_TIMEOUT_S)
    except BadRequest as error:
        if error.upstream_status not in (400, 409):
            raise


def whole(reader: Reader, response: bytes, secret: str = "") -> Finished:
    """An answer that came in one piece."""
    reader.feed(response, secret)
    return reader.finish()[1]
