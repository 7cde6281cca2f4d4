"""Which rules hold for an agent, a key, an end user or any mix of them, and which of them is the tightest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from accounts.models import ApiKey
from budgets import limits
from budgets.facts import Facts, counter_of
from budgets.ledger import charges_of, uses_of
from budgets.limits import Standing
from budgets.models import LimitKind, RateLimit, Rule, Scope, Stop
from budgets.rules import rules_of
from budgets.states import State
from core.ids import is_id
from core.time import now

Completion = Callable[[Facts], Facts]
_completions: list[Completion] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """`depending`: rules about something that is not known here (each end user, while none is named)."""

    facts: Facts
    stops: list[Stop]
    budgets: list[State]
    limits: list[Standing]
    others: list[RateLimit]
    depending: list[Rule]

    @property
    def tightest(self) -> State | None:
        """The hard budget that leaves the smallest part of itself."""
        hard = [state for state in self.budgets if state.budget.hard]
        return max(hard, key=lambda state: state.share, default=None)

    @property
    def tightest_limit(self) -> Standing | None:
        return min(self.limits, key=lambda one: one.remaining / max(1, one.limit.amount), default=None)


def complete_with(completion: Completion) -> None:
    """A room above knows more of what is named: an agent's project, its model."""
    if completion not in _completions:
        _completions.append(completion)


def effective(facts: Facts) -> Effective:
    facts = _completed(facts)
    rules = rules_of(facts.organization_id)
    return Effective(
        facts=facts,
        stops=[stop for stop in rules.stops if counter_of(stop.scope, stop.target, facts) is not None],
        budgets=_states(facts),
        limits=limits.look(facts),
        others=[
            limit
            for kind in (LimitKind.PARALLEL_RUNS, LimitKind.TOOL_REPEATS)
            for limit, _ in limits.applying(facts, kind)
        ],
        depending=[rule for rule in (*rules.budgets, *rules.limits, *rules.stops) if _depends(rule, facts)],
    )


def _completed(facts: Facts) -> Facts:
    if is_id("key", facts.api_key_id) and not facts.project_id:
        key = ApiKey.objects.filter(organization_id=facts.organization_id, pk=facts.api_key_id).first()
        facts = replace(facts, project_id=(key.project_id or "") if key else "")
    for completion in _completions:
        facts = completion(facts)
    return facts


def _states(facts: Facts) -> list[State]:
    at = now()
    states = [
        State(
            budget=use.charge.budget,
            target=use.charge.target,
            span=use.charge.span,
            at=at,
            spent=use.spent,
            reserved=use.reserved,
            counters=1,
        )
        for use in uses_of(charges_of(facts, at))
    ]
    return sorted(states, key=lambda state: -state.share)


def _depends(rule: Rule, facts: Facts) -> bool:
    return rule.scope != Scope.ORGANIZATION and not facts.of(rule.scope)
