"""POST to an address that somebody entered: never into our own network, never on to another address, signed.

A name is looked up once, every address it has is checked, and the connection goes to the one that was checked, so that
a name cannot answer differently the second time. TLS still checks the certificate against the name.

Headers: `X-Perennial-Delivery` (the message's id, the same when it is repeated), `X-Perennial-Timestamp` (seconds since
1970), `X-Perennial-Signature` (`sha256=` and the hexadecimal HMAC-SHA256, under the shared secret, of
`<timestamp>.<body>`). A receiver computes it over the body as it came, compares in constant time, and refuses a
timestamp that is more than some minutes old.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from core import network
from core.errors import Invalid

TIMEOUT_S = 10.0
# A receiver that sends byte after byte never lets TIMEOUT_S run out.
WHOLE_S = 20.0
MOST_ANSWER = 200


class NotDelivered(Exception):
    """The message did not arrive, or may not have. The text says why, without any secret.

    `status`: what was answered, if anything. `final`: repeating it cannot help.
    """

    def __init__(self, why: str, *, status: int | None = None, final: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.final = final


@dataclass(frozen=True, slots=True)
class Policy:
    """`private`: addresses of our own network and plain http are allowed, by the setting that `setting` names."""

    private: bool
    setting: str
    agent: str
    timeout_s: float = TIMEOUT_S
    whole_s: float = WHOLE_S


def clean_url(url: str, policy: Policy) -> str:
    """Raises Invalid, with the mend, and without the URL: it may hold a password."""
    text = url.strip()
    try:
        parts = urlsplit(text)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or any(char.isspace() for char in text):
        raise Invalid("This is no URL: enter one like https://example.com/hooks/1.")
    if parts.scheme != "https" and not (parts.scheme == "http" and policy.private):
        raise Invalid("Enter a URL that begins with https://.")
    if parts.username or parts.password:
        raise Invalid("Leave the user and password out of the URL: put a token into its path, or check the signature.")
    return text


def shown_url(url: str) -> str:
    """The host, and where the path begins: tokens stand at its end."""
    parts = urlsplit(url)
    first = parts.path.split("/")[1] if parts.path.count("/") > 1 else ""
    return f"{parts.scheme}://{parts.netloc}/{first + '/' if first else ''}…"[:200]


def new_secret() -> str:
    return f"whsec_{secrets.token_urlsafe(32)}"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"sha256={signed.hexdigest()}"


def signed_headers(secret: str, delivery_id: str, body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    return {
        "X-Perennial-Delivery": delivery_id,
        "X-Perennial-Timestamp": timestamp,
        "X-Perennial-Signature": signature(secret, timestamp, body),
    }


def post(url: str, body: bytes, headers: Mapping[str, str], policy: Policy) -> int:
    """The status, which was one of success. Raises NotDelivered."""
    sent = {"Content-Type": "application/json", **headers}
    with opened("POST", url, policy, headers=sent, content=body) as answer:
        _judge(urlsplit(url).hostname or "", answer)
        return answer.status_code


@contextmanager
def opened(
    method: str, url: str, policy: Policy, *, headers: Mapping[str, str], content: bytes | None = None
) -> Iterator[httpx.Response]:
    """The answer, its body yet to be read; redirects are answers too. Raises NotDelivered, also while it is read."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    address = _checked_address(host, parts.port or (443 if parts.scheme == "https" else 80), policy)
    literal = f"[{address}]" if address.version == 6 else str(address)
    target = urlunsplit(
        (parts.scheme, f"{literal}:{parts.port}" if parts.port else literal, parts.path, parts.query, "")
    )
    sent = {"User-Agent": policy.agent, **headers, "Host": parts.netloc}
    with _Deadline.of(policy.whole_s) as deadline:
        more = {"sni_hostname": host, "trace": deadline.trace}
        try:
            with (
                httpx.Client(timeout=policy.timeout_s, follow_redirects=False, trust_env=False) as client,
                client.stream(method, target, content=content, headers=sent, extensions=more) as answer,
            ):
                yield answer
        except httpx.TimeoutException:
            raise NotDelivered(f"{host} did not answer within {policy.timeout_s:g} seconds.") from None
        except httpx.HTTPError as error:
            if deadline.passed:
                raise NotDelivered(f"{host} had not answered whole after {policy.whole_s:g} seconds.") from None
            why = str(error)[:200] or type(error).__name__
            raise NotDelivered(f"{host} could not be reached: {why}") from None


def _judge(host: str, answer: httpx.Response) -> None:
    status = answer.status_code
    if answer.is_redirect:
        why = f"{host} answered {status} and points elsewhere: enter the address that it points to."
        raise NotDelivered(why, status=status)
    if not answer.is_success:
        raise NotDelivered(f"{host} answered {status}: {_beginning(answer)}", status=status)


def _beginning(answer: httpx.Response) -> str:
    """No more of the body than is shown, however much there is."""
    first = next(answer.iter_raw(MOST_ANSWER), b"")[:MOST_ANSWER]
    return " ".join(first.decode("utf-8", "replace").split())


def _checked_address(host: str, port: int, policy: Policy) -> network.Address:
    try:
        found = network.addresses_of(host, port)
    except (OSError, UnicodeError, ValueError):
        raise NotDelivered(f"The name {host} is not known.") from None
    if not policy.private and not all(network.is_public(address) for address in found):
        mend = f"give a public address, or set {policy.setting}=true."
        raise NotDelivered(f"{host} points into a private network: {mend}", final=True)
    return found[0]


@dataclass(slots=True)
class _Deadline:
    """Cuts a connection off from outside, whatever it waits for: httpx has a limit for each read, none for all."""

    passed: bool = False
    _sockets: list[socket.socket] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of(cls, seconds: float) -> Iterator[_Deadline]:
        made = cls()
        timer = threading.Timer(seconds, made._cut)
        timer.daemon = True
        timer.start()
        try:
            yield made
        finally:
            timer.cancel()
            timer.join()
            for one in made._sockets:
                one.close()

    @property
    def trace(self) -> Callable[[str, Mapping[str, Any]], None]:
        return self._seen

    def _seen(self, event: str, told: Mapping[str, Any]) -> None:
        """A descriptor of our own: TLS takes the first one over, and a closed one's number may be another's."""
        if event == "connection.connect_tcp.complete":
            self._sockets.append(told["return_value"].get_extra_info("socket").dup())

    def _cut(self) -> None:
        self.passed = True
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
