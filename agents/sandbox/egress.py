"""The one way out of a sandbox that was granted the network: an HTTP proxy that connects to public addresses only.

Names are looked up here, and the connection goes to the very address that was looked at.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from agents.sandbox.relay import CONNECTIONS, Refused, Relay, first_of, head_of, rewritten

Reach = Callable[[str, int], Sequence[str]]  # the addresses to try, none where the tool may not go there
ALLOWED = "only public addresses can be reached, on the ports of the web"


class Egress(Relay):
    max_bytes = 256 << 20
    idle_s = 60.0

    def __init__(self, listener: socket.socket, reach: Reach) -> None:
        self._reach = reach
        super().__init__(listener)

    def connected(self, link: socket.socket) -> tuple[socket.socket, bytes]:
        head, rest = head_of(link)
        method, target, version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if tunnel else target)
        host, port = url.hostname or "", url.port or (443 if tunnel else 80)
        if not host or (not tunnel and url.scheme != "http"):
            raise Refused("400 Bad Request", "ask for http://… or CONNECT")
        try:
            addresses = self._reach(host, port)
        except (OSError, UnicodeError):
            raise Refused("502 Bad Gateway", f"{host} was not found") from None
        if not addresses:
            raise Refused("403 Forbidden", f"tools may not go to {host}:{port}: {ALLOWED}")
        far = first_of(addresses, port, self.idle_s)
        if far is None:
            raise Refused("502 Bad Gateway", f"{host} does not answer")
        if not self.hold(far):
            far.close()
            raise Refused("503 Service Unavailable", f"more than {CONNECTIONS} connections at once")
        if tunnel:
            link.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return far, rest
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return far, rewritten(head, f"{method} {path} {version}") + rest
