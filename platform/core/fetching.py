"""GET what stands at an address that somebody entered: bounded in time and size, and guarded as `core.outbound` is.

Each address on the way, redirects included, is looked up once, checked, and connected to as it was checked.
"""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import httpx

from core.outbound import NotDelivered, Policy, opened

MOST_REDIRECTS = 4


def fetch(url: str, policy: Policy, most: int, *, accept: str = "*/*") -> bytes:
    """The body, of `most` bytes at most; `policy.whole_s` is for all of it. Raises NotDelivered."""
    end = time.monotonic() + policy.whole_s
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    for _ in range(MOST_REDIRECTS + 1):
        left = end - time.monotonic()
        if left <= 0:
            break
        with opened("GET", _checked(url), replace(policy, whole_s=left), headers=headers) as answer:
            if not answer.is_redirect:
                return _body(answer, urlsplit(url).hostname or "", most)
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
        raise NotDelivered("This is no URL that can be fetched: give one like https://example.com/image.png.")
    if parts.username or parts.password:
        raise NotDelivered("Leave the user and password out of the URL.")
    return url


def _body(answer: httpx.Response, host: str, most: int) -> bytes:
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
