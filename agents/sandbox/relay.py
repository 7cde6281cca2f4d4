"""Answers on a socket that listens within a sandbox's walls: each connection is led to where its first line may go.

The tool's network name space holds nothing but its own loopback. The guest makes a listening socket there, before it
has seen any code, and hands it to the server; so what the tool connects to lies within its walls, and who answers is a
thread out here.
"""

from __future__ import annotations

import selectors
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar, cast

CONNECTIONS = 16
HEAD_BYTES = 65_536
HEAD_S, CONNECT_S = 10.0, 10.0


class Refused(Exception):
    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        text = f"{why}\n".encode()
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        self.answer = head.encode() + text


class Relay(ABC):
    """Serves one guest, from `listener`, until it is closed. `idle_s`: a connection that is silent so long ends."""

    max_bytes: ClassVar[int]
    idle_s: ClassVar[float]

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._bytes = 0
        threading.Thread(target=self._accept, name="sandbox-relay", daemon=True).start()

    @abstractmethod
    def connected(self, link: socket.socket) -> tuple[socket.socket, bytes]:
        """The far end, held, and what is to be said to it first. Raises Refused, OSError, ValueError."""

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
            if not self.hold(link):
                link.close()
                continue
            threading.Thread(target=self._serve, args=(link,), name="sandbox-relay", daemon=True).start()

    def hold(self, link: socket.socket) -> bool:
        with self._lock:
            room = len(self._open) < 2 * CONNECTIONS and self._listener.fileno() >= 0
            if room:
                self._open.add(link)
            return room

    def _serve(self, link: socket.socket) -> None:
        far: socket.socket | None = None
        try:
            link.settimeout(HEAD_S)
            far, first = self.connected(link)
            far.sendall(first)
            self._relay(link, far)
        except Refused as refused:
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

    def _relay(self, link: socket.socket, far: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            for one, its_other in ((link, far), (far, link)):
                selector.register(one, selectors.EVENT_READ, its_other)
            while ready := selector.select(self.idle_s):
                for key, _ in ready:
                    data = cast("socket.socket", key.fileobj).recv(65_536)
                    self._bytes += len(data)
                    if not data or self._bytes > self.max_bytes:
                        return
                    key.data.sendall(data)


def head_of(link: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        got = link.recv(4096)
        if not got or len(data) > HEAD_BYTES:
            raise ValueError("no request")
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def rewritten(head: bytes, line: str, own: Sequence[str] = (), dropped: tuple[bytes, ...] = ()) -> bytes:
    """As the far end wants it: for one request, since the next one could be meant for something else. `own`: headers
    in place of those that were `dropped`, which are named in lower case."""
    gone = (b"proxy-", b"connection:", *dropped)
    kept = [name for name in head.split(b"\r\n")[1:] if not name.lower().startswith(gone)]
    mine = [header.encode("latin-1") for header in own]
    return b"\r\n".join([line.encode("latin-1"), *kept, *mine, b"Connection: close"]) + b"\r\n\r\n"


def first_of(addresses: Sequence[str], port: int, idle_s: float) -> socket.socket | None:
    for address in addresses:
        try:
            far = socket.create_connection((address, port), CONNECT_S)
        except OSError:
            continue
        far.settimeout(idle_s)
        return far
    return None
