"""Django's entry to the budgets room."""

from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "budgets"
