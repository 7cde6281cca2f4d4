"""POST to an address that somebody entered: never into our own network, never on to another address.

A name is looked up once, every address it has is checked, and the connection goes to the one that was checked, so that
a name cannot answer differently the second time. TLS still checks the certificate against the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import httpx
from django.conf import settings

from core import network
from core.errors import Invalid
from telemetry.alerts.channels.base import NotSent

TIMEOUT_S = 10.0
MOST_ANSWER = 200
PRIVATE = "points into a private network: give a public address, or set ALERT_PRIVATE_ADDRESSES=true."


def clean_url(url: str) -> str:
    """Raises Invalid, with the mend, and without the URL: it may hold a password."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or any(char.isspace() for char in text):
        raise Invalid("This is no URL: enter one like https://example.com/hooks/1.")
    if parts.scheme != "https" and not (parts.scheme == "http" and settings.ALERT_PRIVATE_ADDRESSES):
        raise Invalid("Enter a URL that begins with https://.")
    if parts.username or parts.password:
        raise Invalid("Leave the user and password out of the URL: put a token into its path, or check the signature.")
    return text


def shown_url(url: str) -> str:
    """The host, and where the path begins: tokens stand at its end."""
    parts = urlsplit(url)
    first = parts.path.split("/")[1] if parts.path.count("/") > 1 else ""
    return f"{parts.scheme}://{parts.netloc}/{first + '/' if first else ''}…"[:200]


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status, which was one of success. Raises NotSent."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = _checked_address(host, parts.port or (443 if parts.scheme == "https" else 80))
    literal = f"[{address}]" if address.version == 6 else str(address)
    target = urlunsplit(
        (parts.scheme, f"{literal}:{parts.port}" if parts.port else literal, parts.path, parts.query, "")
    )
    sent = {"Content-Type": "application/json", "User-Agent": "Perennial-Alerts/1", **headers, "Host": parts.netloc}
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", target, content=body, headers=sent, extensions={"sni_hostname": host}) as answer,
        ):
            _judge(host, answer)
            return answer.status_code
    except httpx.TimeoutException:
        raise NotSent(f"{host} did not answer within {TIMEOUT_S:g} seconds.") from None
    except httpx.HTTPError as error:
        raise NotSent(f"{host} could not be reached: {str(error)[:200] or type(error).__name__}") from None


def _judge(host: str, answer: httpx.Response) -> None:
    if answer.is_redirect:
        raise NotSent(
            f"{host} answered {answer.status_code} and points elsewhere: enter the address that it points to."
        )
    if not answer.is_success:
        raise NotSent(f"{host} answered {answer.status_code}: {_beginning(answer)}")


def _beginning(answer: httpx.Response) -> str:
    """No more of the body than is shown, however much there is."""
    first = next(answer.iter_raw(MOST_ANSWER), b"")[:MOST_ANSWER]
    return " ".join(first.decode("utf-8", "replace").split())


def _checked_address(host: str, port: int) -> network.Address:
    try:
        found = network.addresses_of(host, port)
    except (OSError, UnicodeError, ValueError):
        raise NotSent(f"The name {host} is not known.") from None
    if not settings.ALERT_PRIVATE_ADDRESSES and not all(network.is_public(address) for address in found):
        raise NotSent(f"{host} {PRIVATE}")
    return found[0]
