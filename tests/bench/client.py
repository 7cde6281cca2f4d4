"""A bare HTTP client for measuring: one kept connection, no parsing that is not asked for."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit


class Link:
    """One connection to a server. Not for several threads."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        self._headers = {"Content-Type": "application/json", "Connection": "keep-alive"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, raw = self.raw(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {raw[:500]!r}")
        return json.loads(raw)

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        payload = None if body is None else json.dumps(body)
        self._connection.request(method, path, payload, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def lines(self, path: str, body: Any) -> Iterator[bytes]:
        self._connection.request("POST", path, json.dumps(body), self._headers)
        response = self._connection.getresponse()
        if response.status >= 300:
            raise RuntimeError(f"{path}: {response.status} {response.read()[:500]!r}")
        while line := response.readline():
            yield line


def median_ms(action: Callable[[], Any], times: int, warm_up: int = 3) -> float:
    for _ in range(warm_up):
        action()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        took.append((time.perf_counter() - began) * 1000)
    return sorted(took)[len(took) // 2]
