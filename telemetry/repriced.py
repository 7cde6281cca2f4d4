"""What calls cost since they were re-priced: their rows stay as they were written, corrections stand beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from telemetry.select import select
from telemetry.trace import PRICE_COLUMNS, REPRICING_COLUMNS


@dataclass(frozen=True, slots=True, kw_only=True)
class Repricing:
    """One correction of one call. `repricing_id`: the job. `prices`: the new values of the row's PRICE_COLUMNS."""

    repricing_id: str
    repriced_at: datetime
    actor_id: str
    reason: str
    old_cost_usd: Decimal | None
    old_price_source: str
    old_price_tier: str
    old_price_confidence: str
    prices: Mapping[str, Any]


def latest(organization_id: str | None, places: Sequence[tuple[str, int]]) -> dict[str, Repricing]:
    """The last correction of each call that has any. `places`: id, and time of the call in milliseconds."""
    if not places:
        return {}
    times = [at for _, at in places]
    ids = [call_id for call_id, _ in places]
    rows = select("repricings", organization_id, first=min(times), last=max(times), ids=ids)
    return {row[0]: _repricing(row[1:]) for row in rows}


def _repricing(row: Sequence[Any]) -> Repricing:
    known = dict(zip(REPRICING_COLUMNS, row, strict=False))
    return Repricing(**known, prices=dict(zip(PRICE_COLUMNS, row[len(REPRICING_COLUMNS) :], strict=True)))
