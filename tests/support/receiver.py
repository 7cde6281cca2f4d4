"""A server on the loopback that keeps what is posted to it, and answers what it is told to."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """`got`: (path, headers, body) of each POST. `drips`: the answer never ends, byte after byte."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers, self.drips = 200, dict[str, str](), False
        self._gone = threading.Event()
        outer = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, dict(self.headers), body))
                if outer.drips:
                    outer._drip(self)
                    return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"what it thinks of it")

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/token?a=1"

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        try:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not self._gone.wait(0.02):
                request.wfile.write(b"a")
        except OSError:  # cut off
            request.close_connection = True

    def close(self) -> None:
        self._gone.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
