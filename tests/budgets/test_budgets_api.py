"""`/api` about budgets, limits and stops: what it shows, what it changes, and who may."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from accounts.actions import NewKey, create_api_key
from accounts.models import ApiKey, AuditEntry, Membership, User
from budgets import ledger
from budgets.facts import Amounts, Facts
from budgets.models import Budget, BudgetWindow, RateLimit, Stop
from core.time import now
from tests.support.api import Tenant
from tests.support.factories import make_agent

NOBODY = "agent-00000000-0000-4000-8000-000000000001"
DAY = {"name": "A day's dollars", "amount": "10", "window": "day"}


class Rest:
    def __init__(self, key: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {key}"})

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/{path}", query)

    def send(self, method: str, path: str, body: Any = None) -> Any:
        return getattr(self.client, method)(f"/api/{path}", body, content_type="application/json")

    def made(self, path: str, body: Any) -> Any:
        response = self.send("post", path, body)
        assert response.status_code in (200, 201), response.content
        return response.json()


@pytest.fixture
def rest(tenant: Tenant) -> Rest:
    return Rest(tenant.key)


@pytest.fixture
def operators(tenant: Tenant) -> Rest:
    """A key with every scope, of one who is no admin."""
    user = User.objects.create_user(email="operator@example.test", password=None)
    Membership.objects.create(organization=tenant.organization, user=user, role="operator")
    return Rest(create_api_key(tenant.organization, user, NewKey(name="operator's"))[1])


def spend(tenant: Tenant, usd: str, **facts: str) -> None:
    about, amounts = Facts(organization_id=tenant.organization.pk, **facts), Amounts(usd=Decimal(usd), tokens=10)
    ledger.settle(ledger.reserve(about, amounts, "00000000-0000-4000-8000-000000000001"), amounts)


def test_a_budget_is_made_listed_with_its_state_changed_and_deleted(tenant: Tenant, rest: Rest) -> None:
    made = rest.made("budgets", DAY)
    spend(tenant, "8.5")
    [listed] = rest.get("budgets").json()["items"]
    state = listed["state"]
    assert (listed["id"], listed["amount"]) == (made["id"], "10")
    assert {n: state[n] for n in ("state", "limit", "spent", "reserved", "left", "share", "counters")} == {
        "state": "warning",
        "limit": "10",
        "spent": "8.5",
        "reserved": "0",
        "left": "1.5",
        "share": 0.85,
        "counters": 1,
    }
    assert state["resets_at"] > now().isoformat()
    changed = rest.send("patch", f"budgets/{made['id']}", {"amount": "8", "name": "Less"}).json()
    assert (changed["state"]["state"], changed["state"]["left"]) == ("exceeded", "0")
    fixed = rest.send("patch", f"budgets/{made['id']}", {"window": "month"})
    assert (fixed.status_code, "make another one" in fixed.json()["detail"]) == (422, True)
    assert rest.send("delete", f"budgets/{made['id']}").status_code == 204
    assert not BudgetWindow.objects.exists()
    deeds = AuditEntry.objects.order_by("created_at").values_list("action", "after")
    assert [action for action, _ in deeds] == ["budget.create", "budget.update", "budget.delete"]
    assert deeds[1][1] == {"name": "Less", "amount": "8"}


def test_a_raise_and_a_reset_let_calls_pass_and_are_kept_with_their_reason(tenant: Tenant, rest: Rest) -> None:
    path = f"budgets/{rest.made('budgets', DAY)['id']}"
    spend(tenant, "10")
    until = (now() + timedelta(hours=2)).isoformat()
    raised = rest.made(f"{path}/raise", {"by": "5", "until": until, "reason": "Launch day."})
    assert (raised["state"]["limit"], raised["state"]["left"]) == ("15", "5")
    past = {"by": "5", "until": "2020-01-01T00:00:00Z", "reason": "Too late."}
    assert rest.send("post", f"{path}/raise", past).status_code == 422
    assert rest.made(f"{path}/raise", {"by": "0", "reason": "Over."})["state"]["limit"] == "10"
    assert rest.made(f"{path}/reset", {"reason": "The price was wrong."})["state"]["spent"] == "0"
    spend(tenant, "1")
    reasons = AuditEntry.objects.order_by("created_at").values_list("reason", flat=True)
    assert [reason for reason in reasons if reason] == ["Launch day.", "Over.", "The price was wrong."]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "amount": "-1"}, "amount"),
        ({"name": "x", "amount": "1", "time_zone": "Mars/Base"}, "time_zone"),
        ({"name": "x", "amount": "1", "scope": "agent"}, "target"),
        ({"name": "x", "amount": "1", "scope": "agent", "target": "Sam"}, "target"),
        ({"name": "x", "amount": "1", "window": "rolling"}, "rolling_hours"),
        ({"name": "x", "amount": "1", "metric": "euros"}, "metric"),
        ({"amount": "1"}, "name"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_by_field(rest: Rest, body: Any, field: str) -> None:
    response = rest.send("post", "budgets", body)
    assert response.status_code == 422
    assert list(response.json()["fields"]) == [field]


def test_limits_are_made_changed_and_deleted(rest: Rest) -> None:
    made = rest.made("limits", {"kind": "requests", "amount": 60, "scope": "end_user", "target": "*"})
    assert made["period_s"] == 60
    assert rest.send("patch", f"limits/{made['id']}", {"amount": 5}).json()["amount"] == 5
    assert [item["id"] for item in rest.get("limits").json()["items"]] == [made["id"]]
    refused = rest.send("post", "limits", {"kind": "parallel_runs", "amount": 1, "scope": "model", "target": "*"})
    assert list(refused.json()["fields"]) == ["scope"]
    assert rest.send("delete", f"limits/{made['id']}").status_code == 204
    assert not RateLimit.objects.exists()


def test_a_stop_is_set_listed_and_lifted(tenant: Tenant, rest: Rest) -> None:
    agent = make_agent(tenant.organization)
    made = rest.made("stops", {"scope": "agent", "target": agent.pk, "reason": "Wild."})
    assert made["cancelled_runs"] == 0
    assert rest.send("post", "stops", {"scope": "agent", "target": agent.pk, "reason": "Again."}).status_code == 409
    assert [item["id"] for item in rest.get("stops", standing="true").json()["items"]] == [made["id"]]
    assert rest.made(f"stops/{made['id']}/lift", {"reason": "Tame."})["lift_reason"] == "Tame."
    assert rest.get("stops", standing="true").json()["items"] == []
    assert len(rest.get("stops").json()["items"]) == 1


def test_the_effective_rules_of_an_agent_are_all_there_and_the_tightest_is_named(tenant: Tenant, rest: Rest) -> None:
    agent = make_agent(tenant.organization)
    loose = rest.made("budgets", DAY)
    tight = rest.made("budgets", {**DAY, "name": "Sam's", "scope": "agent", "target": agent.pk, "amount": "2"})
    rest.made("budgets", {**DAY, "name": "Its model's", "scope": "model", "target": "scripted/*", "amount": "50"})
    rest.made("budgets", {**DAY, "name": "Another's", "scope": "agent", "target": NOBODY})
    users = rest.made("budgets", {**DAY, "name": "Each one's", "scope": "end_user", "target": "*"})
    quick = rest.made("limits", {"kind": "requests", "amount": 3, "scope": "agent", "target": "*"})
    spend(tenant, "1", agent_id=agent.pk, model="scripted/demo")
    found = rest.get("budgets/effective", agent=agent.pk).json()
    assert [(b["name"], b["state"]["spent"]) for b in found["budgets"]] == [
        ("Sam's", "1"),
        ("A day's dollars", "1"),
        ("Its model's", "1"),
    ]
    assert (found["tightest_budget"], found["tightest_limit"]) == (tight["id"], quick["id"])
    assert [item["remaining"] for item in found["limits"]] == [3]
    assert [item["id"] for item in found["depending"]] == [users["id"]]
    assert found["about"]["model"] == "scripted/demo"
    assert loose["id"] in {b["id"] for b in found["budgets"]}


def test_nobody_sees_or_changes_another_organizations_rules(
    tenant: Tenant, stranger: Tenant, rest: Rest, operators: Rest
) -> None:
    theirs = Rest(stranger.key)
    budget, limit = rest.made("budgets", DAY), rest.made("limits", {"kind": "requests", "amount": 1})
    stop = rest.made("stops", {"scope": "agent", "target": NOBODY, "reason": "Wild."})
    for path in ("budgets", "limits", "stops"):
        assert theirs.get(path).json()["items"] == []
    for method, path, body in (
        ("get", f"budgets/{budget['id']}", None),
        ("patch", f"budgets/{budget['id']}", {"amount": "1"}),
        ("delete", f"budgets/{budget['id']}", None),
        ("post", f"budgets/{budget['id']}/raise", {"by": "1", "reason": "Mine."}),
        ("post", f"budgets/{budget['id']}/reset", {"reason": "Mine."}),
        ("delete", f"limits/{limit['id']}", None),
        ("post", f"stops/{stop['id']}/lift", {}),
    ):
        assert theirs.send(method, path, body).status_code == 404, path
        assert operators.send(method, path, body).status_code == (200 if method == "get" else 403), path
    assert operators.send("post", "budgets", DAY).status_code == 403, "its key cannot free itself"
    ApiKey.objects.filter(organization=tenant.organization, user=tenant.user).update(scopes=["read"])
    assert rest.send("post", "budgets", DAY).status_code == 403
    assert (Budget.objects.count(), Stop.objects.filter(lifted_at=None).count()) == (1, 1)


def test_the_list_costs_the_same_for_one_budget_and_for_many(
    tenant: Tenant, rest: Rest, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        Budget.objects.create(organization=tenant.organization, name=f"b{number}", amount=1, scope="agent", target="*")
    for agent in ("a", "b", "c"):
        spend(tenant, "0.25", agent_id=agent)
    with django_assert_max_num_queries(4):
        items = rest.get("budgets").json()["items"]
    assert {(i["state"]["counters"], i["state"]["spent"]) for i in items} == {(3, "0.25")}


def test_every_route_is_described() -> None:
    described = Client().get("/api/schema", {"format": "json"}).json()["paths"]
    for path in (
        "budgets",
        "budgets/effective",
        "budgets/{budget_id}/raise",
        "limits/{limit_id}",
        "stops/{stop_id}/lift",
    ):
        assert f"/api/{path}" in described
