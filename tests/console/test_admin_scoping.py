"""A member sees the own organization and nothing else, and does what the role allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Membership, User
from agents.models import Agent, Block
from conversations.models import Run, RunStatus
from providers.models import PriceOverride
from tests.support import admin_pages
from tests.support.seed import Seeded


def ids_of(world: Seeded) -> list[str]:
    rows: list[Any] = [world.organization, world.owner, world.project, world.key, *world.agents, *world.blocks]
    rows += [*world.conversations, *world.runs, *world.steps, world.archive, *world.passages]
    return [str(row.pk) for row in rows]


@pytest.mark.usefixtures("clickhouse")
def test_no_list_of_a_member_holds_a_row_of_another_organization(browser: Any, world: Seeded, foreign: Seeded) -> None:
    client = browser("owner")
    hidden = [*ids_of(foreign), "Contoso"]
    shown = 0
    for url in ["/admin/", reverse("admin:telemetry_traces"), *admin_pages.lists()]:
        html = client.get(url).content.decode()
        shown += sum(row_id in html for row_id in ids_of(world))
        for word in hidden:
            assert word not in html, f"{url} shows {word}"
    assert shown > 20


@pytest.mark.usefixtures("clickhouse")
def test_no_page_of_a_row_of_another_organization_opens(browser: Any, world: Seeded, foreign: Seeded) -> None:
    client = browser("owner")
    for url in admin_pages.details(foreign):
        response = client.get(url)
        html = response.content.decode()
        assert response.status_code in (302, 404), f"{url}: {response.status_code}"
        assert "Contoso" not in html


def test_a_search_for_a_foreign_id_finds_nothing(browser: Any, world: Seeded, foreign: Seeded) -> None:
    client = browser("owner")
    for row in (foreign.agents[0], foreign.blocks[0], foreign.runs[0], foreign.conversations[0]):
        html = client.get(reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_changelist"), {"q": row.pk}).content
        assert b"data-row" not in html
    own = client.get(reverse("admin:agents_agent_changelist"), {"q": world.agents[0].pk}).content
    assert own.count(b"data-row") == 1


def test_autocomplete_offers_rows_of_the_own_organization_alone(browser: Any, world: Seeded, foreign: Seeded) -> None:
    ask = {"app_label": "accounts", "model_name": "apikey", "field_name": "project"}
    response = browser("owner").get(reverse("admin:autocomplete"), ask)
    found = json.loads(response.content)["results"]
    assert [row["id"] for row in found] == [world.project.pk]


def test_a_form_that_names_a_row_of_another_organization_is_refused(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    client = browser("owner")
    sent = {"organization": world.organization.pk, "name": "x", "scopes": ["read"], "project": foreign.project.pk}
    response = client.post(reverse("admin:accounts_apikey_add"), sent)
    assert response.status_code == 200
    sent = {"organization": foreign.organization.pk, "name": "x", "scopes": ["read"]}
    assert client.post(reverse("admin:accounts_apikey_add"), sent).status_code == 200
    assert not ApiKey.objects.filter(name="x").exists()


def test_a_superuser_cannot_tie_a_row_to_another_organization_either(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    sent = {"organization": world.organization.pk, "name": "x", "scopes": ["read"], "project": foreign.project.pk}
    response = browser("superuser").post(reverse("admin:accounts_apikey_add"), sent)
    assert b"belongs to another organization" in response.content
    assert not ApiKey.objects.filter(name="x").exists()


def test_an_action_on_a_foreign_row_does_nothing(browser: Any, world: Seeded, foreign: Seeded) -> None:
    client = browser("owner")
    sent = {"action": "revoke_selected", "_selected_action": [foreign.key.pk]}
    client.post(reverse("admin:accounts_apikey_changelist"), sent)
    assert client.post(reverse("admin:accounts_apikey_revoke", args=[foreign.key.pk])).status_code == 404
    foreign.key.refresh_from_db()
    assert foreign.key.revoked_at is None
    client.post(reverse("admin:accounts_apikey_changelist"), sent | {"_selected_action": [world.key.pk]})
    world.key.refresh_from_db()
    assert world.key.revoked_at is not None


def test_a_staff_user_without_an_organization_sees_no_row_at_all(browser: Any, world: Seeded) -> None:
    client = browser("outsider")
    assert b"You belong to no organization yet" in client.get("/admin/").content
    for url in admin_pages.lists():
        response = client.get(url)
        html = response.content.decode()
        assert response.status_code in (200, 403)
        assert not [row_id for row_id in ids_of(world) if row_id in html], url


def test_the_picker_narrows_lists_and_figures_and_takes_no_foreign_organization(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    client, url = browser("superuser"), reverse("admin:agents_agent_changelist")
    assert client.get(url).content.count(b"data-row") == 3
    client.post(reverse("admin:pick_organization"), {"organization": foreign.organization.pk, "next": url})
    assert client.get(url).content.count(b"data-row") == 1
    # A link to a row of another organization still opens: the picker narrows lists, it forbids nothing.
    assert client.get(admin_pages.change(world.agents[0])).status_code == 200
    member = browser("viewer")
    member.post(reverse("admin:pick_organization"), {"organization": foreign.organization.pk, "next": url})
    assert member.get(url).content.count(b"data-row") == 2


def test_the_picker_leads_nowhere_outside(browser: Any, world: Seeded) -> None:
    sent = {"organization": "", "next": "https://elsewhere.example/"}
    response = browser("viewer").post(reverse("admin:pick_organization"), sent)
    assert response.headers["Location"] == "/admin/"


def save_block(client: Client, block: Block, value: str) -> int:
    page = reverse("admin:agents_agent_memory", args=[block.agents.get().pk])
    sent = {"block": block.pk, "value": value, "version": block.version}
    return client.post(page, sent).status_code


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("operator", True), ("admin", True), ("owner", True)])
def test_who_may_edit_memory(browser: Any, world: Seeded, role: str, may: bool) -> None:
    block = world.blocks[0]
    assert save_block(browser(role), block, "Changed in the admin.") == (302 if may else 403)
    block.refresh_from_db()
    assert (block.value == "Changed in the admin.") is may
    if may:
        newest = block.revisions.first()
        assert newest is not None
        assert (newest.actor, newest.value) == ("operator", "Changed in the admin.")
        assert newest.actor_id == str(User.objects.get(email=f"{role}@example.test").pk)


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("operator", False), ("admin", True), ("owner", True)])
def test_who_may_make_keys_and_prices(browser: Any, world: Seeded, role: str, may: bool) -> None:
    client = browser(role)
    sent = {"organization": world.organization.pk, "name": "made here", "scopes": ["read"]}
    assert client.post(reverse("admin:accounts_apikey_add"), sent).status_code == (302 if may else 403)
    assert ApiKey.objects.filter(name="made here").exists() is may
    sent = {"organization": world.organization.pk, "model": "m", "input": "1", "output": "2"}
    assert client.post(reverse("admin:providers_priceoverride_add"), sent).status_code == (302 if may else 403)
    assert PriceOverride.objects.filter(model="m").exists() is may


@pytest.mark.parametrize(("role", "may"), [("operator", False), ("admin", False), ("owner", True)])
def test_who_may_add_members(browser: Any, world: Seeded, role: str, may: bool) -> None:
    url = reverse("admin:accounts_add_member", args=[world.organization.pk])
    sent = {"email": "New@Example.test", "role": "operator", "password": "a long enough one"}
    assert browser(role).post(url, sent).status_code == (302 if may else 403)
    added = Membership.objects.filter(organization=world.organization, user__email="new@example.test").first()
    assert (added is not None) is may
    if added is not None:
        assert added.role == "operator"
        assert Client().login(username="new@example.test", password="a long enough one")


def test_the_last_owner_of_an_organization_stays(browser: Any, world: Seeded) -> None:
    client, url = browser("superuser"), admin_pages.change(world.organization)
    member = Membership.objects.get(user=world.owner)
    sent = {
        "name": "Northwind",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "1",
        "memberships-0-id": member.pk,
        "memberships-0-organization": world.organization.pk,
        "memberships-0-role": "viewer",
    }
    response = client.post(url, sent)
    assert response.status_code == 200
    assert b"keeps at least one owner" in response.content
    member.refresh_from_db()
    assert member.role == "owner"


def test_only_superusers_change_people(browser: Any, world: Seeded) -> None:
    client, url = browser("owner"), admin_pages.change(world.owner)
    assert client.get(url).status_code == 200
    assert client.post(url, {"email": "taken@example.test"}).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[world.owner.pk])
    assert client.post(password, {"password1": "x" * 12, "password2": "x" * 12}).status_code in (403, 404)
    world.owner.refresh_from_db()
    assert world.owner.email != "taken@example.test"
    assert not world.owner.check_password("x" * 12)


def test_an_operator_cancels_a_run_and_a_viewer_does_not(browser: Any, world: Seeded, redis: Any) -> None:
    run = Run.objects.create(
        organization=world.organization,
        agent=world.agents[0],
        conversation=world.conversations[0],
        status=RunStatus.QUEUED,
        trace_id="0" * 32,
    )
    url = reverse("admin:conversations_run_cancel", args=[run.pk])
    assert browser("viewer").post(url).status_code == 403
    operator = browser("operator")
    assert b"Cancel this run" in operator.get(admin_pages.change(run)).content
    assert operator.get(url).status_code == 405
    run.refresh_from_db()
    assert run.status == "queued"
    assert operator.post(url).status_code == 302
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_deleting_an_agent_asks_first_and_leaves_its_blocks(browser: Any, world: Seeded) -> None:
    client, agent = browser("operator"), world.agents[0]
    url = reverse("admin:agents_agent_delete", args=[agent.pk])
    assert b"and all that belongs to it" in client.get(url).content
    assert Agent.objects.filter(pk=agent.pk).exists()
    client.post(url, {"post": "yes"})
    assert not Agent.objects.filter(pk=agent.pk).exists()
    assert Block.objects.filter(pk=world.blocks[0].pk).exists()
