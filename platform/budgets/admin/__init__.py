"""Budgets, rate limits and stops in the admin."""

from budgets.admin import budgets, effective, home, limits, stops

__all__ = ["budgets", "effective", "home", "limits", "stops"]
