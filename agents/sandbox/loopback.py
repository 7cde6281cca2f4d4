"""The tool's own loopback, and the socket on it through which a granted network is reached. Runs within the walls."""

from __future__ import annotations

import fcntl
import socket
import struct

PORT = 3128
_SET_FLAGS, _UP = 0x8914, 1


def hand_over(link_fd: int) -> None:
    """Give the server a socket that listens on this loopback. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH22x", b"lo", _UP))
    with socket.socket(fileno=link_fd) as link, socket.create_server(("127.0.0.1", PORT), backlog=64) as listener:
        socket.send_fds(link, [b"l"], [listener.fileno()])


def variables() -> dict[str, str]:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    return {**dict.fromkeys(names, f"http://127.0.0.1:{PORT}"), "NODE_USE_ENV_PROXY": "1"}
