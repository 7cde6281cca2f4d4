"""Refusals, each naming the rule that refuses and when to come back."""

from __future__ import annotations

from core.errors import BadInput, LimitExceeded, PermissionDenied


class BudgetExceeded(LimitExceeded):
    """`extra["budget"]` names the tightest one: id, name, scope, target, metric, limit, spent, reserved, resets_at."""

    code = "budget_exceeded"


class RateLimitExceeded(LimitExceeded):
    """`extra["limit"]` names it: id, kind, scope, target, amount, period_s."""

    code = "rate_limit_exceeded"


class Stopped(PermissionDenied):
    """`extra["stop"]` names it: id, scope, target, reason, at."""

    code = "stopped"


class ModelUnpriced(BadInput):
    code = "model_unpriced"
