"""Which rules hold for what is named, and which is the tightest: the answer to “why was I refused?”."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.rest import caller_of, of_organization
from budgets.api.budgets import BudgetOut, budget_out
from budgets.api.common import FAULTS
from budgets.api.limits import LimitOut
from budgets.api.stops import StopOut
from budgets.effective import effective
from budgets.facts import Facts, named
from budgets.limits import Standing
from budgets.models import Rule
from core.rest import Query, read_query


class EffectiveQuery(Query):
    agent = serializers.CharField(max_length=60, default="", help_text="Its id; it brings its project and its model.")
    api_key = serializers.CharField(max_length=60, default="")
    end_user = serializers.CharField(max_length=200, default="")
    project = serializers.CharField(max_length=60, default="")
    model = serializers.CharField(max_length=255, default="", help_text="Handle, as provider/model.")
    provider_key = serializers.CharField(max_length=100, default="")


class StandingOut(LimitOut):
    counter = serializers.CharField()
    used = serializers.IntegerField()
    remaining = serializers.IntegerField()

    class Meta(LimitOut.Meta):
        fields = (*LimitOut.Meta.fields, "counter", "used", "remaining")


class RuleOut(serializers.Serializer):
    id = serializers.CharField()
    rule = serializers.CharField()
    scope = serializers.CharField()
    target = serializers.CharField()


class EffectiveOut(serializers.Serializer):
    about = serializers.DictField(child=serializers.CharField())
    stops = StopOut(many=True)
    budgets = BudgetOut(many=True)
    limits = StandingOut(many=True)
    other_limits = LimitOut(many=True)
    depending = RuleOut(many=True, help_text="Rules about something that was not named: each end user, an API key …")
    tightest_budget = serializers.CharField(allow_null=True)
    tightest_limit = serializers.CharField(allow_null=True)


class EffectiveView(APIView):
    """Every budget, rate limit and stop that holds for what is named, the tightest budget first."""

    @extend_schema(parameters=[EffectiveQuery], responses={200: EffectiveOut, **FAULTS})
    def get(self, request: Request) -> Response:
        of_organization(request, "What holds is counted for the whole organization")
        given = read_query(request, EffectiveQuery)
        found = effective(named(caller_of(request).organization_id, given))
        budget, limit = found.tightest, found.tightest_limit
        return Response(
            {
                "about": {name: getattr(found.facts, name) for name in Facts.__slots__},
                "stops": StopOut(found.stops, many=True).data,
                "budgets": [budget_out(state) for state in found.budgets],
                "limits": [_standing_out(standing) for standing in found.limits],
                "other_limits": LimitOut(found.others, many=True).data,
                "depending": [_rule_out(rule) for rule in found.depending],
                "tightest_budget": budget.budget.pk if budget else None,
                "tightest_limit": limit.limit.pk if limit else None,
            }
        )


def _standing_out(standing: Standing) -> dict[str, Any]:
    more = {"counter": standing.target, "used": standing.used, "remaining": standing.remaining}
    return dict(LimitOut(standing.limit).data) | more


def _rule_out(rule: Rule) -> dict[str, Any]:
    return {"id": rule.pk, "rule": str(rule), "scope": rule.scope, "target": rule.target}
