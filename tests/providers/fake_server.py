"""A server that answers what it is told to and keeps what it was sent: for shapes that the mock vendor does not make."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """An answer: a JSON body, or raw bytes as an event stream. `cut` breaks the connection after them."""

    body: Any = None
    status: int = 200
    stream: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def _read(raw: bytes) -> Any:
    """JSON, or the text of a form."""
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode()


class FakeServer:
    """Answers in order; the last answer is repeated. `decide` overrides both."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.replies: list[Reply] = []
        self.decide: Callable[[str, Any], Reply] | None = None
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output clean."""

            def do_GET(self) -> None:
                self._serve(None)

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                self._serve(_read(raw))

            def _serve(self, body: Any) -> None:
                fake.sent.append(body)
                fake.paths.append(self.path)
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                reply = fake._next(self.path, body)
                data = reply.stream if reply.stream is not None else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                kind = "application/json" if reply.stream is None else "text/event-stream"
                self.send_header("Content-Length", str(len(data) + (100 if reply.cut else 0)))
                for name, value in {"Content-Type": kind, **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
                self.close_connection = self.close_connection or reply.cut

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def _next(self, path: str, body: Any) -> Reply:
        if self.decide is not None:
            return self.decide(path, body)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def answer(self, body: Any, status: int = 200, **headers: str) -> None:
        self.replies.append(Reply(body, status, headers={name.replace("_", "-"): v for name, v in headers.items()}))

    def stream(self, data: bytes, *, cut: bool = False) -> None:
        self.replies.append(Reply(stream=data, cut=cut))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
