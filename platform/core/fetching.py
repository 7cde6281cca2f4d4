"""GET what stands at an address that somebody entered: bounded in time and size, and guarded as `core.outbound` is.

Each address on the way, redirects included, is looked up once, checked, and connected to as it was checked.
"""

from __future__ import annotations

import codecs
import time
from dataclasses import dataclass, replace
from urllib.parse import urljoin, urlsplit

import httpx

from core.outbound import NotDelivered, Policy, opened

MOST_REDIRECTS = 4
QUADRATIC = frozenset({"idna", "punycode"})  # text of some megabytes would take them hours


@dataclass(frozen=True, slots=True)
class Fetched:
    """`url`: where it stood in the end. `media_type`, `charset`: as the answer names them, or empty."""

    url: str
    body: bytes
    media_type: str
    charset: str


def fetch(url: str, policy: Policy, most: int, *, accept: str = "*/*") -> Fetched:
    """What has `most` bytes at most; `policy.whole_s` is for all of it. Raises NotDelivered."""
    end = time.monotonic() + policy.whole_s
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    for _ in range(MOST_REDIRECTS + 1):
        left = end - time.monotonic()
        if left <= 0:
            break
        with opened("GET", _checked(url), replace(policy, whole_s=left), headers=headers) as answer:
            if not answer.is_redirect:
                body = body_of(answer, urlsplit(url).hostname or "", most)
                kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Fetched(url, body, kind, _charset(answer))
            url = urljoin(url, answer.headers["location"])
    raise NotDelivered(f"{urlsplit(url).hostname} points elsewhere again and again: give the address itself.")


def _checked(url: str) -> str:
    """Without the URL in what is raised: it may hold a token."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0 and url.isascii() and not any(map(str.isspace, url))
    except ValueError:
        good = False
    if not good or parts.scheme not in ("http", "https"):
        raise NotDelivered("This is no URL that can be fetched: give one like https://example.com/page.")
    if parts.username or parts.password:
        raise NotDelivered("Leave the user and password out of the URL.")
    return url


def _charset(answer: httpx.Response) -> str:
    """One that `decode` knows, or empty."""
    named = answer.charset_encoding or ""
    try:
        b"".decode(named or "utf-8")
        return "" if codecs.lookup(named or "utf-8").name in QUADRATIC else named
    except (LookupError, ValueError):
        return ""


def body_of(answer: httpx.Response, host: str, most: int) -> bytes:
    """Raises NotDelivered for a failure, and for more than `most` bytes."""
    if not answer.is_success:
        raise NotDelivered(f"{host} answered {answer.status_code}.", status=answer.status_code)
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise NotDelivered(f"{host} sent it compressed, without being asked to.")
    found = bytearray()
    for chunk in answer.iter_raw():
        found += chunk
        if len(found) > most:
            raise NotDelivered(f"What stands at {host} has more than {most} bytes.")
    return bytes(found)
