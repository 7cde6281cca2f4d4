"""What own keys cost: told by the room that keeps the traces, which this one does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from core.errors import AppError


@dataclass(frozen=True, slots=True)
class KeySpend:
    """Of the calendar month so far, in UTC. `unpriced`: calls whose cost nobody knows."""

    calls: int = 0
    errors: int = 0
    unpriced: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Told:
    """By the key's id; `trouble` says why nothing is known."""

    spend: Mapping[str, KeySpend]
    trouble: str = ""

    def of(self, provider_id: str) -> KeySpend | None:
        return None if self.trouble else self.spend.get(provider_id, KeySpend())


Source = Callable[[Sequence[str]], Mapping[str, KeySpend]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """`source` answers for the ids of keys; it raises AppError where the traces cannot be asked."""
    _sources[:] = [source]


def month_of(provider_ids: Sequence[str]) -> Told:
    if not _sources:
        return Told({}, "Nothing here keeps what calls cost.")
    if not provider_ids:
        return Told({})
    try:
        return Told(_sources[0](provider_ids))
    except AppError as error:
        return Told({}, error.message)
