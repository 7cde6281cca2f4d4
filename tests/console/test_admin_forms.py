"""What operators change goes through the same actions as the API, and a refusal stands beside its field."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from agents.models import Agent, AgentTool, Block, Tool
from providers import entries
from tests.support import admin_pages
from tests.support.seed import Seeded

MODEL = "scripted/demo"


def hidden_fields(client: Client, url: str) -> dict[str, Any]:
    """What the page's form would send if nothing were changed."""
    form = client.get(url).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in fields.items() if value not in (None, False)}


def test_an_agent_made_in_the_admin_is_whole(browser: Any, world: Seeded) -> None:
    sent = {
        "organization": world.organization.pk,
        "name": "Made here",
        "model": MODEL,
        "persona": "I am Iris.",
        "human": "Name: Ada.",
    }
    response = browser("operator").post(reverse("admin:agents_agent_add"), sent)
    assert response.status_code == 302, response.context["adminform"].form.errors
    agent = Agent.objects.get(name="Made here")
    assert sorted(agent.blocks.values_list("label", "value")) == [("human", "Name: Ada."), ("persona", "I am Iris.")]
    assert agent.organization_id == world.organization.pk
    assert agent.system
    assert agent.tools.filter(name="memory_insert").exists()
    assert agent.conversations.filter(is_default=True).exists()


def test_an_agent_is_copied_by_those_who_may_change_it(browser: Any, world: Seeded) -> None:
    agent = world.agents[0]
    Agent.objects.filter(pk=agent.pk).update(model=MODEL, model_settings={})
    url = reverse("admin:agents_agent_clone", args=[agent.pk])
    assert browser("viewer").post(url, {"name": "Twin"}).status_code == 403
    assert browser("operator").post(url, {"name": "Twin", "share": "on"}).status_code == 302
    twin = Agent.objects.get(name="Twin")
    assert set(twin.blocks.all()) == set(agent.blocks.all())
    assert twin.conversations.get().messages.count() == 1


def test_an_unknown_model_is_refused_beside_its_field(browser: Any, world: Seeded) -> None:
    sent = {"organization": world.organization.pk, "name": "Made here", "model": "nobody/knows"}
    response = browser("operator").post(reverse("admin:agents_agent_add"), sent)
    assert response.status_code == 200
    assert "nobody" in str(response.context["adminform"].form.errors["model"])
    assert not Agent.objects.filter(name="Made here").exists()


def test_a_change_writes_what_was_changed_and_moves_the_prompt_on(browser: Any, world: Seeded) -> None:
    client, agent = browser("operator"), world.agents[0]
    url = admin_pages.change(agent)
    before = Agent.objects.get(pk=agent.pk)
    sent = hidden_fields(client, url) | {"system": "You are terse.", "tags": "one, two"}
    response = client.post(url, sent)
    assert response.status_code == 302, response.context["adminform"].form.errors
    after = Agent.objects.get(pk=agent.pk)
    assert (after.system, after.tags, after.name, after.model) == (
        "You are terse.",
        ["one", "two"],
        agent.name,
        agent.model,
    )
    assert after.prompt_version == before.prompt_version + 1
    assert LogEntry.objects.filter(object_id=agent.pk).count() == 1


def test_a_wrong_setting_of_an_agent_is_refused(browser: Any, world: Seeded) -> None:
    client, url = browser("operator"), admin_pages.change(world.agents[0])
    sent = hidden_fields(client, url) | {"timezone": "Mars/Olympus"}
    response = client.post(url, sent)
    assert response.status_code == 200
    assert "timezone" in response.context["adminform"].form.errors
    sent = hidden_fields(client, url) | {"compaction_settings": '{"mode": "nonsense"}'}
    response = client.post(url, sent)
    assert "compaction_settings" in response.context["adminform"].form.errors
    assert Agent.objects.get(pk=world.agents[0].pk).compaction_settings is None


def test_tools_are_attached_and_detached(browser: Any, world: Seeded) -> None:
    client, agent = browser("operator"), world.agents[0]
    url = reverse("admin:agents_agent_tools", args=[agent.pk])
    tool = Tool.objects.get(name="memory_replace", organization=None)
    client.post(url, {"attach": tool.pk})
    assert AgentTool.objects.filter(agent=agent, tool=tool).exists()
    client.post(url, {"detach": tool.pk})
    assert not AgentTool.objects.filter(agent=agent, tool=tool).exists()


def test_a_tool_of_another_organization_is_not_attached(browser: Any, world: Seeded, foreign: Seeded) -> None:
    tool = Tool.objects.create(organization=foreign.organization, name="theirs", json_schema={})
    url = reverse("admin:agents_agent_tools", args=[world.agents[0].pk])
    browser("operator").post(url, {"attach": tool.pk})
    assert not AgentTool.objects.filter(tool=tool).exists()


def test_a_block_changed_in_its_form_gets_a_version_of_its_own(browser: Any, world: Seeded) -> None:
    client, block = browser("operator"), world.blocks[0]
    url = admin_pages.change(block)
    sent = hidden_fields(client, url) | {"value": "I am Iris.\r\nI garden.", "description": "Who it is now."}
    response = client.post(url, sent)
    assert response.status_code == 302, response.context["adminform"].form.errors
    newest = block.revisions.first()
    assert newest is not None
    assert (newest.version, newest.value, newest.description) == (2, "I am Iris.\nI garden.", "Who it is now.")
    html = client.get(reverse("admin:agents_block_revisions", args=[block.pk])).content.decode()
    assert "I garden." in html
    assert "description changed" in html


def test_a_block_over_its_limit_is_refused(browser: Any, world: Seeded) -> None:
    client, block = browser("operator"), world.blocks[0]
    url = admin_pages.change(block)
    response = client.post(url, hidden_fields(client, url) | {"value": "x" * 5_001})
    assert response.status_code == 200
    assert "value" in response.context["adminform"].form.errors
    assert block.revisions.count() == 1


def test_who_comes_second_does_not_overwrite(browser: Any, world: Seeded) -> None:
    client, block = browser("operator"), world.blocks[0]
    url = admin_pages.change(block)
    stale = hidden_fields(client, url) | {"value": "second"}
    client.post(url, hidden_fields(client, url) | {"value": "first"})
    response = client.post(url, stale)
    assert response.status_code == 200
    assert b"somebody changed it meanwhile" in response.content
    page = reverse("admin:agents_agent_memory", args=[world.agents[0].pk])
    response = client.post(page, {"block": block.pk, "value": "third", "version": "1"})
    assert b"somebody changed it meanwhile" in response.content
    assert b"third" in response.content  # what was typed is not lost
    block.refresh_from_db()
    assert block.value == "first"


def test_an_earlier_version_is_restored_as_a_new_one(browser: Any, world: Seeded) -> None:
    client, block = browser("operator"), world.blocks[1]
    url = reverse("admin:agents_block_revisions", args=[block.pk])
    assert client.post(url, {"version": "1"}).status_code == 302
    block.refresh_from_db()
    newest = block.revisions.first()
    assert newest is not None
    assert (block.value, newest.version, newest.actor, newest.reason) == (
        "Name: unknown.",
        4,
        "operator",
        "restored version 1",
    )
    assert "has no version 99" in client.post(url, {"version": "99"}, follow=True).content.decode()


def test_a_block_that_is_not_the_agent_s_cannot_be_written_through_its_page(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    page = reverse("admin:agents_agent_memory", args=[world.agents[0].pk])
    response = browser("operator").post(page, {"block": foreign.blocks[0].pk, "value": "taken", "version": "1"})
    assert response.status_code == 200
    assert not Block.objects.filter(value="taken").exists()


def test_a_price_is_used_from_the_next_call_on(browser: Any, world: Seeded) -> None:
    organization = str(world.organization.pk)
    assert entries.price_overrides(organization) == ()
    sent = {"organization": organization, "model": "qwen3:8b", "input": "0.1", "output": "0.4"}
    browser("admin").post(reverse("admin:providers_priceoverride_add"), sent)
    [price] = entries.price_overrides(organization)
    assert price.model == "qwen3:8b"
    sent |= {"valid_from_0": "2026-02-01", "valid_from_1": "00:00", "valid_to_0": "2026-01-01", "valid_to_1": "00:00"}
    response = browser("owner").post(reverse("admin:providers_priceoverride_add"), sent)
    assert b"no call would ever have this price" in response.content


def test_a_superuser_makes_a_person_and_puts_them_into_an_organization(browser: Any, world: Seeded) -> None:
    from accounts.models import User

    client = browser("superuser")
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    sent = {"email": "New@Example.test", "password1": "a long enough one", "password2": "a long enough one", **inline}
    response = client.post(reverse("admin:accounts_user_add"), sent)
    assert response.status_code == 302, response.context["adminform"].form.errors
    user = User.objects.get(email="new@example.test")
    sent = {
        "email": user.email,
        "is_active": "on",
        "is_staff": "on",
        "memberships-TOTAL_FORMS": "1",
        "memberships-INITIAL_FORMS": "0",
        "memberships-0-user": user.pk,
        "memberships-0-organization": world.organization.pk,
        "memberships-0-role": "operator",
    }
    response = client.post(admin_pages.change(user), sent)
    assert response.status_code == 302
    assert user.memberships.get().role == "operator"
    assert Client().login(username="new@example.test", password="a long enough one")
