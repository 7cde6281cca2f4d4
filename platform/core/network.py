"""Which addresses lie in the internet: for connections to where somebody who is not the operator points.

Without it, this server could be made to ask machines that only it can reach (a cloud's metadata, a database). Look at
the addresses of a name when the connection is made, and connect to the very address that was looked at: the name may
lead elsewhere a moment later.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


def is_public(address: Address) -> bool:
    """Whether packets to it leave for the internet.

    Where a network wraps IPv4 addresses in IPv6 (mapped, NAT64), the inner one counts; tunnels (6to4, Teredo) never do.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None or address.teredo is not None:
            return False
        if address in _NAT64_LOCAL or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast


def addresses_of(host: str, port: int) -> list[Address]:
    """In the order to try them. Raises OSError, UnicodeError."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(row[4][0]).partition("%")[0] for row in rows)
    return [ipaddress.ip_address(text) for text in texts]


class PrivateAddress(Exception):
    """The host lies where nobody allowed to go. The address that was found stays out of it."""


def allowed_addresses(host: str, port: int, allowed: Iterable[str]) -> list[str]:
    """The addresses to connect to, in order. `allowed`: private host names, addresses and networks that may be reached.

    Raises PrivateAddress, OSError, UnicodeError.
    """
    entries = list(allowed)
    if host.rstrip(".").lower() in (entry.lower() for entry in entries):
        return [host]
    found = addresses_of(host, port)
    if not all(is_public(address) or _among(entries, address) for address in found):
        raise PrivateAddress(host)
    return [str(address) for address in found]


def _among(entries: Iterable[str], address: Address) -> bool:
    for entry in entries:
        try:
            if address in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue  # a name
    return False
