"""A granted tool's way to the server that runs it: to `/v1` alone, with a key that the tool itself never holds.

The key goes in here, in place of whatever the tool sent as one; so there is nothing to carry away. It is good for this
call alone, and for what its agent's organization has.
"""

from __future__ import annotations

import re
import socket

from agents.sandbox.base import Server
from agents.sandbox.relay import CONNECTIONS, Refused, Relay, first_of, head_of, rewritten

CLIENT_PACKAGE = "letta-client==1.12.1"  # what a Python tool calls it with
MAX_REQUESTS = 200
PREFIX = "/v1/"
_HEADER = re.compile(rb"[\w!#$%&'*+.^`|~-]+:[^\r\n\0]*")
_OURS = (b"host:", b"authorization:")


class OwnServer(Relay):
    max_bytes = 64 << 20
    idle_s = 3600.0  # a message to another agent may take as long as this call may: its end closes what is open

    def __init__(self, listener: socket.socket, server: Server) -> None:
        self._server = server
        self._requests = 0
        super().__init__(listener)

    def connected(self, link: socket.socket) -> tuple[socket.socket, bytes]:
        head, rest = head_of(link)
        line = head.split(b"\r\n", 1)[0].decode("latin-1")
        _, target, version = line.split(" ")
        self._check(head, target)
        if version != "HTTP/1.1":
            raise Refused("505 HTTP Version Not Supported", "speak HTTP/1.1")
        server = self._server
        far = first_of((server.host,), server.port, self.idle_s)
        if far is None:
            raise Refused("502 Bad Gateway", "this server's API does not answer: its operator must set SANDBOX_API_URL")
        if not self.hold(far):
            far.close()
            raise Refused("503 Service Unavailable", f"more than {CONNECTIONS} connections at once")
        link.settimeout(self.idle_s)
        own = (f"Host: {server.host}:{server.port}", f"Authorization: Bearer {server.key}")
        return far, rewritten(head, line, own, _OURS) + rest

    def _check(self, head: bytes, target: str) -> None:
        if not all(map(_HEADER.fullmatch, head.split(b"\r\n")[1:])):
            raise Refused("400 Bad Request", "a header is none: one parser may read another in it than the next")
        path = target.partition("?")[0]
        if not path.startswith(PREFIX) or ".." in path or "%2e" in path.lower():
            raise Refused("403 Forbidden", f"tools reach {PREFIX} of this server, and nothing else of it")
        with self._lock:
            self._requests += 1
            if self._requests > MAX_REQUESTS:
                raise Refused("403 Forbidden", f"more than {MAX_REQUESTS} requests in one call")
