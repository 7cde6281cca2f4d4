"""A vendor that takes some keys and refuses others, each in its own way, and says how much each has left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.providers.fake_server import FakeServer, Reply

REFUSALS = {
    401: {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}},
    402: {"error": {"message": "Insufficient balance", "type": "insufficient_quota"}},
    429: {"error": {"message": "Rate limit reached for requests", "type": "requests"}},
    500: {"error": {"message": "The server had an error", "type": "server_error"}},
}
OLD, NEW = "sk-the-old-key-aaaa", "sk-the-new-key-bbbb"
MODELS = {"data": [{"id": "gpt-4o-mini"}, {"id": "text-embedding-3-small"}]}


class Vendor:
    """`keys`: what each key is answered with, 200 for those that work; any other is refused with 401."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.url = f"{server.url}/v1"
        self.keys: dict[str, int] = {}
        self.limits: dict[str, str] = {}
        server.decide = self._answer

    @property
    def asked_with(self) -> list[str]:
        """The keys of all requests so far, in their order."""
        return [headers.get("authorization", "").removeprefix("Bearer ") for headers in self.server.headers]

    def _answer(self, path: str, body: Any) -> Reply:
        status = self.keys.get(self.asked_with[-1], 401)
        if status != 200:
            return Reply(REFUSALS[status], status)
        if path.endswith("/models"):
            return Reply(MODELS, headers=self.limits)
        if path.endswith("/embeddings"):
            found = [{"index": n, "embedding": [1.0, 0.0]} for n in range(len(body["input"]))]
            return Reply({"data": found, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        return Reply(stream=_stream("Hello"), headers=self.limits)


def _stream(text: str) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    about = {"id": "c-1", "object": "chat.completion.chunk", "model": "gpt-4o-mini"}
    said = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    chunks = [{**about, **said}, {**about, **end}, {**about, "choices": [], "usage": usage}]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


@contextmanager
def running_vendor() -> Iterator[Vendor]:
    server = FakeServer()
    try:
        yield Vendor(server)
    finally:
        server.close()
