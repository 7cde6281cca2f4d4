"""A reader on a unix socket: one JSON line for each trace (Letta's protocol, version 3). Nothing can be read back.

The protocol has no answer, so a batch counts as taken once the reader has emptied the socket's buffer. After a doubt it
is sent again: a reader drops what it has by `provider_trace_id`, and a line without its end.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings

from telemetry.batches import Away, Batch, Entry
from telemetry.said import as_object

PROTOCOL_VERSION = 3
SOURCE = "perennial"
TIMEOUT_S = 15.0
POLL_S = 0.002
NAME_BYTES = 107  # what the kernel takes as the name of a unix socket


class UnixSocket:
    name = "socket"

    def __init__(self, path: str = "") -> None:
        self._path = path or str(settings.TELEMETRY_SOCKET)
        self._link: socket.socket | None = None

    def write(self, batch: Batch, *, doubtful: bool) -> None:
        try:
            link = self._link = self._link or self._connected()
            for entry in batch.entries:
                link.sendall(line(entry))
            if not _was_read(link):
                self.close()
        except OSError as error:
            self.close()
            raise Away(_said(error)) from error

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def wrong(self) -> Sequence[str]:
        if Path(self._path).is_absolute() and len(self._path.encode()) <= NAME_BYTES:
            return ()
        return (f"TELEMETRY_SOCKET must be the absolute path of a unix socket, of at most {NAME_BYTES} bytes.",)

    def probe(self) -> str:
        try:
            self._connected().close()
        except OSError as error:
            raise Away(f"{self._path}: {_said(error)}") from error
        return f"a reader listens on {self._path}"

    def _connected(self) -> socket.socket:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.settimeout(TIMEOUT_S)
        try:
            link.connect(self._path)
        except BaseException:
            link.close()
            raise
        return link


def line(entry: Entry) -> bytes:
    row = entry.named()
    request, response, config = (as_object(payload) or None for payload in _three(entry.payloads))
    said: dict[str, Any] = {
        "protocol_version": PROTOCOL_VERSION,
        "provider_trace_id": f"provider_trace-{row['id']}",
        "agent_id": row["agent_id"] or None,
        "run_id": row["run_id"] or None,
        "step_id": row["step_id"] or None,
        "tags": row["agent_tags"],
        "type": row["call_type"],
        "source": SOURCE,
        "request": request,
        "response": response,
        "error": row["error_message"] or row["error_type"] or None,
        "error_type": row["error_type"] or None,
        "timestamp": datetime.fromtimestamp(row["created_at"] / 1000, UTC).isoformat(),
        "org_id": row["organization_id"],
        "user_id": None,
        "compaction_settings": None,
        "llm_config": config,
    }
    return orjson.dumps(said, option=orjson.OPT_APPEND_NEWLINE)


def _three(payloads: Sequence[bytes]) -> Sequence[bytes]:
    return payloads or (b"", b"", b"")


def _was_read(link: socket.socket) -> bool:
    """Wait until the reader has taken everything. False when it then closed its end; OSError when it closed before."""
    deadline = time.monotonic() + TIMEOUT_S
    while _unread(link):
        if time.monotonic() > deadline:
            raise TimeoutError("the reader does not read")
        time.sleep(POLL_S)
    link.settimeout(0)
    try:
        # The end of a reader that left something unread is an error here, the end of another is the end of a stream.
        return link.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    finally:
        link.settimeout(TIMEOUT_S)


def _unread(link: socket.socket) -> int:
    """Bytes that were sent and not read yet."""
    (count,) = struct.unpack("i", fcntl.ioctl(link, termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)


def _said(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
