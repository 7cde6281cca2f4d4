"""Budgets, limits and stops in the admin: what is shown, what is changed, and by whom."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry
from budgets import rules
from budgets.models import Budget, BudgetWindow, RateLimit, Stop
from conversations.models import RunStatus
from core.time import now
from tests.support.admin_pages import change
from tests.support.factories import default_of, make_run
from tests.support.seed import Seeded

FORM = {
    "name": "Each agent's month",
    "scope": "agent",
    "target": "*",
    "amount": "25",
    "metric": "usd",
    "window": "month",
    "time_zone": "Europe/Berlin",
    "hard": "on",
    "warn_at_percent": "80",
    "enabled": "on",
}


@pytest.fixture(autouse=True)
def _fresh_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "RULES_TTL_S", 0.0)


def page(client: Client, url: str, **query: Any) -> str:
    """The text of a page, without its tags."""
    response = client.get(url, query)
    assert response.status_code == 200, url
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def budget(world: Seeded, spent: str = "8.5", **fields: Any) -> Budget:
    known = {"name": "All agents", "amount": Decimal(10), "window": "month"}
    made = Budget.objects.create(organization=world.organization, **(known | fields))
    target = world.agents[0].pk if made.target == "*" else ""
    BudgetWindow.objects.create(budget=made, target=target, starts_at=now(), spent=Decimal(spent))
    return made


def test_the_list_shows_what_is_used_and_costs_the_same_for_many(
    browser: Any, world: Seeded, django_assert_max_num_queries: Any
) -> None:
    client = browser("viewer")
    budget(world)
    budget(world, name="Over", amount=Decimal(5), hard=False)
    for number in range(10):
        budget(world, name=f"b{number}", spent="0")
    with django_assert_max_num_queries(8):
        shown = page(client, reverse("admin:budgets_budget_changelist"))
    assert "$8.50 of $10.00 (85" in shown
    assert "near its end" in shown
    assert "over (soft) soft" in shown
    home = page(client, reverse("admin:index"))
    assert "Budgets near their end" in home
    assert "$8.50 of $5.00" in home


def test_a_budget_is_made_by_an_admin_who_cannot_change_what_it_counts(browser: Any, world: Seeded) -> None:
    client = browser("admin")
    response = client.post(reverse("admin:budgets_budget_add"), {"organization": world.organization.pk, **FORM})
    assert response.status_code == 302, response.content
    made = Budget.objects.get()
    assert (made.amount, made.scope, made.target, made.organization_id) == (25, "agent", "*", world.organization.pk)
    response = client.post(change(made), {**FORM, "amount": "30", "scope": "organization", "window": "day"})
    assert response.status_code == 302, response.content
    made.refresh_from_db()
    assert (made.amount, made.scope, made.window) == (30, "agent", "month")
    entry = AuditEntry.objects.get(action="budget.update")
    assert (entry.before, entry.after) == ({"amount": "25"}, {"amount": "30"})
    bad = client.post(reverse("admin:budgets_budget_add"), {**FORM, "target": "Sam", "time_zone": "Mars"}).content
    assert b"No such time zone" in bad
    assert browser("operator").get(reverse("admin:budgets_budget_add")).status_code == 403


def test_a_budget_is_raised_and_reset_with_a_reason(browser: Any, world: Seeded) -> None:
    client, made = browser("admin"), budget(world, scope="agent", target="*")
    assert f"Who has used the most Who Used Of its budget Refused {world.agents[0].name} $8.50" in page(
        client, change(made)
    )
    raised = {"by": "2.5", "hours": "24", "reason": "Launch day."}
    shown = client.post(reverse("admin:budgets_budget_raise", args=[made.pk]), raised, follow=True).content.decode()
    assert "Raised by $2.50" in shown
    assert "$8.50 of $12.50" in shown
    nonsense = client.post(reverse("admin:budgets_budget_raise", args=[made.pk]), {"by": "NaN"}, follow=True)
    assert b"Enter a number" in nonsense.content
    client.post(reverse("admin:budgets_budget_reset", args=[made.pk]), {"reason": "A wrong price."})
    assert not BudgetWindow.objects.filter(spent__gt=0).exists()
    other = browser("operator")
    for name in ("raise", "reset"):
        url = reverse(f"admin:budgets_budget_{name}", args=[made.pk])
        assert other.post(url, {"by": "1", "hours": "1", "reason": "x"}).status_code == 403


def test_an_agent_is_stopped_from_its_page_by_an_operator_and_lifted_by_an_admin(browser: Any, world: Seeded) -> None:
    agent, operator = world.agents[0], browser("operator")
    run = make_run(default_of(agent), status=RunStatus.RUNNING)
    assert "Stop this agent" in page(operator, change(agent))
    posted = {"organization": world.organization.pk, "scope": "agent", "target": agent.pk, "reason": "It went wild."}
    back = operator.post(reverse("admin:budgets_stop_now"), {**posted, "next": change(agent)})
    assert back.headers["Location"] == change(agent)
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    shown = page(operator, change(agent))
    assert "This agent is stopped" in shown
    assert "Lift the stop" not in shown
    row = Stop.objects.get()
    lift = reverse("admin:budgets_stop_lift", args=[row.pk])
    assert operator.post(lift).status_code == 403
    admin = browser("admin")
    assert "Lift the stop" in page(admin, change(agent))
    assert "It went wild." in page(admin, reverse("admin:index"))
    assert admin.post(lift, {"next": "https://elsewhere.test/"}).headers["Location"].startswith("/admin/")
    row.refresh_from_db()
    assert row.lifted_at is not None
    assert "Stop this key" in page(admin, change(world.key))


def test_nobody_stops_or_sees_another_organizations_agents(browser: Any, world: Seeded, foreign: Seeded) -> None:
    client, agent = browser("owner"), foreign.agents[0]
    posted = {"organization": foreign.organization.pk, "scope": "agent", "target": agent.pk, "reason": "Mine."}
    assert client.post(reverse("admin:budgets_stop_now"), posted).status_code == 403
    own = {**posted, "organization": world.organization.pk}
    client.post(reverse("admin:budgets_stop_now"), own)
    assert Stop.objects.get().organization_id == world.organization.pk
    assert browser("viewer").post(reverse("admin:budgets_stop_now"), own).status_code == 403
    theirs = budget(foreign, name="Their secret budget")
    asked = {"organization": foreign.organization.pk, "agent": agent.pk}
    assert theirs.name not in page(client, reverse("admin:budgets_effective"), **asked)
    for name in ("raise", "reset"):
        url = reverse(f"admin:budgets_budget_{name}", args=[theirs.pk])
        assert client.post(url, {"by": "1", "reason": "x"}).status_code == 404


@pytest.mark.usefixtures("redis")
def test_what_holds_for_an_agent_is_shown_the_tightest_first(browser: Any, world: Seeded) -> None:
    client, agent = browser("viewer"), world.agents[0]
    url = reverse("admin:budgets_effective")
    assert "None holds here" in page(client, url, agent=agent.pk)
    budget(world, name="Loose", spent="1")
    budget(world, name="Tight", scope="agent", target="*", spent="9")
    budget(world, name="Of users", scope="end_user", target="*")
    RateLimit.objects.create(organization=world.organization, amount=60, kind="requests")
    shown = page(client, url, agent=agent.pk)
    assert shown.index("Tight tightest") < shown.index("Loose")
    assert "60 requests per minute for the organization" in shown
    assert shown.index("May hold too") < shown.index("Of users")
    assert page(client, change(agent)).count("Budgets and limits that hold here") == 1
