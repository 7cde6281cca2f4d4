"""Finding runs by what they did: the tools they called, their steps, and how long they took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Aggregate, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet

from accounts.access import Caller
from agents.access import tools_of
from conversations.models import Run, Step
from conversations.queries import find_runs
from conversations.schemas.runs import SearchRunQuery
from core.ids import is_id
from core.time import aware

_DURATION = ExpressionWrapper(F("completed_at") - F("created_at"), output_field=DurationField())


class _Percentile(Aggregate):
    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"


def search_runs(caller: Caller, query: SearchRunQuery, project_id: str | None = None) -> QuerySet[Run]:
    """With the `duration` of each, null while it goes on. One query; two for a percentile."""
    given = {
        "pk": query.run_id,
        f"step_count__{'exact' if query.step_count_operator == 'eq' else query.step_count_operator}": query.step_count,
        "created_at__gte": aware(query.start_date),
        "created_at__lte": aware(query.end_date),
    }
    rows = find_runs(caller, query, query.project_id or project_id).annotate(duration=_DURATION)
    rows = rows.filter(**{field: value for field, value in given.items() if value is not None})
    if query.template_family:
        return rows.none()  # no agent comes from a template here
    if query.tools_used:
        rows = rows.filter(Exists(_calls_of(caller, query.tools_used)))
    if query.duration_value is not None and query.duration_operator is not None:
        span = timedelta(microseconds=query.duration_value / 1000)
        operator = "exact" if query.duration_operator == "eq" else query.duration_operator
        rows = rows.filter(**{f"duration__{operator}": span})
    return rows if query.duration_percentile is None else _slowest(rows, query.duration_percentile)


def _calls_of(caller: Caller, tools: Sequence[str]) -> QuerySet[Step]:
    ids = [tool for tool in tools if is_id("tool", tool)]
    names = {*tools, *tools_of(caller).filter(pk__in=ids).values_list("name", flat=True)}
    called = reduce(or_, (Q(tools_used__contains=[name]) for name in sorted(names)))
    return Step.objects.filter(called, run=OuterRef("pk"))


def _slowest(rows: QuerySet[Run], percent: int) -> QuerySet[Run]:
    least: Any = rows.order_by().aggregate(least=_Percentile("duration", share=percent / 100))["least"]
    return rows.none() if least is None else rows.filter(Q(("duration__gte", least)))
