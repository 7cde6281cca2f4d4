"""Usage, cost, times, errors, cache hits, BYOK and what has no price: all by further dimensions, over any time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.rest import Problem
from telemetry.analytics import Question, UsageGroup, latency, usage
from telemetry.api.asking import FiguresQuery, question_of
from telemetry.api.shapes import Latency, Usage, asked_out, latency_out, sums_out, usage_out
from telemetry.select import SUM_NAMES, Sums

FAULTS = {401: Problem, 403: Problem, 422: Problem, 503: Problem}


def _described(shape: Any) -> Any:
    return extend_schema(parameters=[FiguresQuery], responses={200: shape, **FAULTS})


class UsageView(APIView):
    """Calls, tokens and cost by up to two dimensions and by hour, day, week or month."""

    first: tuple[str, ...] = ()
    fixed: dict[str, Any] = {}

    @_described(Usage)
    def get(self, request: Request) -> Response:
        question = question_of(request, self.first, **self.fixed)
        groups = usage(question)
        total = _total(question, groups)
        shown = [usage_out(question, group) for group in groups if self.shows(group)]
        return Response({**asked_out(question), "groups": shown, "total": sums_out(total)})

    def shows(self, group: UsageGroup) -> bool:
        return True


class ErrorsView(UsageView):
    """Calls that failed, by kind of error and by one more dimension; the total has all calls, for the rate."""

    first = ("error_type",)
    fixed = {"order_by": "errors"}

    def shows(self, group: UsageGroup) -> bool:
        return group.sums.errors > 0


class CacheView(UsageView):
    """How much of the prompts was read from caches: `cache_hit_rate` of each group; the longest prompts first."""

    fixed = {"order_by": "prompt_tokens"}


class ByokView(UsageView):
    """Calls on the customers' own keys (`is_byok` true) and on the installation's, by one more dimension."""

    first = ("is_byok",)


class UnpricedView(UsageView):
    """Models whose calls went well and have no price: give them one in the admin, under prices."""

    first = ("provider", "model")
    fixed = {"order_by": "calls", "filters": {"price_source": "unpriced", "is_error": "false"}}


class LatencyView(APIView):
    """How long calls took that ended well, and their first tokens: p50, p95, p99; the most called first."""

    @_described(Latency)
    def get(self, request: Request) -> Response:
        question = question_of(request)
        return Response({**asked_out(question), "groups": [latency_out(question, g) for g in latency(question)]})


def _total(question: Question, groups: list[UsageGroup]) -> Sums:
    """A call counts for each of its tags, so groups by tag do not add up to it."""
    if "tag" in question.dimensions:
        groups = usage(replace(question, dimensions=(), interval=""))
    found: dict[str, Any] = {
        name: sum((getattr(g.sums, name) for g in groups), Decimal(0) if name == "cost_usd" else 0)
        for name in SUM_NAMES
    }
    return Sums(**found)
