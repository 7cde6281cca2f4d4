"""Two vendors' batch APIs on loopback: OpenAI's files and batches, Anthropic's message batches, moved on by the test.

`reply` answers one call's body: the vendor's whole answer, or an error body with its status. `submit_fault` is what the
next submission is answered with, after it was taken ("lost") or before ("refused").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.providers.fake_server import FakeServer, Reply

OPENAI_MODEL, RESPONSES_MODEL, CLAUDE = "gpt-4o-mini", "gpt-5-mini", "claude-haiku-4-5"
Answer = tuple[int, dict[str, Any]]


@dataclass
class Given:
    """A batch as the vendor has it: `calls` by custom id."""

    id: str
    calls: dict[str, dict[str, Any]]
    status: str = "in_progress"
    metadata: dict[str, str] = field(default_factory=dict)
    endpoint: str = ""
    results: dict[str, Answer | None] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class BatchVendor:
    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.batches: dict[str, Given] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.reply: Callable[[dict[str, Any]], Answer] = says("Hello")
        self.live: Callable[[dict[str, Any]], Answer] = says("Live")
        self.submit_fault = ""
        self.cancelled: list[str] = []
        server.decide = self._decide

    @property
    def given(self) -> list[Given]:
        return list(self.batches.values())

    def finish(self, status: str = "completed", made: Callable[[dict[str, Any]], bool] = lambda body: True) -> None:
        """End what is in progress; calls that are not `made` expire or are cancelled with it."""
        for batch in self.given:
            if batch.status == "in_progress":
                batch.status = status
                batch.results = {k: self.reply(body) if made(body) else None for k, body in batch.calls.items()}

    def _decide(self, path: str, body: Any) -> Reply:
        path = path.partition("?")[0]
        if path.endswith("/models"):
            return Reply({"data": [{"id": name} for name in (OPENAI_MODEL, RESPONSES_MODEL, CLAUDE)]})
        if path == "/v1/messages/batches" or path.startswith("/v1/messages/batches/"):
            return self._anthropic(path.removeprefix("/v1/messages/batches").strip("/"), body)
        if path == "/v1/files":
            return self._upload(body)
        if path.startswith("/v1/files/"):
            return Reply(stream=self._output(path.split("/")[3]))
        if path == "/v1/batches" or path.startswith("/v1/batches/"):
            return self._openai(path.removeprefix("/v1/batches").strip("/"), body)
        status, answer = self.live(body)
        if "service_tier" in answer["usage"]:
            answer["usage"]["service_tier"] = "standard"
        return Reply(answer, status)

    # OpenAI

    def _upload(self, form: str) -> Reply:
        assert 'name="purpose"\r\n\r\nbatch\r\n' in form
        file_id = f"file-{len(self.files)}"
        read = [json.loads(line) for line in form.splitlines() if line.startswith("{")]
        self.files[file_id] = {line["custom_id"]: line for line in read}
        return Reply({"id": file_id, "object": "file", "purpose": "batch"})

    def _openai(self, rest: str, body: Any) -> Reply:
        batch_id, _, deed = rest.partition("/")
        if not batch_id and body is None:
            return Reply({"data": [self._shown(each) for each in reversed(self.given)], "has_more": False})
        if batch_id:
            return self._one(batch_id, deed, self._shown)
        lines = self.files[body["input_file_id"]]
        assert {(line["method"], line["url"]) for line in lines.values()} == {("POST", body["endpoint"])}
        assert body["completion_window"] == "24h"
        calls = {key: line["body"] for key, line in lines.items()}
        return self._submitted(calls, self._shown, metadata=body["metadata"], endpoint=body["endpoint"])

    def _shown(self, batch: Given) -> dict[str, Any]:
        ended = batch.status != "in_progress"
        done = [key for key, result in batch.results.items() if result and result[0] == 200]
        counts = {"total": len(batch.calls), "completed": len(done), "failed": len(batch.results) - len(done)}
        return {
            "id": batch.id,
            "object": "batch",
            "status": batch.status,
            "metadata": batch.metadata,
            "created_at": int(batch.created_at.timestamp()),
            "request_counts": counts,
            "output_file_id": f"{batch.id}-output" if ended and done else None,
            "error_file_id": f"{batch.id}-errors" if ended and counts["failed"] else None,
            "errors": None,
        }

    def _output(self, file_id: str) -> bytes:
        batch_id, _, kind = file_id.rpartition("-")
        batch, lines = self.batches[batch_id], []
        for key, result in reversed(batch.results.items()):
            if (result is not None and result[0] == 200) != (kind == "output"):
                continue
            answer = result and {"status_code": result[0], "request_id": "r", "body": result[1]}
            code = "batch_expired" if batch.status == "expired" else "batch_cancelled"
            error = None if result else {"code": code, "message": "This request could not be executed."}
            lines.append({"id": f"r-{key}", "custom_id": key, "response": answer, "error": error})
        return b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"

    # Anthropic

    def _anthropic(self, rest: str, body: Any) -> Reply:
        batch_id, _, deed = rest.partition("/")
        if not batch_id and body is None:
            return Reply({"data": [self._message_batch(each) for each in reversed(self.given)], "has_more": False})
        if deed == "results":
            lines = [self._line(self.batches[batch_id], key) for key in self.batches[batch_id].results]
            return Reply(stream=b"\n".join(json.dumps(line).encode() for line in lines))
        if batch_id:
            return self._one(batch_id, deed, self._message_batch)
        return self._submitted({each["custom_id"]: each["params"] for each in body["requests"]}, self._message_batch)

    def _message_batch(self, batch: Given) -> dict[str, Any]:
        ended = batch.status != "in_progress"
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        for key in batch.calls:
            counts[self._kind(batch, key)] += 1
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": batch.created_at.isoformat(),
            "results_url": f"https://elsewhere.invalid/{batch.id}" if ended else None,
        }

    def _kind(self, batch: Given, key: str) -> str:
        if key not in batch.results:
            return "processing"
        result = batch.results[key]
        if result is None:
            return "expired" if batch.status == "expired" else "canceled"
        return "succeeded" if result[0] == 200 else "errored"

    def _line(self, batch: Given, key: str) -> dict[str, Any]:
        kind, result = self._kind(batch, key), batch.results[key]
        told: dict[str, Any] = {"type": kind}
        if kind == "succeeded" and result:
            told["message"] = result[1]
        elif kind == "errored" and result:
            told["error"] = {"type": "error", "error": result[1]["error"]}
        return {"custom_id": key, "result": told}

    # Both

    def _one(self, batch_id: str, deed: str, shown: Callable[[Given], dict[str, Any]]) -> Reply:
        batch = self.batches.get(batch_id)
        if batch is None:
            return Reply({"error": {"message": "No such batch", "type": "not_found_error"}}, 404)
        if deed == "cancel":
            self.cancelled.append(batch_id)
            self.finish("cancelled", made=lambda body: False)
        return Reply(shown(batch))

    def _submitted(self, calls: dict[str, Any], shown: Callable[[Given], dict[str, Any]], **more: Any) -> Reply:
        fault, self.submit_fault = self.submit_fault, ""
        if fault == "refused":
            return Reply({"error": {"message": "Invalid batch", "type": "invalid_request_error"}}, 400)
        if fault == "limited":
            return Reply({"error": {"message": "Rate limit reached", "type": "rate_limit_error"}}, 429)
        if fault == "never":
            return Reply({"error": {"message": "Bad gateway", "type": "server_error"}}, 502)
        batch = Given(f"batch_{len(self.batches)}", calls, **more)
        self.batches[batch.id] = batch
        if fault == "lost":
            return Reply({"error": {"message": "Timeout", "type": "server_error"}}, 504)
        return Reply(shown(batch))


def says(text: str, call: tuple[str, dict[str, Any]] | None = None) -> Callable[[dict[str, Any]], Answer]:
    """1000 tokens in (400 of them cached), 50 out, in the shape that the call's body asks for."""

    def reply(body: dict[str, Any]) -> Answer:
        if body["model"] == CLAUDE:
            return 200, _message(text, call)
        return 200, _response(text) if "input" in body else _chat(text, call)

    return reply


def _chat(text: str, call: tuple[str, dict[str, Any]] | None) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": None if call else text}
    if call:
        function = {"name": call[0], "arguments": json.dumps(call[1])}
        said["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    usage = {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": OPENAI_MODEL,
        "service_tier": "default",
        "choices": [{"index": 0, "message": said, "finish_reason": "tool_calls" if call else "stop"}],
        "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 400}},
    }


def _response(text: str) -> dict[str, Any]:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    usage = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 400}, "output_tokens": 50}
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": RESPONSES_MODEL,
        "output": [{**thought, "encrypted_content": "sealed"}, said],
        "usage": {**usage, "total_tokens": 1050, "output_tokens_details": {"reasoning_tokens": 20}},
    }


def _message(text: str, call: tuple[str, dict[str, Any]] | None) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "text", "text": text}
    if call:
        said = {"type": "tool_use", "id": "toolu_1", "name": call[0], "input": call[1]}
    usage = {"input_tokens": 600, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 0}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": CLAUDE,
        "content": [said],
        "stop_reason": "tool_use" if call else "end_turn",
        "usage": {**usage, "output_tokens": 50, "service_tier": "batch"},
    }


@contextmanager
def running_batch_vendor() -> Iterator[BatchVendor]:
    server = FakeServer()
    try:
        yield BatchVendor(server)
    finally:
        server.close()
