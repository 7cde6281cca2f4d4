"""Figures that the admin's pages show beside the roll-ups: by agent, and how long calls took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from telemetry.select import select
from telemetry.trace import epoch_ms


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
    rows = select("top_agents", organization_id, start=epoch_ms(start), end=epoch_ms(end), limit=limit)
    return [AgentUsage(*row) for row in rows]


def usage_of_agent(organization_id: str, agent_id: str, start: datetime, end: datetime) -> list[AgentDay]:
    rows = select("usage_of_agent", organization_id, agent_id=agent_id, start=epoch_ms(start), end=epoch_ms(end))
    return [AgentDay(*row) for row in rows]


def latency(organization_id: str | None, start: datetime, end: datetime) -> Latency:
    [row] = select("latency", organization_id, start=epoch_ms(start), end=epoch_ms(end))
    calls, p50, p95, ttft = row
    return Latency(calls, p50 if calls else None, p95 if calls else None, ttft if calls else None)
