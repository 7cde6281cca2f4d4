"""What PostgreSQL knows of model calls while ClickHouse does not answer: runs by state, steps by day and model."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from django.db.models import BigIntegerField, Count, Q, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce, TruncDate

from console.admin_base import scoped
from console.charts import stacked_bars
from console.registry import Panel, Scope, register_fallback
from conversations.models import Run, Step

BUCKETS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
MOST_MODELS = 20


def known(scope: Scope) -> dict[str, Any]:
    """Two queries. Summaries and embeddings are no steps: their cost is in ClickHouse alone."""
    period, ids = scope.period, scope.organization_ids
    within = Q(created_at__gte=period.start, created_at__lt=period.end)
    runs = scoped(Run.objects.filter(within), ids, "organization_id").order_by().values("status")
    steps = scoped(Step.objects.filter(within), ids, "organization_id").order_by()
    rows = list(
        steps.annotate(day=TruncDate("created_at"))
        .values("day", "model")
        .annotate(
            cost=Sum("cost_usd"),
            calls=Count("pk"),
            errors=Count("pk", filter=Q(error_type__isnull=False)),
            tokens=sum((Sum(_tokens(name), default=0) for name in BUCKETS[1:]), Sum(_tokens(BUCKETS[0]), default=0)),
        )
    )
    return {
        "runs": sorted(runs.annotate(number=Count("pk")).values_list("status", "number"), key=lambda r: -r[1]),
        "chart": _chart(scope, rows),
        "models": _models(rows),
        "period": period,
    }


def _tokens(name: str) -> Coalesce:
    return Coalesce(Cast(KT(f"usage__{name}"), BigIntegerField()), 0)


def _chart(scope: Scope, rows: list[dict[str, Any]]) -> Any:
    days = [day.date() for day in scope.period.days]
    costs: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(days))
    for row in rows:
        if row["day"] in days:
            costs[row["model"] or "no model"][days.index(row["day"])] += row["cost"] or Decimal(0)
    return stacked_bars("Spend of steps by day and model", [f"{day:%b} {day.day}" for day in days], costs)


def _models(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(
            row["model"], {"model": row["model"], "cost": Decimal(0), "calls": 0, "errors": 0, "tokens": 0}
        )
        for name in ("cost", "calls", "errors", "tokens"):
            one[name] += row[name] or 0
    return sorted(found.values(), key=lambda one: (-one["cost"], -one["calls"]))[:MOST_MODELS]


register_fallback(Panel(10, "console/conversations/outage.html", known))
