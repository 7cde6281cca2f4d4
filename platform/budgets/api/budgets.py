"""Budgets, each with how it stands: list, make, change, delete, raise for a time, reset."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Organization
from accounts.rest import find
from budgets import actions
from budgets.actions import Raise
from budgets.api.common import FAULTS, admin_of, check_about, exact, named_fields, rules_of, text
from budgets.models import Budget
from budgets.states import State, states_of
from core.rest import read_body
from core.time import now

RULES = actions.FIELDS[Budget]


class BudgetIn(serializers.ModelSerializer):
    class Meta:
        model = Budget
        fields = RULES
        validators: list[Any] = []


class StateOut(serializers.Serializer):
    """Of a budget with target `*`: the counter that has used the most of it."""

    state = serializers.ChoiceField(["ok", "warning", "exceeded", "off"])
    target = serializers.CharField()
    limit = exact()
    spent = exact()
    reserved = exact()
    left = exact()
    share = serializers.FloatField(help_text="Of the limit that is used; 1 is all of it.")
    window_start = serializers.DateTimeField()
    resets_at = serializers.DateTimeField(allow_null=True, help_text="Null for a rolling window, which never does.")
    projected = exact(allow_null=True)
    reached_at = serializers.DateTimeField(allow_null=True, help_text="At this pace; null: not in this window.")
    counters = serializers.IntegerField()
    unpriced_calls = serializers.IntegerField()
    refused_calls = serializers.IntegerField()


class BudgetOut(serializers.ModelSerializer):
    amount = exact()
    raised_by = exact(allow_null=True)
    state = StateOut()

    class Meta:
        model = Budget
        fields = ("id", *RULES, "raised_by", "raised_until", "raise_reason", "created_at", "updated_at", "state")


class BudgetPage(serializers.Serializer):
    items = BudgetOut(many=True)
    next = serializers.CharField(allow_null=True)


class RaiseIn(serializers.Serializer):
    by = serializers.DecimalField(max_digits=30, decimal_places=12, min_value=Decimal(0), help_text="0 ends a raise.")
    until = serializers.DateTimeField(required=False)
    reason = serializers.CharField(max_length=1000)


class ResetIn(serializers.Serializer):
    reason = serializers.CharField(max_length=1000)


class Budgets(GenericAPIView):
    """All budgets of the organization, the newest first."""

    queryset = Budget.objects.none()
    serializer_class = BudgetOut

    @extend_schema(responses={200: BudgetPage, **FAULTS})
    def get(self, request: Request) -> Response:
        found: Any = self.paginate_queryset(rules_of(request, Budget))
        return self.get_paginated_response([budget_out(state) for state in states_of(found)])

    @extend_schema(request=BudgetIn, responses={201: BudgetOut, **FAULTS})
    def post(self, request: Request) -> Response:
        caller = admin_of(request)
        given = read_body(request, BudgetIn)
        check_about(request, given)
        row = Budget(organization=Organization(pk=caller.organization_id), **given)
        with named_fields():
            actions.create(row, caller.actor_id)
        return Response(_one(row), 201)


class OneBudget(APIView):
    @extend_schema(responses={200: BudgetOut, **FAULTS})
    def get(self, request: Request, budget_id: str) -> Response:
        return Response(_one(find(rules_of(request, Budget), "budget", budget_id)))

    @extend_schema(request=BudgetIn(partial=True), responses={200: BudgetOut, **FAULTS})
    def patch(self, request: Request, budget_id: str) -> Response:
        """What a budget counts (scope, target, metric, window) stays what it is."""
        caller = admin_of(request)
        row = find(rules_of(request, Budget), "budget", budget_id)
        given = read_body(request, BudgetIn, row)
        with named_fields():
            actions.update(row, given, caller.actor_id)
        return Response(_one(row))

    @extend_schema(responses={204: None, **FAULTS})
    def delete(self, request: Request, budget_id: str) -> Response:
        caller = admin_of(request)
        actions.delete(find(rules_of(request, Budget), "budget", budget_id), caller.actor_id)
        return Response(status=204)


class RaiseView(APIView):
    @extend_schema(request=RaiseIn, responses={200: BudgetOut, **FAULTS})
    def post(self, request: Request, budget_id: str) -> Response:
        """More, until a time."""
        caller = admin_of(request)
        row = find(rules_of(request, Budget), "budget", budget_id)
        data = read_body(request, RaiseIn)
        wanted = Raise(data["by"], data.get("until") or now(), data["reason"])
        return Response(_one(actions.raise_budget(row, wanted, caller.actor_id)))


class ResetView(APIView):
    @extend_schema(request=ResetIn, responses={200: BudgetOut, **FAULTS})
    def post(self, request: Request, budget_id: str) -> Response:
        """Let the window begin at nothing."""
        caller = admin_of(request)
        row = find(rules_of(request, Budget), "budget", budget_id)
        given = read_body(request, ResetIn)
        actions.reset(row, given["reason"], caller.actor_id)
        return Response(_one(row))


def budget_out(state: State) -> dict[str, Any]:
    budget = state.budget
    found: dict[str, Any] = {name: getattr(budget, name) for name in BudgetOut.Meta.fields if name != "state"}
    return found | {
        "amount": text(budget.amount),
        "raised_by": text(budget.raised_by),
        "state": state_out(state),
    }


def state_out(state: State) -> dict[str, Any]:
    amounts = ("limit", "spent", "reserved", "left", "projected")
    plain = ("target", "share", "resets_at", "reached_at", "counters", "unpriced_calls", "refused_calls")
    found: dict[str, Any] = {name: text(getattr(state, name)) for name in amounts}
    found |= {name: getattr(state, name) for name in plain}
    return found | {"state": state.word, "window_start": state.span.since}


def _one(row: Budget) -> dict[str, Any]:
    return budget_out(states_of([row])[0])
