"""How many threads of a process may wait for MCP servers on behalf of callers, so that the others are free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from core.errors import LimitExceeded

AT_ONCE = 8
OF_ONE = 4  # organization


class Places:
    def __init__(self) -> None:
        self._lock = Lock()
        self._taken: Counter[str] = Counter()

    @contextmanager
    def place(self, organization_id: str) -> Iterator[None]:
        """Raises LimitExceeded."""
        with self._lock:
            if self._taken[organization_id] >= OF_ONE or self._taken.total() >= AT_ONCE:
                raise LimitExceeded(
                    "Enough requests of this server wait for MCP servers already: try again in a moment.", retry_after=2
                )
            self._taken[organization_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[organization_id] -= 1


places = Places()
