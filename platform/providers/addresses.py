"""Where an organization's own providers may be: nowhere inside the operator's network, unless the operator says so.

A tenant names the address, this server connects to it. `clients.guard` asks here at every new connection, actions at
every save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from core import network

_MEND = "If it is meant to be reached, the operator must name it in PROVIDER_ALLOWED_HOSTS."


class ForbiddenAddress(Exception):
    """The message is for the caller: which host, and the mend. The address that was found stays out of it."""


def _none() -> Iterable[str]:
    return ()


allowed_hosts: Callable[[], Iterable[str]] = _none


def set_allowed_hosts(source: Callable[[], Iterable[str]]) -> None:
    """`source` gives host names, addresses and networks; it is asked anew each time."""
    global allowed_hosts  # noqa: PLW0603 - the one door from the settings, which this module may not import
    allowed_hosts = source


def addresses_of(host: str, port: int) -> list[str]:
    """The addresses to connect to, in order. Raises ForbiddenAddress where one of them is not public, OSError."""
    try:
        return network.allowed_addresses(host, port, allowed_hosts())
    except network.PrivateAddress:
        raise ForbiddenAddress(
            f"The host '{host}' lies in a private network, where no provider of an organization may be. {_MEND}"
        ) from None


def refuse_private(url: str) -> None:
    """Raises ForbiddenAddress for a base URL that a call would be refused for. A name that nobody knows passes."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.username or parts.password:
        raise ForbiddenAddress("The address holds a user name or a password: enter the key in its own field.")
    try:
        addresses_of(parts.hostname or "", parts.port or 443)
    except (OSError, UnicodeError):
        return  # the call will say so
