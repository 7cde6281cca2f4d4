"""Connections to ClickHouse: a small pool for readers, plain ones for the shipper and the migrations."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from clickhouse_driver import Client
from clickhouse_driver.errors import Error
from clickhouse_driver.util.helpers import parse_url
from django.conf import settings

from core.errors import Unavailable

# What clickhouse-driver lets through besides its own errors when a server goes away in mid-sentence.
CLIENT_ERRORS = (Error, OSError, EOFError)
IDLE_CONNECTIONS = 8
# It logs each failed try with a stack trace, once a second through an outage; we say it once, in our words.
logging.getLogger("clickhouse_driver.connection").setLevel(logging.ERROR)


class TelemetryUnavailable(Unavailable):
    """ClickHouse does not answer, or refuses to. The request path never meets this: only readers do."""

    code = "telemetry_unavailable"


def connect(url: str, **options: Any) -> Client:
    """One connection, for one thread at a time. `options` go over what the URL says."""
    host, given = parse_url(url)
    return Client(host, **{"connect_timeout": 5, "send_receive_timeout": 60, **given, **options})


class Pool:
    """Connections for readers. A client is one connection and breaks when two threads share it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Client] = []
        self._lock = threading.Lock()

    def select(self, sql: str, params: Mapping[str, Any], limits: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """Rows; `params` fill the `{name:Type}` places of the query on the server."""
        client = self._take()
        try:
            rows: Sequence[Sequence[Any]] = client.execute(sql, dict(params), settings=dict(limits))
        except CLIENT_ERRORS as error:
            client.disconnect()
            raise TelemetryUnavailable(f"ClickHouse did not answer: {_said(error)}") from error
        except BaseException:
            client.disconnect()
            raise
        self._give_back(client)
        return rows

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for client in idle:
            client.disconnect()

    def _take(self) -> Client:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return connect(self._url, send_receive_timeout=30, settings={"server_side_params": True})

    def _give_back(self, client: Client) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(client)
                return
        client.disconnect()


@lru_cache(maxsize=4)
def _pool(url: str) -> Pool:
    return Pool(url)


def pool() -> Pool:
    """The readers' pool of the ClickHouse in the settings."""
    if not settings.CLICKHOUSE_URL:
        raise TelemetryUnavailable("No ClickHouse is set: give CLICKHOUSE_URL, or start one with `manage.py up`.")
    return _pool(settings.CLICKHOUSE_URL)


def _said(error: BaseException) -> str:
    """The server's own words without its stack trace; addresses are in there, passwords are not."""
    text = error.message if isinstance(error, Error) else str(error)
    return ((text or "").strip().splitlines() or [type(error).__name__])[0][:300]
