"""The one way out of a sandbox that was granted the network: an HTTP proxy that connects to public addresses only.

The tool's network name space holds nothing but its own loopback. The guest makes a listening socket there, before it
has seen any code, and hands it to the server; so the tool's HTTP_PROXY lies within its walls, and who answers is this
thread. Names are looked up here, and the connection goes to the very address that was looked at.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast
from urllib.parse import urlsplit

Reach = Callable[[str, int], Sequence[str]]  # the addresses to try, none where the tool may not go there
ALLOWED = "only public addresses can be reached, on the ports of the web"
CONNECTIONS = 16
HEAD_BYTES = 65_536
MAX_BYTES = 256 << 20
HEAD_S, CONNECT_S, IDLE_S = 10.0, 10.0, 60.0


class _Refused(Exception):
    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        text = f"{why}\n".encode()
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        self.answer = head.encode() + text


class Egress:
    """Serves one guest, from `listener`, until it is closed."""

    def __init__(self, listener: socket.socket, reach: Reach) -> None:
        self._listener = listener
        self._reach = reach
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._bytes = 0
        threading.Thread(target=self._accept, name="egress", daemon=True).start()

    def close(self) -> None:
        with self._lock:
            held = [self._listener, *self._open]
            self._open.clear()
        for one in held:
            with suppress(OSError):  # it has ended by itself
                one.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            if not self._hold(link):
                link.close()
                continue
            threading.Thread(target=self._serve, args=(link,), name="egress", daemon=True).start()

    def _hold(self, link: socket.socket) -> bool:
        with self._lock:
            room = len(self._open) < 2 * CONNECTIONS and self._listener.fileno() >= 0
            if room:
                self._open.add(link)
            return room

    def _serve(self, link: socket.socket) -> None:
        far: socket.socket | None = None
        try:
            link.settimeout(HEAD_S)
            far, first = self._connected(link)
            far.sendall(first)
            self._relay(link, far)
        except _Refused as refused:
            with suppress(OSError):  # it has gone
                link.sendall(refused.answer)
        except (OSError, ValueError):
            pass  # one of the two has gone, or what was sent is no HTTP: both ends are closed
        finally:
            for one in (link, far):
                if one is not None:
                    with self._lock:
                        self._open.discard(one)
                    one.close()

    def _connected(self, link: socket.socket) -> tuple[socket.socket, bytes]:
        """The far end, and what is to be said to it first."""
        head, rest = _head(link)
        method, target, version = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        tunnel = method == "CONNECT"
        url = urlsplit(f"//{target}" if tunnel else target)
        host, port = url.hostname or "", url.port or (443 if tunnel else 80)
        if not host or (not tunnel and url.scheme != "http"):
            raise _Refused("400 Bad Request", "ask for http://… or CONNECT")
        try:
            addresses = self._reach(host, port)
        except (OSError, UnicodeError):
            raise _Refused("502 Bad Gateway", f"{host} was not found") from None
        if not addresses:
            raise _Refused("403 Forbidden", f"tools may not go to {host}:{port}: {ALLOWED}")
        far = _first(addresses, port)
        if far is None:
            raise _Refused("502 Bad Gateway", f"{host} does not answer")
        if not self._hold(far):
            far.close()
            raise _Refused("503 Service Unavailable", f"more than {CONNECTIONS} connections at once")
        if tunnel:
            link.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return far, rest
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return far, _rewritten(head, f"{method} {path} {version}") + rest

    def _relay(self, link: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            for one, its_other in ((link, far), (far, link)):
                selector.register(one, selectors.EVENT_READ, its_other)
            while ready := selector.select(IDLE_S):
                for key, _ in ready:
                    data = cast("socket.socket", key.fileobj).recv(65_536)
                    self._bytes += len(data)
                    if not data or self._bytes > MAX_BYTES:
                        return
                    key.data.sendall(data)


def _head(link: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        got = link.recv(4096)
        if not got or len(data) > HEAD_BYTES:
            raise ValueError("no request")
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _rewritten(head: bytes, line: str) -> bytes:
    """As the far end wants it: for one request, since the next one could be meant for another host."""
    kept = [name for name in head.split(b"\r\n")[1:] if not name.lower().startswith((b"proxy-", b"connection:"))]
    return b"\r\n".join([line.encode("latin-1"), *kept, b"Connection: close"]) + b"\r\n\r\n"


def _first(addresses: Sequence[str], port: int) -> socket.socket | None:
    for address in addresses:
        try:
            far = socket.create_connection((address, port), CONNECT_S)
        except OSError:
            continue
        far.settimeout(IDLE_S)
        return far
    return None
