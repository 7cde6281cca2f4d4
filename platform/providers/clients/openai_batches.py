"""OpenAI's batches: a file of lines, a batch made of it, and two files of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from providers.catalog import preset_of
from providers.clients import openai_chat_wire, openai_responses_wire
from providers.clients.batching import (
    ASK_TIMEOUT_S,
    READ_TIMEOUT_S,
    SEND_TIMEOUT_S,
    BatchState,
    NotMade,
    Result,
    Submission,
    Wanted,
    cancel,
)
from providers.clients.failures import failure, in_band_failure
from providers.clients.transport import Transport
from providers.errors import BadResponse
from providers.types import ModelRequest

CHAT, RESPONSES = "openai_chat", "openai_responses"
ROUTES = {CHAT: "/v1/chat/completions", RESPONSES: "/v1/responses"}
MARK = "perennial_batch"
PAGE, MOST_PAGES = 100, 50
_ENDED = frozenset({"completed", "expired", "cancelled", "failed"})
_NOT_MADE = frozenset({"batch_expired", "batch_cancelled"})
_STREAMED = ("stream", "stream_options")


class OpenAIBatches:
    """One credential, one of the two dialects."""

    def __init__(self, transport: Transport, dialect: str, secret: str) -> None:
        self._transport = transport
        self._dialect = dialect
        self._secret = secret

    def body(self, request: ModelRequest) -> bytes:
        if self._dialect == CHAT:
            streamed = openai_chat_wire.body(request, preset_of("openai"))
        else:
            streamed = openai_responses_wire.body(request)
        wire = orjson.loads(streamed)
        return orjson.dumps({name: value for name, value in wire.items() if name not in _STREAMED})

    def prepare(self, batch: Submission) -> str:
        """The id of the file that was uploaded."""
        route = ROUTES[self._dialect].encode()
        lines = b"\n".join(
            b'{"custom_id":%b,"method":"POST","url":"%b","body":%b}' % (orjson.dumps(line.id), route, line.body)
            for line in batch.lines
        )
        file = (f"{batch.name}.jsonl", lines)
        return _id_of(self._transport.upload("/files", {"purpose": "batch"}, file, SEND_TIMEOUT_S))

    def submit(self, batch: Submission) -> str:
        wire = {
            "input_file_id": batch.prepared,
            "endpoint": ROUTES[self._dialect],
            "completion_window": "24h",
            "metadata": {MARK: batch.name},
        }
        return _id_of(self._transport.post("/batches", orjson.dumps(wire), SEND_TIMEOUT_S, once=True))

    def find(self, wanted: Wanted) -> str | None:
        """By the name that each of ours carries; the newest are listed first."""
        params = {"limit": str(PAGE)}
        for _ in range(MOST_PAGES):
            page = self._transport.get("/batches", ASK_TIMEOUT_S, params=params)
            rows: list[dict[str, Any]] = page.get("data") or []
            for row in rows:
                if (row.get("metadata") or {}).get(MARK) == wanted.name:
                    return str(row["id"])
            if not rows or not page.get("has_more") or rows[-1].get("created_at", 0) < wanted.since.timestamp() - 600:
                return None
            params["after"] = str(rows[-1]["id"])
        return None

    def state(self, vendor_id: str) -> BatchState:
        raw = self._transport.get(f"/batches/{vendor_id}", ASK_TIMEOUT_S)
        counts = raw.get("request_counts") or {}
        problems = (raw.get("errors") or {}).get("data") or ()
        return BatchState(
            id=vendor_id,
            word=str(raw.get("status") or ""),
            ended=raw.get("status") in _ENDED,
            done=counts.get("completed") or 0,
            failed=counts.get("failed") or 0,
            message="; ".join(str(each.get("message") or each.get("code")) for each in problems)[:2000],
            files=tuple(str(raw[name]) for name in ("output_file_id", "error_file_id") if raw.get(name)),
        )

    def results(self, state: BatchState) -> Iterator[Result]:
        for file_id in state.files:
            for line in self._transport.content(f"/files/{file_id}/content", READ_TIMEOUT_S).splitlines():
                if line.strip():
                    yield self._result(orjson.loads(line))

    def _result(self, raw: dict[str, Any]) -> Result:
        line_id, answer, problem = str(raw.get("custom_id")), raw.get("response"), raw.get("error")
        if problem and problem.get("code") in _NOT_MADE:
            return Result(line_id, error=NotMade(str(problem.get("message") or problem["code"])))
        if not answer:
            return Result(line_id, error=in_band_failure({"error": problem or {}}, self._secret))
        status, body = answer.get("status_code") or 500, answer.get("body")
        if status != 200:
            return Result(line_id, error=failure(status, body, {}, self._secret))
        if not isinstance(body, dict):
            return Result(line_id, error=BadResponse("The provider's answer was empty."))
        if body.get("status") == "failed":
            return Result(line_id, error=in_band_failure(body, self._secret))
        return Result(line_id, response=body)

    def cancel(self, vendor_id: str) -> None:
        cancel(self._transport, f"/batches/{vendor_id}/cancel")


def _id_of(answer: Any) -> str:
    found = answer.get("id") if isinstance(answer, dict) else None
    if not found:
        raise BadResponse("The provider's answer names no id.")
    return str(found)
