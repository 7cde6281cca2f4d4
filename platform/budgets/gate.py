"""What must hold before anything is sent or called: no stop, a rate within its limits, money left."""

from __future__ import annotations

from budgets import ledger, limits
from budgets.errors import Stopped
from budgets.facts import Facts, counter_of
from budgets.limits import Standing
from budgets.rules import rules_of


def check_send(facts: Facts) -> list[Standing]:
    """Raises Stopped, RateLimitExceeded, BudgetExceeded; the standing of the rate limits that count it."""
    check_stops(facts)
    ledger.check_left(facts)
    return limits.take_send(facts)


def check_call(facts: Facts) -> None:
    """Before a model call, but for its budgets. Raises Stopped, RateLimitExceeded."""
    check_stops(facts)
    limits.take_call(facts)


def check_stops(facts: Facts) -> None:
    for stop in rules_of(facts.organization_id).stops:
        if counter_of(stop.scope, stop.target, facts) is None:
            continue
        raise Stopped(
            f"{stop.about[:1].upper()}{stop.about[1:]} was stopped at {stop.created_at:%Y-%m-%d %H:%M} UTC: "
            f"{stop.reason} An admin can lift it under Stops.",
            extra={
                "code": Stopped.code,
                "stop": {
                    "id": stop.pk,
                    "scope": stop.scope,
                    "target": stop.target,
                    "reason": stop.reason,
                    "at": stop.created_at.isoformat(),
                },
            },
        )


def has_rules(organization_id: str) -> bool:
    rules = rules_of(organization_id)
    return bool(rules.budgets or rules.limits or rules.stops)
