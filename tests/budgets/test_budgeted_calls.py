"""Calls to a model under a budget: a thousand first ones at once, and what each of them finds reserved and spent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.db import connections

from agents.model_calls import CallContext, ModelCall
from budgets.errors import BudgetExceeded
from budgets.models import Budget, BudgetWindow, Hold
from providers import entries
from providers.models import PriceOverride
from providers.resolve import resolve
from providers.types import Message, ModelRequest, TextPart
from tests.support.api import make_tenant

THREADS = 32
CALLS = 1_000
ASKED = Message("user", (TextPart("[[usage 900 50 then say hi]]"),))


@pytest.mark.usefixtures("redis")
@pytest.mark.django_db(transaction=True)
def test_a_thousand_first_calls_at_once_spend_no_more_than_a_budget_of_one_and_one_reservation() -> None:
    """Each costs 0.01 USD; more than its estimate, which is capped at the answer's 5 tokens."""
    organization_id = make_tenant("ours").organization.pk
    PriceOverride.objects.create(organization_id=organization_id, model="demo", input=Decimal(10), output=Decimal(20))
    entries.forget(organization_id)
    made = Budget.objects.create(organization_id=organization_id, name="one call", amount=Decimal("0.0001"))
    target = resolve(organization_id, "scripted/demo")
    context = CallContext(organization_id=organization_id, call_type="agent_step", agent_id="agent-1")

    def worker(_: int) -> list[Decimal]:
        paid = []
        try:
            for _ in range(CALLS // THREADS + 1):
                call = ModelCall(target, ModelRequest(model="demo", messages=(ASKED,), max_output_tokens=5), context)
                try:
                    list(call.events())
                except BudgetExceeded:
                    continue
                paid.append(call.outcome.cost_usd or Decimal(0))
        finally:
            connections.close_all()
        return paid

    with ThreadPoolExecutor(THREADS) as threads:
        paid = [cost for part in threads.map(worker, range(THREADS)) for cost in part]
    entries.forget(organization_id)

    found = BudgetWindow.objects.get(budget=made)
    assert paid == [Decimal("0.01")], "one call was made, and no other"
    assert (found.spent, found.reserved) == (Decimal("0.01"), 0)
    assert found.refused_calls == (CALLS // THREADS + 1) * THREADS - 1
    assert not Hold.objects.exists()
