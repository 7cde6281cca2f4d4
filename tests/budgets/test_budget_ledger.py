"""Reserve and settle on a real PostgreSQL: every level held, nothing overrun by calls at the same time, nothing twice."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization
from budgets import crossings, ledger, rules, tasks
from budgets.errors import BudgetExceeded, ModelUnpriced
from budgets.facts import Amounts, Facts
from budgets.ledger import Reservation
from budgets.models import Budget, BudgetEvent, BudgetWindow, Hold
from core.time import now

CENT = Amounts(usd=Decimal("0.01"), tokens=100)
ID = "00000000-0000-4000-8000-000000000001"
LEVELS = {
    "organization": "",
    "project": f"project-{ID}",
    "agent": f"agent-{ID}",
    "api_key": f"key-{ID}",
    "end_user": "identity-1",
    "model": "openai/gpt-5*",
    "provider_key": "provider-1",
}


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="ours")


def facts(organization: Organization, **fields: Any) -> Facts:
    known = {
        "project_id": f"project-{ID}",
        "agent_id": f"agent-{ID}",
        "api_key_id": f"key-{ID}",
        "end_user": "identity-1",
        "model": "openai/gpt-5-mini",
        "provider_key": "provider-1",
    }
    return Facts(organization_id=organization.pk, **(known | fields))


def budget(organization: Organization, **fields: Any) -> Budget:
    known = {"name": "a budget", "amount": Decimal("0.05"), "window": "day"}
    made = Budget(organization=organization, **(known | fields))
    made.full_clean(exclude=["organization"])
    made.save()
    return made


def call(about: Facts, cost: Amounts = CENT) -> Reservation | None:
    """A call that costs what was estimated."""
    reserved = ledger.reserve(about, cost, str(uuid.uuid4()))
    ledger.settle(reserved, cost)
    return reserved


def counter(made: Budget, target: str = "") -> BudgetWindow:
    return BudgetWindow.objects.get(budget=made, target=target)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("metric", "amount"), [("usd", "0.01"), ("calls", "1")])
def test_a_thousand_first_calls_at_once_get_one_reservation_of_a_budget_of_one_call(metric: str, amount: str) -> None:
    organization = Organization.objects.create(name="ours")
    one = budget(organization, metric=metric, amount=Decimal(amount))
    each = budget(organization, scope="agent", target="*", amount=Decimal(50))
    about, gate = facts(organization), threading.Barrier(32)

    def worker(_: int) -> list[bool]:
        gate.wait()
        admitted = []
        try:
            for _ in range(1000 // 32 + 1):
                try:
                    admitted.append(ledger.reserve(about, CENT, str(uuid.uuid4())) is not None)
                except BudgetExceeded:
                    admitted.append(False)
        finally:
            connections.close_all()
        return admitted

    with ThreadPoolExecutor(32) as threads:
        found = [item for part in threads.map(worker, range(32)) for item in part]

    assert len(found) >= 1000
    assert found.count(True) == 1, "one call fits, and no other that came at the same time"
    assert counter(one).reserved == Decimal(amount)
    assert counter(each, f"agent-{ID}").reserved == Decimal("0.01"), "a refused call is charged to no budget at all"
    assert Hold.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_calls_that_come_and_go_at_once_overrun_a_budget_by_less_than_one_of_them() -> None:
    organization = Organization.objects.create(name="ours")
    made = budget(organization, amount=Decimal("0.095"))
    about = facts(organization)

    def worker(_: int) -> int:
        done = 0
        try:
            for _ in range(20):
                try:
                    call(about)
                except BudgetExceeded:
                    continue
                done += 1
        finally:
            connections.close_all()
        return done

    with ThreadPoolExecutor(16) as threads:
        admitted = sum(threads.map(worker, range(16)))

    found = counter(made)
    assert (admitted, found.spent, found.reserved) == (10, Decimal("0.10"), Decimal(0))


@pytest.mark.parametrize("scope", LEVELS)
def test_each_level_is_held_alone(organization: Organization, scope: str) -> None:
    budget(organization, scope=scope, target=LEVELS[scope], amount=Decimal("0.02"))
    about = facts(organization)
    call(about)
    call(about)
    with pytest.raises(BudgetExceeded) as refused:
        call(about)
    assert refused.value.extra["budget"]["scope"] == scope
    assert refused.value.status == 429
    other = {"project_id": "", "agent_id": "", "api_key_id": "", "end_user": "", "model": "x/y", "provider_key": ""}
    if scope != "organization":
        assert call(facts(organization, **other)) is None, "a call that the budget is not about is not counted"
    assert call(facts(Organization.objects.create(name="theirs"))) is None


@pytest.mark.parametrize("tight", LEVELS)
def test_of_all_levels_together_the_one_that_is_used_up_refuses_whichever_it_is(
    organization: Organization, tight: str
) -> None:
    for scope, target in LEVELS.items():
        amount = Decimal("0.01") if scope == tight else Decimal(5)
        budget(organization, name=scope, scope=scope, target=target, amount=amount)
    call(facts(organization))
    with pytest.raises(BudgetExceeded) as refused:
        call(facts(organization))
    assert refused.value.extra["budget"]["name"] == tight
    assert set(BudgetWindow.objects.values_list("spent", flat=True)) == {Decimal("0.01")}, "all were charged, once"


def test_of_several_that_refuse_the_one_that_lasts_longest_is_named(organization: Organization) -> None:
    for window in ("hour", "month", "day"):
        budget(organization, name=window, window=window, amount=Decimal(0))
    with pytest.raises(BudgetExceeded) as refused:
        call(facts(organization))
    named = refused.value.extra["budget"]
    assert (named["name"], named["limit"], named["spent"]) == ("month", "0", "0")
    assert refused.value.retry_after is not None
    assert refused.value.retry_after > 3600 * 23 or now().day >= 27


def test_a_star_gives_each_one_a_counter_of_its_own(organization: Organization) -> None:
    made = budget(organization, scope="end_user", target="*", amount=Decimal("0.01"))
    call(facts(organization, end_user="ada"))
    call(facts(organization, end_user="bob"))
    assert call(facts(organization, end_user="")) is None
    with pytest.raises(BudgetExceeded, match="each end user"):
        call(facts(organization, end_user="ada"))
    assert set(made.windows.values_list("target", "spent")) == {("ada", Decimal("0.01")), ("bob", Decimal("0.01"))}


def test_a_call_is_settled_once_whoever_repeats_it(organization: Organization) -> None:
    made = budget(organization, amount=Decimal(1))
    reserved = ledger.reserve(facts(organization), CENT, str(uuid.uuid4()))
    assert (counter(made).spent, counter(made).reserved) == (0, Decimal("0.01"))
    for _ in range(3):
        ledger.settle(reserved, Amounts(usd=Decimal("0.0123456789")))
    assert (counter(made).spent, counter(made).reserved) == (Decimal("0.0123456789"), 0)


def test_a_refused_call_gives_back_what_it_held(organization: Organization) -> None:
    made = budget(organization, metric="calls", amount=Decimal(1))
    ledger.settle(ledger.reserve(facts(organization), CENT, str(uuid.uuid4())), Amounts(usd=Decimal(0), calls=0))
    assert (counter(made).spent, counter(made).reserved) == (0, 0)


def test_a_hold_that_nobody_settles_counts_as_its_estimate_and_is_mended_by_who_comes_late(
    organization: Organization,
) -> None:
    made = budget(organization, amount=Decimal(1))
    reserved = ledger.reserve(facts(organization), CENT, str(uuid.uuid4()))
    assert ledger.lapse() == 0, "it may still be under way"
    Hold.objects.update(expires_at=now() - timedelta(seconds=1))
    assert (ledger.lapse(), ledger.lapse()) == (1, 0)
    assert (counter(made).spent, counter(made).reserved) == (Decimal("0.01"), 0)
    ledger.settle(reserved, Amounts(usd=Decimal("0.03")))
    assert (counter(made).spent, counter(made).reserved) == (Decimal("0.03"), 0)
    assert not Hold.objects.exists()


def test_a_raise_holds_until_its_time(organization: Organization) -> None:
    made = budget(organization, amount=Decimal("0.01"))
    about = facts(organization)
    call(about)
    with pytest.raises(BudgetExceeded):
        call(about)
    Budget.objects.update(raised_by=Decimal("0.01"), raised_until=now() + timedelta(hours=1))
    call(about)
    Budget.objects.update(raised_until=now() - timedelta(seconds=1))
    with pytest.raises(BudgetExceeded):
        call(about)
    assert counter(made).refused_calls == 2


def test_a_soft_budget_refuses_nothing_and_says_once_that_it_is_near_and_once_that_it_is_reached(
    organization: Organization,
) -> None:
    heard: list[tuple[str, str]] = []

    def listener(event: BudgetEvent, about: Budget) -> None:
        heard.append((event.kind, about.name))

    crossings.listen(listener)
    try:
        budget(organization, name="soft", hard=False, amount=Decimal("0.04"), warn_at_percent=50)
        for _ in range(8):
            call(facts(organization))
    finally:
        crossings._listeners.remove(listener)
    assert heard == [("warning", "soft"), ("exceeded", "soft")]
    assert BudgetEvent.objects.count() == 2


def test_a_threshold_that_no_call_crossed_is_told_by_the_next(organization: Organization) -> None:
    budget(organization, amount=Decimal(1))
    call(facts(organization), Amounts(usd=Decimal("0.5")))
    Budget.objects.update(amount=Decimal("0.6"))
    assert not BudgetEvent.objects.exists()
    for _ in range(2):
        call(facts(organization))
    assert [event.kind for event in BudgetEvent.objects.all()] == ["warning"]


def test_a_listener_that_fails_undoes_no_call(organization: Organization, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: BudgetEvent, about: Budget) -> None:
        raise ZeroDivisionError

    crossings.listen(broken)
    try:
        made = budget(organization, hard=False, amount=Decimal("0.01"))
        call(facts(organization))
    finally:
        crossings._listeners.remove(broken)
    assert (counter(made).spent, counter(made).reserved) == (Decimal("0.01"), 0)
    assert "a listener failed" in caplog.text


def test_counters_are_kept_for_a_year_and_lapsed_holds_for_a_day(organization: Organization) -> None:
    made = budget(organization, amount=Decimal(1))
    for age in (2, 390, 410):
        BudgetWindow.objects.create(budget=made, starts_at=now() - timedelta(days=age))
    for age, lapsed in ((0.1, True), (2, True), (2, False)):
        expired = now() - timedelta(days=age)
        Hold.objects.create(id=uuid.uuid4(), items=[], expires_at=expired, lapsed=lapsed)
    tasks.prune()
    assert made.windows.count() == 2
    assert sorted(Hold.objects.values_list("lapsed", flat=True)) == [False, True]
    assert tasks.lapse_holds() == 1


def test_a_rolling_budget_forgets_what_was_spent_before_its_window(organization: Organization) -> None:
    made = budget(organization, window="rolling", rolling_hours=24, amount=Decimal("0.02"))
    call(facts(organization))
    call(facts(organization))
    with pytest.raises(BudgetExceeded) as refused:
        call(facts(organization))
    assert 23 * 3600 <= (refused.value.retry_after or 0) <= 25 * 3600
    BudgetWindow.objects.update(starts_at=now() - timedelta(hours=23))
    with pytest.raises(BudgetExceeded) as refused:
        call(facts(organization))
    assert (refused.value.retry_after or 0) <= 2 * 3600
    BudgetWindow.objects.update(starts_at=now() - timedelta(hours=25, seconds=1))
    call(facts(organization))
    assert made.windows.count() == 2


def test_an_unknown_price_counts_as_nothing_loudly_or_is_refused_where_the_budget_says_so(
    organization: Organization,
) -> None:
    made = budget(organization)
    call(facts(organization), Amounts(usd=None, tokens=100))
    assert (counter(made).spent, counter(made).unpriced_calls) == (0, 1)
    Budget.objects.update(refuse_unpriced=True)
    with pytest.raises(ModelUnpriced, match="openai/gpt-5-mini"):
        call(facts(organization), Amounts(usd=None, tokens=100))


def test_a_budget_that_was_deleted_meanwhile_stops_no_call(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RULES_TTL_S", 60.0)
    gone, stays = budget(organization), budget(organization, scope="agent", target="*")
    call(facts(organization))
    gone.delete()
    call(facts(organization))
    assert counter(stays, f"agent-{ID}").spent == Decimal("0.02")


def test_an_organization_without_rules_pays_no_query(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "RULES_TTL_S", 60.0)
    rules.rules_of(organization.pk)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert call(facts(organization)) is None
    assert len(queries) == 0
    budget(organization)
    rules.forget(organization.pk)
    rules.rules_of(organization.pk)
    with CaptureQueriesContext(connection) as queries:
        call(facts(organization))
    assert len(queries) == 2
