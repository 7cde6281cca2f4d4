"""Anthropic's Message Batches: all calls in one request, their results in one file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import orjson

from providers.clients import anthropic_wire
from providers.clients.anthropic import INTERLEAVED
from providers.clients.batching import (
    ASK_TIMEOUT_S,
    READ_TIMEOUT_S,
    SEND_TIMEOUT_S,
    BatchState,
    NotMade,
    Result,
    Submission,
    Undecided,
    Wanted,
    cancel,
)
from providers.clients.failures import in_band_failure
from providers.clients.transport import Transport
from providers.errors import BadResponse
from providers.types import ModelRequest

ROUTE = "/v1/messages/batches"
PAGE, MOST_PAGES = 100, 50
CLOCKS_APART = timedelta(minutes=5)


class AnthropicBatches:
    """One credential."""

    def __init__(self, transport: Transport, secret: str) -> None:
        self._transport = transport
        self._secret = secret

    def body(self, request: ModelRequest) -> bytes:
        return orjson.dumps({name: value for name, value in anthropic_wire.wire(request).items() if name != "stream"})

    def prepare(self, batch: Submission) -> str:
        return ""

    def submit(self, batch: Submission) -> str:
        calls = b",".join(b'{"custom_id":%b,"params":%b}' % (orjson.dumps(line.id), line.body) for line in batch.lines)
        headers = {"anthropic-beta": INTERLEAVED} if any(map(_thinks_by_budget, batch.lines)) else None
        answer = self._transport.post(ROUTE, b'{"requests":[%b]}' % calls, SEND_TIMEOUT_S, headers, once=True)
        if not isinstance(answer, dict) or not answer.get("id"):
            raise BadResponse("The provider's answer names no id.")
        return str(answer["id"])

    def find(self, wanted: Wanted) -> str | None:
        """A batch here carries no name: one of the same time and size is looked into, which it must have ended for."""
        undecided = False
        for row in self._since(wanted.since - CLOCKS_APART):
            if row["id"] in wanted.known or sum((row.get("request_counts") or {}).values()) != len(wanted.line_ids):
                continue
            if row.get("processing_status") != "ended":
                undecided = True
            elif next(iter(self._lines(row["id"])), {}).get("custom_id") in wanted.line_ids:
                return str(row["id"])
        if undecided:
            raise Undecided
        return None

    def _since(self, since: datetime) -> Iterator[dict[str, Any]]:
        params = {"limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            page = self._transport.get(ROUTE, ASK_TIMEOUT_S, params=params)
            for row in page.get("data") or ():
                if datetime.fromisoformat(row["created_at"]) < since:
                    return
                yield row
            if not page.get("has_more") or not page.get("last_id"):
                return
            params["after_id"] = str(page["last_id"])

    def state(self, vendor_id: str) -> BatchState:
        raw = self._transport.get(f"{ROUTE}/{vendor_id}", ASK_TIMEOUT_S)
        counts = raw.get("request_counts") or {}
        return BatchState(
            id=vendor_id,
            word=str(raw.get("processing_status") or ""),
            ended=raw.get("processing_status") == "ended",
            done=counts.get("succeeded") or 0,
            failed=sum(counts.get(name) or 0 for name in ("errored", "expired", "canceled")),
        )

    def results(self, state: BatchState) -> Iterator[Result]:
        for raw in self._lines(state.id):
            yield self._result(str(raw.get("custom_id")), raw.get("result") or {})

    def _lines(self, vendor_id: str) -> Iterator[dict[str, Any]]:
        for line in self._transport.content(f"{ROUTE}/{vendor_id}/results", READ_TIMEOUT_S).splitlines():
            if line.strip():
                yield orjson.loads(line)

    def _result(self, line_id: str, raw: dict[str, Any]) -> Result:
        kind = raw.get("type")
        if kind == "succeeded":
            return Result(line_id, response=raw["message"])
        if kind == "errored":
            return Result(line_id, error=in_band_failure(raw.get("error") or {}, self._secret))
        return Result(line_id, error=NotMade(f"The vendor did not make the call: its batch was {kind}."))

    def cancel(self, vendor_id: str) -> None:
        cancel(self._transport, f"{ROUTE}/{vendor_id}/cancel")


def _thinks_by_budget(line: Any) -> bool:
    """Whether newer models' own way must be asked for, see `anthropic.thinks_between`."""
    wire = orjson.loads(line.body)
    return (wire.get("thinking") or {}).get("type") == "enabled" and "tools" in wire
