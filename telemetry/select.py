"""How this room asks ClickHouse: SQL files with their constants filled in, for one organization or for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from telemetry.client import pool
from telemetry.trace import COLUMNS, PRICE_COLUMNS, REPRICING_COLUMNS

SQL = Path(__file__).parent / "sql"
# A list of calls is sorted by its time, and only then are the other columns read, of those it shows.
# ClickHouse gives a query as many threads as there are GiB free, so only one on a small server: these need far less.
LIMITS = {
    "max_execution_time": 10,
    "max_memory_usage": 1 << 30,
    "max_threads_min_free_memory_per_thread": 0,
    "query_plan_max_limit_for_lazy_materialization": 1000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Exact sums over calls. `cost_usd` leaves out the `unpriced_calls`; `estimated_calls` have estimated tokens.

    The fields are columns of the roll-ups.
    """

    calls: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated_calls: int
    unpriced_calls: int
    cost_usd: Decimal
    latency_ms_sum: int
    ttft_ms_sum: int
    ttft_calls: int

    @property
    def mean_latency_ms(self) -> float | None:
        return self.latency_ms_sum / self.calls if self.calls else None

    @property
    def cache_hit_rate(self) -> float | None:
        """Of the prompts' tokens, the part that was read from a cache."""
        return self.cached_input_tokens / self.prompt_tokens if self.prompt_tokens else None

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.calls if self.calls else None

    @property
    def mean_ttft_ms(self) -> float | None:
        return self.ttft_ms_sum / self.ttft_calls if self.ttft_calls else None


_CALL = ", ".join(f"t.{column}" for column in COLUMNS)
_CORRECTION = ", ".join(f"t.{name}" for name in ("id", *REPRICING_COLUMNS, *PRICE_COLUMNS))
SUM_NAMES = tuple(f.name for f in fields(Sums))


def select(name: str, organization_id: str | None, **params: Any) -> Sequence[Sequence[Any]]:
    if organization_id is not None:
        params["org"] = organization_id
    return pool().select(_sql(name, organization_id is None), params, LIMITS)


@cache
def file(name: str) -> str:
    """The SQL of that name, its constants not filled in."""
    return (SQL / f"{name}.sql").read_text()


def filled(name: str, **constants: str) -> str:
    """The SQL of that name with its constants, which are our own words and never a caller's."""
    text = file(name)
    for constant, value in {"columns": _CALL, "correction": _CORRECTION, **constants}.items():
        text = text.replace(f"{{{constant}}}", value)
    return text


def scope(everyone: bool, table: str) -> str:
    """The first condition of every query."""
    return "1" if everyone else f"{table}.organization_id = {{org:String}}"


@cache
def _sql(name: str, everyone: bool) -> str:
    return filled(name, scope=scope(everyone, "u" if "AS u\n" in file(name) else "t"))
