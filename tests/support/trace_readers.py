"""Who reads traces elsewhere: a reader on a unix socket and an OTLP collector, as small real servers on this machine."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class SocketReader:
    """Keeps every whole line. `stop` and `start` as often as wanted; `greedy` False: it hangs up with the rest unread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[dict[str, Any]] = []
        self.greedy = True
        self.hung_up = threading.Event()
        self._listener: socket.socket | None = None
        self._links: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def start(self) -> SocketReader:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads.append(threading.Thread(target=self._accept, args=(self._listener,)))
        self._threads[-1].start()
        return self

    def wait(self, count: int) -> list[dict[str, Any]]:
        """The lines, once so many are read: a thread of its own reads them."""
        deadline = time.monotonic() + 30
        while len(self.lines) < count:
            assert time.monotonic() < deadline, f"{len(self.lines)} lines of {count}"
            time.sleep(0.01)
        return self.lines

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self.path.unlink(missing_ok=True)
        for link in self._links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it is closed already
        for thread in self._threads:
            thread.join(10)
        self._listener, self._links, self._threads = None, [], []

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            self._links.append(link)
            self._threads.append(threading.Thread(target=self._read, args=(link,)))
            self._threads[-1].start()

    def _read(self, link: socket.socket) -> None:
        with link:
            if not self.greedy:
                link.recv(100)
                self.greedy = True
                link.close()
                self.hung_up.set()
                return
            rest = b""
            while data := link.recv(65536):
                *whole, rest = (rest + data).split(b"\n")
                self.lines += map(json.loads, whole)


class Collector:
    """Keeps every span with its attributes. `status`: what it answers; 200 takes what is sent."""

    def __init__(self) -> None:
        self.status = 200
        self.reject = 0
        self.spans: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        outer = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                self._answer(outer.take(self.path, dict(self.headers), body))

            def _answer(self, body: bytes) -> None:
                self.send_response(outer.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        self.headers.append({name.lower(): value for name, value in headers.items()})
        if path != "/v1/traces" or self.status != 200:
            return b""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += [_told(span) for span in scope.spans]
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.reject
        return answer.SerializeToString()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _told(span: Any) -> dict[str, Any]:
    values = {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "name": span.name,
        "kind": span.kind,
        "start": span.start_time_unix_nano,
        "end": span.end_time_unix_nano,
        "status": span.status.code,
        "attributes": {
            k: [v.string_value for v in value.values] if hasattr(value, "values") else value
            for k, value in values.items()
        },
    }
