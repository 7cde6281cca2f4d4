"""Server-sent events to their data lines, without a decoder object per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def payloads(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The data of each event. Event names are left out: every dialect repeats them in its JSON."""
    rest = b""
    for chunk in chunks:
        rest = rest + chunk if rest else chunk
        if b"\r" in rest:
            if rest.endswith(b"\r"):
                continue
            rest = rest.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = rest.split(b"\n\n")
        for event in events:
            data = _data(event)
            if data:
                yield data
    data = _data(rest)
    if data:
        yield data


def _data(event: bytes) -> bytes:
    """The data of one event; most have one line, or a name and one line."""
    event = event.strip(b"\n")
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].lstrip()
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines).strip()
