"""From the parameters of an address to a question: times, dimensions, filters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from accounts.rest import organization_of, own_project
from core.rest import Listed, OneOf, Query, read_query
from core.time import now
from telemetry.analytics import DIMENSIONS, INTERVALS, ORDERS, Question
from telemetry.analytics.question import LONGEST_VALUE

BY_DEFAULT = timedelta(days=30)


class RangeQuery(Query):
    start = serializers.DateTimeField(required=False, help_text="30 days before the end, unless given.")
    end = serializers.DateTimeField(required=False, help_text="Not included; now, unless given.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().validate(attrs)
        found.setdefault("end", now())
        found.setdefault("start", found["end"] - BY_DEFAULT)
        if found["start"] >= found["end"]:
            raise serializers.ValidationError({"start": "This must lie before the end."})
        return found


def _filter(name: str) -> serializers.Field:
    hint = f"One value or several, of which any may match; an empty one is “none”. {DIMENSIONS[name].label}."
    child = OneOf(["true", "false"]) if DIMENSIONS[name].is_flag else _text()
    return Listed(child=child, required=False, help_text=hint)


def _text() -> serializers.CharField:
    return serializers.CharField(allow_blank=True, max_length=LONGEST_VALUE, trim_whitespace=False)


class FiguresQuery(RangeQuery):
    """Filters are the dimensions' names."""

    by = Listed(child=OneOf(list(DIMENSIONS)), commas=True, default=list, help_text="Two dimensions at most.")
    interval = OneOf(INTERVALS, default="", allow_blank=True, help_text="In the time zone; weeks begin on Monday.")
    time_zone = serializers.CharField(max_length=60, default="UTC", help_text="Like Europe/Lisbon.")
    order_by = OneOf(ORDERS, default="cost_usd", help_text="What the first groups have most of.")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100, help_text="The others are one group.")

    def get_fields(self) -> dict[str, serializers.Field]:
        return super().get_fields() | {name: _filter(name) for name in DIMENSIONS}


def question_of(request: Request, first: tuple[str, ...] = (), **fixed: Any) -> Question:
    """`first`: dimensions that the route always asks by. `fixed` goes over what the address says. Raises Invalid."""
    given = read_query(request, FiguresQuery)
    filters = {name: given[name] for name in DIMENSIONS if name in given} | fixed.pop("filters", {})
    if project := own_project(request):
        for asked in filters.get("project", ()):
            own_project(request, asked)
        filters["project"] = [project]
    return Question(
        organization_of(request),
        **{name: given[name] for name in ("start", "end", "interval", "time_zone", "limit")},
        **{"order_by": given["order_by"]} | fixed,
        dimensions=(*first, *(name for name in given["by"] if name not in first)),
        filters=filters,
    )
