"""Reserve before a call, settle after it: each one statement, so that calls at the same time cannot overrun a budget.

The truth is PostgreSQL's (sql/ledger_1.sql). Both statements commit without waiting for the disk: a counter is locked
until its commit, and a hot one would wait for every sync. A crash of the database loses what was counted in its last
moments (under a second): a reservation that was lost counts for nothing, a settlement that was lost as its estimate.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import F

from budgets.crossings import Counted, note_crossings
from budgets.errors import BudgetExceeded, ModelUnpriced
from budgets.facts import Amounts, Facts, counter_of
from budgets.models import Budget, BudgetWindow, Window
from budgets.rules import rules_of
from budgets.windows import Span, span
from core.amounts import as_text
from core.ids import bare_uuid
from core.time import now

log = logging.getLogger(__name__)

RETRY_RESERVED_S = 5
MIN_HOLD_S = 900


@dataclass(frozen=True, slots=True)
class Charge:
    """A budget that a call is charged to, and the counter in it."""

    budget: Budget
    target: str
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """What a counter has used up."""

    charge: Charge
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        return self.charge.budget.limit - self.spent - self.reserved

    @property
    def share(self) -> float:
        limit = self.charge.budget.limit
        return float((self.spent + self.reserved) / limit) if limit else 1.0


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is held for a call until it is settled."""

    call_id: str
    organization_id: str


def charges_of(facts: Facts, at: datetime) -> list[Charge]:
    """Every budget that is about these facts: no level is skipped for another."""
    found = []
    for budget in rules_of(facts.organization_id).budgets:
        target = counter_of(budget.scope, budget.target, facts)
        if target is not None:
            found.append(Charge(budget, target, span_of(budget, at)))
    return found


def span_of(budget: Budget, at: datetime) -> Span:
    return span(budget.window, budget.time_zone, budget.rolling_hours, at)


def reserve(facts: Facts, estimate: Amounts, call_id: str, for_s: float | None = None) -> Reservation | None:
    """None where no budget applies. Raises BudgetExceeded with the tightest of those that refuse, ModelUnpriced.

    `for_s`: when it lapses, if it is not settled before; None: a while after the call must have ended.
    """
    charges = charges_of(facts, now())
    if not charges:
        return None
    if estimate.usd is None:
        _refuse_unpriced(charges, facts)
    expires = now() + timedelta(seconds=for_s or max(MIN_HOLD_S, 4 * settings.MODEL_TIMEOUT_S))
    items = orjson.dumps([_item(charge, estimate) for charge in charges]).decode()
    rows = _call("SELECT * FROM budgets_reserve(%s, %s::jsonb, %s, %s)", [call_id, items, expires, _relaxed()])
    if rows:
        by_name = {(bare_uuid(charge.budget.pk), charge.target): charge for charge in charges}
        uses = [Use(by_name[str(budget), target], spent, held) for budget, target, spent, held in rows]
        raise _refused(uses)
    return Reservation(call_id, facts.organization_id)


def settle(reservation: Reservation | None, actual: Amounts) -> None:
    """Put what the call cost in the place of what was reserved; only the first settlement counts."""
    if reservation is None:
        return
    amounts = {metric: str(actual.of(metric)) for metric in ("usd", "tokens", "calls")}
    given = [reservation.call_id, orjson.dumps(amounts).decode(), actual.usd is None, _relaxed()]
    try:
        rows = _call("SELECT * FROM budgets_settle(%s, %s::jsonb, %s, %s)", given)
    except DatabaseError as error:  # the answer is there and stays: the hold lapses and counts as its estimate
        log.warning("call %s was not settled, it will count as its estimate: %s", reservation.call_id, error)
        return
    note_crossings(reservation.organization_id, [Counted(f"budget-{row[0]}", *row[1:]) for row in rows])


def check_left(facts: Facts) -> None:
    """Refuse what is about to be sent where a hard budget is used up. Raises BudgetExceeded."""
    hard = [charge for charge in charges_of(facts, now()) if charge.budget.hard]
    if hard:
        spent_up = [use for use in uses_of(hard) if use.left <= 0]
        if spent_up:
            raise _refused(spent_up)


def uses_of(charges: Sequence[Charge]) -> list[Use]:
    """What each has used up, in one query."""
    oldest = min((charge.span.since for charge in charges), default=now())
    rows = BudgetWindow.objects.filter(budget__in={c.budget.pk for c in charges}, starts_at__gte=oldest)
    found = list(rows.filter(target__in={c.target for c in charges}))
    uses = []
    for charge in charges:
        mine = [
            row
            for row in found
            if (row.budget_id, row.target) == (charge.budget.pk, charge.target) and row.starts_at >= charge.span.since
        ]
        uses.append(Use(charge, _sum(row.spent for row in mine), _sum(row.reserved for row in mine)))
    return uses


def lapse(most: int = 1_000) -> int:
    """Count the holds that were never settled as their estimates."""
    for done in range(most):
        if not _call("SELECT budgets_lapse()", [])[0][0]:
            return done
    return most


def _item(charge: Charge, estimate: Amounts) -> dict[str, Any]:
    budget = charge.budget
    return {
        "budget": bare_uuid(budget.pk),
        "target": charge.target,
        "metric": budget.metric,
        "start": charge.span.start,
        "since": charge.span.since,
        "amount": str(estimate.of(budget.metric)),
        "limit": str(budget.limit) if budget.hard else None,
    }


def _refuse_unpriced(charges: Iterable[Charge], facts: Facts) -> None:
    for charge in charges:
        budget = charge.budget
        if budget.hard and budget.metric == "usd" and budget.refuse_unpriced:
            raise ModelUnpriced(
                f"The budget “{budget.name}” refuses {facts.model}, since its price is unknown: enter a price for it "
                "in the admin under Prices, or choose another model.",
                extra={"code": ModelUnpriced.code, "budget": {"id": budget.pk, "name": budget.name}},
            )


def _refused(uses: Sequence[Use]) -> BudgetExceeded:
    """Names the one that is used up the longest: only with its window does the call become possible."""
    tightest = max(uses, key=_free_at)
    charge, at = tightest.charge, _free_at(tightest)
    budget, moment = charge.budget, now()
    waits = tightest.spent < budget.limit
    _count_refusal(charge)
    mend = (
        "The rest of it is reserved by calls under way: try again in some seconds."
        if waits
        else f"It begins anew at {at.isoformat()}; an admin can raise it before that."
    )
    unit = budget.get_metric_display()
    return BudgetExceeded(
        f"The budget “{budget.name}” of {as_text(budget.limit)} {unit} for {budget.about} is used up: "
        f"{as_text(tightest.spent)} {unit} spent, {as_text(tightest.reserved)} reserved. {mend}",
        extra={
            "code": BudgetExceeded.code,
            "budget": {
                "id": budget.pk,
                "name": budget.name,
                "scope": budget.scope,
                "target": charge.target,
                "metric": budget.metric,
                "limit": as_text(budget.limit),
                "spent": as_text(tightest.spent),
                "reserved": as_text(tightest.reserved),
                "resets_at": charge.span.end.isoformat(),
            },
        },
        retry_after=RETRY_RESERVED_S if waits else max(1.0, (at - moment).total_seconds()),
    )


def _free_at(use: Use) -> datetime:
    """When a call may pass again: soon where others only hold it, else when the window, or its first piece, is over."""
    charge = use.charge
    if use.spent < charge.budget.limit:
        return now()
    if charge.budget.window != Window.ROLLING:
        return charge.span.end
    pieces = BudgetWindow.objects.filter(budget_id=charge.budget.pk, target=charge.target, spent__gt=0)
    first = pieces.filter(starts_at__gte=charge.span.since).order_by("starts_at").first()
    return charge.span.end - (charge.span.start - first.starts_at) if first else charge.span.end


def _count_refusal(charge: Charge) -> None:
    counter = BudgetWindow.objects.filter(budget_id=charge.budget.pk, target=charge.target, starts_at=charge.span.start)
    counter.update(refused_calls=F("refused_calls") + 1)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _relaxed() -> bool:
    """Within somebody's transaction it would be that one which does not wait for the disk."""
    return not connection.in_atomic_block


def _call(sql: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, given)
        return cursor.fetchall()
