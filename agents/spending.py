"""What a model call may spend: held before it is made, settled with what it cost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from budgets import gate, ledger, limits
from budgets.errors import RateLimitExceeded
from budgets.facts import Amounts, Facts
from budgets.ledger import Reservation
from providers.errors import RateLimited
from providers.usage import Usage
from telemetry.trace import CallStart

DEFAULT_OUTPUT = 1_000
NEWEST_COUNTS = 0.2  # of an answer's length, in the running mean of them
MAX_MEANS = 10_000
MAX_WAIT_S = 20.0  # as long as a call waits between two attempts; beyond that its run had better end

CostOf = Callable[[Usage], Decimal | None]
_means: dict[tuple[str, str], float] = {}
_lock = threading.Lock()


class Outcome(Protocol):
    """What a call cost in the end; `price_source` is empty as long as nothing is known."""

    usage: Usage
    cost_usd: Decimal | None
    price_source: str


@dataclass(slots=True)
class Held:
    """One attempt's hold. `facts` None: the organization has no rules at all."""

    facts: Facts | None = None
    reservation: Reservation | None = None
    about: tuple[str, str] = ("", "")
    open: bool = True


def hold(start: CallStart, max_output: int | None, cost_of: CostOf, for_s: float | None = None) -> Held:
    """Raises BudgetExceeded, ModelUnpriced, Stopped, RateLimitExceeded; RateLimited where waiting helps soon.

    `for_s`: how long it may take until it is settled, where that is longer than a call takes.
    """
    if not gate.has_rules(start.organization_id):
        return Held()
    facts = facts_of(start)
    try:
        gate.check_call(facts)
    except RateLimitExceeded as error:
        if (error.retry_after or 0) > MAX_WAIT_S:
            raise
        raise RateLimited(error.message, retry_after=error.retry_after) from None
    about = _about(start, facts)
    usage = Usage(input=start.estimated_prompt_tokens, output=_expected_output(about, max_output, start.call_type))
    estimate = Amounts(usd=cost_of(usage), tokens=usage.total)
    return Held(facts, ledger.reserve(facts, estimate, start.id, for_s), about)


def held_by(start: CallStart) -> Held:
    """The hold of a call that was begun elsewhere, long ago."""
    facts = facts_of(start)
    return Held(facts, Reservation(start.id, start.organization_id), _about(start, facts))


def _about(start: CallStart, facts: Facts) -> tuple[str, str]:
    return (start.agent_id or start.call_type, facts.model)


def settle(held: Held, outcome: Outcome, *, billed: bool) -> None:
    """Count what the call cost. `billed` False: the vendor refused it, so that it counts for nothing at all."""
    if not held.open or held.facts is None or not outcome.price_source:
        return
    held.open = False
    usage = outcome.usage
    if billed and not usage.estimated:
        _learn(held.about, usage.output)
    limits.add_tokens(held.facts, usage.prompt, usage.output)
    actual = Amounts(usd=outcome.cost_usd, tokens=usage.total, calls=int(billed))
    ledger.settle(held.reservation, actual)


def facts_of(start: CallStart) -> Facts:
    return Facts(
        organization_id=start.organization_id,
        project_id=start.project_id,
        agent_id=start.agent_id,
        api_key_id=start.api_key_id,
        end_user=start.identity_id,
        model=str(start.llm_config["handle"]),
        provider_key=start.provider_key_id or start.provider_name,
    )


def _expected_output(about: tuple[str, str], most: int | None, call_type: str) -> int:
    """The running mean of this agent's answers by this model, as far as the call allows."""
    if call_type == "embedding":
        return 0
    expected = round(_means.get(about, DEFAULT_OUTPUT))
    return expected if most is None else min(expected, most)


def _learn(about: tuple[str, str], output: int) -> None:
    with _lock:
        if len(_means) >= MAX_MEANS:
            _means.clear()
        known = _means.get(about)
        _means[about] = output if known is None else known + NEWEST_COUNTS * (output - known)
