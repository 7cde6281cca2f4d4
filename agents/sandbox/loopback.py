"""The tool's own loopback, and the sockets on it through which what was granted is reached. Runs within the walls."""

from __future__ import annotations

import fcntl
import socket
import struct

PROXY, SERVER = 3128, 8283
_SET_FLAGS, _UP = 0x8914, 1


def hand_over(link_fd: int, ports: list[int]) -> None:
    """Give the server sockets that listen on this loopback, in this order. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SET_FLAGS, struct.pack("16sH22x", b"lo", _UP))
    listeners = [socket.create_server(("127.0.0.1", port), backlog=64) for port in ports]
    with socket.socket(fileno=link_fd) as link:
        socket.send_fds(link, [b"l"], [listener.fileno() for listener in listeners])
    for listener in listeners:
        listener.close()


def variables(ports: list[int]) -> dict[str, str]:
    """By which programs find them. The key is a word that says what it stands for: the real one is put in outside."""
    found: dict[str, str] = {}
    if PROXY in ports:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        found |= {**dict.fromkeys(names, f"http://127.0.0.1:{PROXY}"), "NODE_USE_ENV_PROXY": "1"}
    if SERVER in ports:
        found |= {"LETTA_BASE_URL": f"http://127.0.0.1:{SERVER}", "LETTA_API_KEY": "granted"}
    if len(ports) > 1:
        found |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    return found
