"""Connections of organizations' own providers: to public addresses alone.

The addresses that a name leads to are looked at when the connection is made, and it is made to the very address that
was looked at, so that a name cannot lead elsewhere a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

from providers.addresses import ForbiddenAddress, addresses_of


class GuardedBackend(httpcore2.NetworkBackend):
    """Opens connections to public addresses alone. TLS is checked against the name, as ever: it knows no address."""

    def __init__(self) -> None:
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            addresses = addresses_of(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        for number, address in enumerate(addresses, 1):
            try:
                return self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpcore2.ConnectError(f"The name '{host}' leads to no address.")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        raise ForbiddenAddress("A provider of an organization cannot be a unix socket.")

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


def guard(client: httpx2.Client) -> httpx2.Client:
    """Guard the direct connections of a client. What goes by the operator's own proxy is the proxy's to refuse."""
    transport = client._transport
    if not isinstance(transport, httpx2.HTTPTransport):
        raise TypeError("Only a client with the ordinary transport can be guarded.")
    transport._pool._network_backend = GuardedBackend()
    return client
