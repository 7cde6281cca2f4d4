"""What one agent costs: by day and model, read from ClickHouse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest

from agents.models import Agent
from console.charts import Chart, stacked_bars
from console.periods import CHOICES, period_of
from telemetry.analytics import Question, UsageGroup, interval_starts, usage
from telemetry.client import TelemetryUnavailable

MOST_MODELS = 20


def spend_of_agent(request: HttpRequest, agent: Agent) -> dict[str, Any]:
    period = period_of(request.GET.get("period", "30d"))
    context: dict[str, Any] = {"period": period, "periods": [(key, label) for key, label, _ in CHOICES]}
    question = Question(
        str(agent.organization_id),
        period.start,
        period.end,
        dimensions=("model",),
        interval="day",
        filters={"agent": str(agent.pk)},
        limit=MOST_MODELS,
    )
    try:
        rows = usage(question)
    except TelemetryUnavailable as error:
        return {**context, "trouble": error.message}
    return {
        **context,
        "chart": _chart(rows, interval_starts(question)),
        "calls": sum(row.sums.calls for row in rows),
        "tokens": sum(row.sums.total_tokens for row in rows),
        "errors": sum(row.sums.errors for row in rows),
        "unpriced": sum(max(row.sums.unpriced_calls - row.sums.errors, 0) for row in rows),
        "cost": sum((row.sums.cost_usd for row in rows), Decimal(0)),
    }


def _chart(rows: Sequence[UsageGroup], days: Sequence[datetime]) -> Chart:
    by_model: dict[str, dict[datetime | None, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for row in rows:
        by_model["other" if row.is_other else row.values[0]][row.at] += row.sums.cost_usd
    series = {model: [costs[day] for day in days] for model, costs in by_model.items()}
    return stacked_bars("Spend by day and model", [f"{day:%b} {day.day}" for day in days], series)
