"""Writing corrections of costs: beside the rows, exactly once, and into the sums."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from clickhouse_driver import Client
from django.conf import settings

from telemetry.client import CLIENT_ERRORS, TelemetryUnavailable, connect
from telemetry.inserter import INSERT_SETTINGS
from telemetry.ledger import SUMS, Difference, differences
from telemetry.queries import TraceRow
from telemetry.trace import COLUMNS, REPRICING_COLUMNS, epoch_ms

logger = logging.getLogger(__name__)

INSERT = f"INSERT INTO llm_repricings ({', '.join((*COLUMNS, *REPRICING_COLUMNS))}) VALUES"
UINT64 = 2**64


@dataclass(frozen=True, slots=True)
class Correction:
    """`row`: what the call costs until now (corrections before this one in it). `prices`: all PRICE_COLUMNS anew."""

    row: TraceRow
    prices: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: str
    at: datetime
    actor_id: str
    reason: str


def write(job: Job, corrections: Sequence[Correction]) -> None:
    """All of them, or TelemetryUnavailable. The same ones again are dropped by their token, sums included.

    They are of one month, so that they become one part: all are there or none is.
    """
    rows = [_values(job, correction) for correction in corrections]
    said = ";".join(f"{c.row.id}={c.prices['cost_usd']}" for c in corrections)
    token = f"reprice:{job.id}:{hashlib.sha256(said.encode()).hexdigest()}"
    with _connected() as client:
        client.execute(INSERT, rows, settings={**INSERT_SETTINGS, "insert_deduplication_token": token})


def _values(job: Job, correction: Correction) -> list[Any]:
    row = correction.row
    known = {f.name: getattr(row, f.name) for f in fields(TraceRow)} | dict(correction.prices)
    known["created_at"] = epoch_ms(row.created_at)
    ours = {
        "repricing_id": job.id,
        "repriced_at": epoch_ms(job.at),
        "actor_id": job.actor_id,
        "reason": job.reason,
        "old_cost_usd": row.cost_usd,
        "old_price_source": row.price_source,
        "old_price_tier": row.price_tier,
        "old_price_confidence": row.price_confidence,
    }
    return [*(known[name] for name in COLUMNS), *(ours[name] for name in REPRICING_COLUMNS)]


def mend_sums(organization_id: str, day: date) -> int:
    """After a doubt: put what corrections changed into the sums where it is missing, or take it out where it is twice.

    A ClickHouse that was killed may have a correction and not its part of the sums. Where calls themselves are missing
    from the sums, or are on their way, nothing is touched: that is the shipper's to mend. Returns how many were wrong.
    """
    mended = 0
    with _connected() as client:
        for sums in SUMS:
            wrong = [found for found in differences(organization_id, day, [sums]) if found.is_correction]
            for found in wrong:
                _add(client, found)
            mended += len(wrong)
    if mended:
        logger.warning("%d sums of %s lacked corrections of costs, or had them twice: mended", mended, day)
    return mended


def _add(client: Client, found: Difference) -> None:
    names = (*found.sums.keys, *found.figures)
    # Sums are unsigned and wrap round, so less is added as so much more.
    values = [value % UINT64 if isinstance(value, int) else value for value in found.figures.values()]
    client.execute(
        f"INSERT INTO {found.sums.table} ({', '.join(names)}) VALUES",
        [[*found.key, *values]],
        settings={"insert_deduplication_token": f"mend:{os.urandom(8).hex()}"},
    )


@contextmanager
def _connected() -> Any:
    client = connect(settings.CLICKHOUSE_URL)
    try:
        yield client
    except CLIENT_ERRORS as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TelemetryUnavailable(f"ClickHouse did not take the corrections: {said[:300]}") from error
    finally:
        client.disconnect()
