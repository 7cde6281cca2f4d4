"""HTTP to an MCP server: to addresses that are allowed alone, and no more bytes than one answer may have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2
from django.conf import settings

from core import network

MAX_BYTES = 8_000_000
_READ_IDLE_S = 300.0
_UNAUTHORIZED = frozenset({401, 403})


class Refused(httpx2.StreamError):
    """We stop reading, or do not connect; the message is for the caller."""


@dataclass
class Wire:
    """What happened on the wire of one connection; the SDK tells its caller less. `problem`: the first thing wrong."""

    received: int = 0
    problem: str = ""
    unauthorized: bool = False

    def begin(self) -> None:
        """Of a call: what came before does not count against it."""
        self.received, self.problem, self.unauthorized = 0, "", False

    def refuse(self, problem: str) -> Refused:
        self.problem = self.problem or problem
        return Refused(problem)

    def count(self, amount: int) -> None:
        self.received += amount
        if self.received > MAX_BYTES:
            raise self.refuse(f"it sent more than {MAX_BYTES // 1_000_000} MB for one answer")


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Looks at the addresses of a name when it connects, and connects to the very one it looked at."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._plain = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        for number, address in enumerate(addresses := await self._addresses(host, port), 1):
            try:
                return await self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpcore2.ConnectError(f"The name {host} leads to no address.")

    async def _addresses(self, host: str, port: int) -> list[str]:
        look = asyncio.get_running_loop().run_in_executor
        try:
            return await look(None, network.allowed_addresses, host, port, settings.MCP_ALLOWED_HOSTS)
        except network.PrivateAddress:
            raise self._wire.refuse(private(host)) from None
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError(f"The name {host} is not known.") from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is httpcore's
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise self._wire.refuse("it is a unix socket")

    async def sleep(self, seconds: float) -> None:
        await self._plain.sleep(seconds)


def private(host: str) -> str:
    return (
        f"the host {host} lies in a private network: if it is meant to be reached, the operator must name it in "
        "MCP_ALLOWED_HOSTS"
    )


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._wire.count(len(chunk))
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


class MeasuredTransport(httpx2.AsyncBaseTransport):
    """Asks for answers as they are: what is compressed could be a thousand times larger than what was counted."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inner = httpx2.AsyncHTTPTransport(trust_env=False)
        self._inner._pool._network_backend = GuardedBackend(wire)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Accept-Encoding"] = "identity"
        answer = await self._inner.handle_async_request(request)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            await answer.aclose()
            raise self._wire.refuse("it compresses its answers, though it was asked not to")
        if answer.status_code in _UNAUTHORIZED:
            self._wire.unauthorized = True
        elif answer.is_success:
            self._wire.unauthorized = False
        assert isinstance(answer.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            status_code=answer.status_code,
            headers=answer.headers,
            stream=_Counted(answer.stream, self._wire),
            extensions=answer.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


def client(wire: Wire, headers: dict[str, str], auth: httpx2.Auth | None, connect_s: float) -> httpx2.AsyncClient:
    """Whoever calls it limits the time of the whole; a stream may be silent between two calls."""
    timeout = httpx2.Timeout(connect_s, read=_READ_IDLE_S)
    return httpx2.AsyncClient(transport=MeasuredTransport(wire), headers=headers, auth=auth, timeout=timeout)
