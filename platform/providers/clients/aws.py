"""AWS's own ways: requests signed with both parts of a key (Signature Version 4), and answers as binary event streams.

Both are written out here, since the library that has them weighs 34 MB; the tests hold them to AWS's published example
and to the library's output.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from providers.errors import BadResponse

ALGORITHM = "AWS4-HMAC-SHA256"
MOST_FRAME = 16 * 2**20
_FRAME = struct.Struct(">III")
_TEXT = 7
_FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
# Bedrock's exceptions in the words of the vendor whose events it carries.
_KINDS = {
    "throttlingexception": "rate_limit_error",
    "validationexception": "invalid_request_error",
    "serviceunavailableexception": "overloaded_error",
    "modelstreamerrorexception": "api_error",
    "modeltimeoutexception": "timeout_error",
    "internalserverexception": "api_error",
}


@dataclass(frozen=True, slots=True)
class Signer:
    """Both parts of a key, and what it signs for. `headers` are sent along, and signed where AWS wants them to be."""

    key_id: str
    secret: str = field(repr=False)
    region: str
    service: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def sign(self, method: str, url: str, body: bytes, at: datetime) -> dict[str, str]:
        """The headers that make a request this key's own."""
        stamp, day = f"{at:%Y%m%dT%H%M%SZ}", f"{at:%Y%m%d}"
        parts = urlsplit(url)
        signed = {"host": parts.netloc.rpartition("@")[2], "x-amz-date": stamp}
        signed |= {k.lower(): v.strip() for k, v in self.headers.items() if k.lower().startswith("x-amz-")}
        names = ";".join(sorted(signed))
        lines = [method, quote(parts.path or "/", safe="/-_.~"), "&".join(sorted(filter(None, parts.query.split("&"))))]
        lines += [f"{name}:{signed[name]}" for name in sorted(signed)]
        lines += ["", names, hashlib.sha256(body).hexdigest()]
        scope = f"{day}/{self.region}/{self.service}/aws4_request"
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
        word = f"{ALGORITHM} Credential={self.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {"Authorization": word, "X-Amz-Date": stamp}


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[dict[str, str], bytes]]:
    """(headers, payload) of each message. Raises BadResponse for what is none."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while len(rest) >= _FRAME.size:
            whole, head, check = _FRAME.unpack_from(rest)
            if not head + 16 <= whole <= MOST_FRAME or zlib.crc32(rest[:8]) != check:
                raise BadResponse("The provider sent a message that is not of AWS's event streams.")
            if len(rest) < whole:
                break
            frame, rest = rest[:whole], rest[whole:]
            if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
                raise BadResponse("A message of the provider was damaged on its way.")
            yield _headers(frame[12 : 12 + head]), frame[12 + head : -4]


def _headers(raw: bytes) -> dict[str, str]:
    """The text ones."""
    found: dict[str, str] = {}
    at = 0
    while at < len(raw):
        name_end = at + 1 + raw[at]
        name, kind = raw[at + 1 : name_end].decode("utf-8", "replace"), raw[name_end]
        at = name_end + 1
        if kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
            continue
        length = int.from_bytes(raw[at : at + 2], "big")
        if kind == _TEXT:
            found[name] = raw[at + 2 : at + 2 + length].decode("utf-8", "replace")
        at += 2 + length
    return found


def _read(chunks: Iterable[bytes]) -> Iterator[tuple[dict[str, str], Any]]:
    """(headers, what was said) of each message."""
    for headers, payload in frames(chunks):
        try:
            yield headers, orjson.loads(payload) if payload else {}
        except ValueError:
            raise BadResponse("The provider sent an event that cannot be read.") from None


def _exception(headers: Mapping[str, str], said: Any) -> bytes:
    """The error event that an exception is; nothing for any other message."""
    if headers.get(":message-type", "event") == "event":
        return b""
    said = said if isinstance(said, dict) else {}
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    kind = _KINDS.get(name.lower(), name or "api_error")
    message = said.get("message") or said.get("Message") or headers.get(":error-message") or name
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})


def carried_payloads(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Another vendor's own events, which Bedrock carries in base64; its exceptions as that vendor's error events."""
    for headers, said in _read(chunks):
        failed = _exception(headers, said)
        try:
            yield failed or base64.b64decode(said["bytes"])
        except (ValueError, KeyError, TypeError):
            raise BadResponse("The provider sent an event that cannot be read.") from None


def event_payloads(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """AWS's own events, each as `{its type: what was said}`; exceptions as error events."""
    for headers, said in _read(chunks):
        yield _exception(headers, said) or orjson.dumps({headers.get(":event-type", ""): said})
