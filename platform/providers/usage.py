"""Token counts in disjoint buckets: every token is in exactly one of them, and they add up to the provider's total."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call (or a sum of calls).

    `reasoning` lies within `output`; the others are disjoint. `None` for the cache and reasoning buckets means that the
    provider did not report them. `estimated`: counted by us because the provider said nothing.
    """

    input: int = 0
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int = 0
    reasoning: int | None = None
    estimated: bool = False

    @property
    def cache_write(self) -> int | None:
        if self.cache_write_5m is None and self.cache_write_1h is None:
            return None
        return (self.cache_write_5m or 0) + (self.cache_write_1h or 0)

    @property
    def prompt(self) -> int:
        """All that was sent, cached or not."""
        return self.input + (self.cache_read or 0) + (self.cache_write or 0)

    @property
    def total(self) -> int:
        return self.prompt + self.output

    def __add__(self, other: Usage) -> Usage:
        sums: dict[str, Any] = {}
        for f in fields(self):
            a, b = getattr(self, f.name), getattr(other, f.name)
            sums[f.name] = (
                (a or b) if f.name == "estimated" else (None if a is None and b is None else (a or 0) + (b or 0))
            )
        return Usage(**sums)
