"""What one agent costs: by day and model, read from ClickHouse."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from django.http import HttpRequest

from agents.models import Agent
from console.charts import Chart, stacked_bars
from console.periods import CHOICES, Period, period_of
from telemetry.client import TelemetryUnavailable
from telemetry.insights import AgentDay, usage_of_agent


def spend_of_agent(request: HttpRequest, agent: Agent) -> dict[str, Any]:
    period = period_of(request.GET.get("period", "30d"))
    context: dict[str, Any] = {"period": period, "periods": [(key, label) for key, label, _ in CHOICES]}
    try:
        rows = usage_of_agent(str(agent.organization_id), str(agent.pk), period.start, period.end)
    except TelemetryUnavailable as error:
        return {**context, "trouble": error.message}
    return {
        **context,
        "chart": _chart(rows, period),
        "calls": sum(row.calls for row in rows),
        "tokens": sum(row.tokens for row in rows),
        "errors": sum(row.errors for row in rows),
        "unpriced": sum(row.unpriced_calls for row in rows),
        "cost": sum((row.cost_usd for row in rows), Decimal(0)),
    }


def _chart(rows: list[AgentDay], period: Period) -> Chart:
    days = [day.date() for day in period.days]
    by_model: dict[str, dict[Any, Decimal]] = defaultdict(dict)
    for row in rows:
        by_model[row.model][row.day] = row.cost_usd
    series = {model: [costs.get(day, Decimal(0)) for day in days] for model, costs in by_model.items()}
    return stacked_bars("Spend by day and model", [f"{day:%b} {day.day}" for day in days], series)
