"""Figures that the admin's pages show beside the roll-ups: by agent, and how long calls took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from telemetry.client import pool
from telemetry.trace import epoch_ms

SQL = Path(__file__).parent / "sql"
LIMITS = {"max_execution_time": 10, "max_memory_usage": 1 << 30}


@dataclass(frozen=True, slots=True)
class AgentUsage:
    agent_id: str
    cost_usd: Decimal
    calls: int
    tokens: int
    errors: int
    unpriced_calls: int


@dataclass(frozen=True, slots=True)
class AgentDay:
    day: date
    model: str
    cost_usd: Decimal
    calls: int
    tokens: int
    errors: int
    unpriced_calls: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Of calls that ended well; None: there was none (or none that streamed)."""

    calls: int
    p50_ms: float | None
    p95_ms: float | None
    ttft_p50_ms: float | None


def top_agents(organization_id: str | None, start: datetime, end: datetime, limit: int = 8) -> list[AgentUsage]:
    """The dearest first."""
    rows = _select("top_agents", organization_id, start=epoch_ms(start), end=epoch_ms(end), limit=limit)
    return [AgentUsage(*row) for row in rows]


def usage_of_agent(organization_id: str, agent_id: str, start: datetime, end: datetime) -> list[AgentDay]:
    rows = _select("usage_of_agent", organization_id, agent_id=agent_id, start=epoch_ms(start), end=epoch_ms(end))
    return [AgentDay(*row) for row in rows]


def latency(organization_id: str | None, start: datetime, end: datetime) -> Latency:
    [row] = _select("latency", organization_id, start=epoch_ms(start), end=epoch_ms(end))
    calls, p50, p95, ttft = row
    return Latency(calls, p50 if calls else None, p95 if calls else None, ttft if calls else None)


def _select(name: str, organization_id: str | None, **params: Any) -> list[Any]:
    if organization_id is not None:
        params["org"] = organization_id
    return list(pool().select(_sql(name, organization_id is None), params, LIMITS))


@cache
def _sql(name: str, everyone: bool) -> str:
    scope = "1" if everyone else "t.organization_id = {org:String}"
    return (SQL / f"{name}.sql").read_text().replace("{scope}", scope)
