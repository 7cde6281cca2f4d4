"""A free loopback port, the same one as last time where possible, so that an address stays good between starts."""

import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def free_port(remembered: Path) -> int:
    """The port noted in `remembered` if nobody listens there, else a new one, noted for the next start."""
    try:
        wanted = int(remembered.read_text())
    except (OSError, ValueError):
        wanted = 0
    if wanted and bindable(wanted):
        return wanted
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    remembered.write_text(str(port))
    return port


def bindable(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
