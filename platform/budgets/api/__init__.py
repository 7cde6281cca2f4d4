"""The routes of `/api` about budgets, rate limits and stops."""

from django.urls import path

from budgets.api import budgets, effective, limits, stops

ROUTES = [
    path("budgets", budgets.Budgets.as_view(), name="rest-budgets"),
    path("budgets/effective", effective.EffectiveView.as_view(), name="rest-budgets-effective"),
    path("budgets/<str:budget_id>", budgets.OneBudget.as_view(), name="rest-budget"),
    path("budgets/<str:budget_id>/raise", budgets.RaiseView.as_view(), name="rest-budget-raise"),
    path("budgets/<str:budget_id>/reset", budgets.ResetView.as_view(), name="rest-budget-reset"),
    path("limits", limits.Limits.as_view(), name="rest-limits"),
    path("limits/<str:limit_id>", limits.OneLimit.as_view(), name="rest-limit"),
    path("stops", stops.Stops.as_view(), name="rest-stops"),
    path("stops/<str:stop_id>/lift", stops.LiftView.as_view(), name="rest-stop-lift"),
]
