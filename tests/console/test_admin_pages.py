"""Every page of the admin opens, for everybody who may open it, and loads nothing from outside."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from agents.models import Agent
from tests.support import admin_pages
from tests.support.seed import Seeded

OUTSIDE = re.compile(r"""(?:src|href|action)=["'](?:https?:)?//(?!testserver)[^"']+|url\(["']?https?://""")
OUR_TABLE = re.compile(r"""<table class="pn-table">.*?</table>""", re.DOTALL)
ROLES = ("superuser", "admin", "viewer")

pytestmark = pytest.mark.usefixtures("clickhouse")


def read(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, f"{url}: {response.status_code} {response.headers.get('Location', '')}"
    return response.content.decode()


@pytest.mark.parametrize("role", ROLES)
def test_every_list_and_every_detail_page_opens_for_each_role(browser: Any, world: Seeded, role: str) -> None:
    client = browser(role)
    pages = ["/admin/", "/admin/?period=today", reverse("admin:telemetry_traces"), *admin_pages.lists()]
    for url in [*pages, *admin_pages.details(world)]:
        html = read(client, url)
        assert not OUTSIDE.findall(html), f"{url} loads something from outside"
        for head in re.findall(r"<th\b[^>]*>", "".join(OUR_TABLE.findall(html))):
            assert "scope=" in head, f"{url}: a table header without a scope: {head}"


def test_every_form_for_a_new_row_opens_for_a_superuser(browser: Any, world: Seeded) -> None:
    client = browser("superuser")
    opened = 0
    for url in admin_pages.adds():
        response = client.get(url)
        assert response.status_code in (200, 403), url
        opened += response.status_code == 200
    assert opened >= 8


def test_nobody_gets_in_without_a_log_in(world: Seeded) -> None:
    for url in [*admin_pages.lists(), *admin_pages.details(world), reverse("admin:telemetry_traces")]:
        response = Client().get(url)
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/admin/login/")


def test_a_conversation_reads_as_a_chat_with_its_tool_calls_and_their_returns(browser: Any, world: Seeded) -> None:
    html = read(browser("viewer"), admin_pages.change(world.conversations[0]))
    assert html.count('<article class="pn-turn pn-role-user') == 4
    assert "Good morning, Ada. We have not met before: tell me more." in html
    assert "memory_insert" in html
    assert "Inserted at line 2." in html
    assert "I write it down first." in html
    assert "pn-out" in html  # the message of the failed turn is out of context


def test_a_long_conversation_is_paged_by_the_number_of_the_message(browser: Any, world: Seeded) -> None:
    from conversations.models import Message

    conversation = world.conversations[0]
    first = conversation.next_seq
    Message.objects.bulk_create(
        Message(
            organization=world.organization,
            agent=world.agents[0],
            conversation=conversation,
            seq=first + number,
            role="user",
            content=[{"type": "text", "text": f"message number {number}."}],
        )
        for number in range(90)
    )
    client, url = browser("viewer"), admin_pages.change(conversation)
    newest = read(client, url)
    assert "message number 89." in newest
    assert "message number 49." not in newest
    older = re.search(r'href="(\?before=\d+)"', newest)
    assert older
    before = read(client, url + older[1])
    assert "message number 49." in before
    assert "message number 50." not in before
    newer = re.search(r'href="(\?after=\d+)"', before)
    assert newer
    assert "message number 50." in read(client, url + newer[1])


def test_no_search_breaks_a_list(browser: Any, world: Seeded) -> None:
    client = browser("viewer")
    for url in admin_pages.lists():
        for words in ("(((", "agent-(", "%", "agent-nonsense", "'\\", "a" * 500, "tomatoes & ("):
            assert client.get(url, {"q": words}).status_code == 200, f"{url}?q={words}"


def test_a_wrong_address_says_so_in_words(browser: Any, world: Seeded) -> None:
    client = browser("viewer")
    response = client.get("/admin/agents/agent/nonsense/memory/")
    assert response.status_code == 404
    assert b"There is nothing here" in response.content
    response = client.get(reverse("admin:agents_agent_add"))
    assert response.status_code == 403
    assert b"Your role does not allow this" in response.content


def test_passages_are_found_by_their_words(browser: Any, world: Seeded) -> None:
    client, url = browser("viewer"), reverse("admin:agents_passage_changelist")
    found = client.get(url, {"q": "tomatoes sun"}).content.decode()
    assert "Tomatoes want sun" in found
    assert "fig tree" not in found
    assert client.get(url, {"q": world.archive.pk}).content.count(b"data-row") == 3  # type: ignore[union-attr]


def test_a_run_shows_its_steps_its_error_and_the_way_to_its_traces(browser: Any, world: Seeded) -> None:
    client = browser("viewer")
    good, bad = (next(run for run in world.runs if run.status == status) for status in ("completed", "failed"))
    html = read(client, admin_pages.change(good))
    steps = [step for step in world.steps if step.run_id == good.pk]
    for step in steps:
        assert reverse("admin:telemetry_trace", args=[step.trace_call_id]) in html
    assert "Cancel this run" not in html
    assert "The vendor is overloaded: 529." in read(client, admin_pages.change(bad))


def test_the_home_page_adds_up_what_was_spent_and_is_loud_about_models_without_a_price(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    from console.display import usd

    world_agents = {str(agent.pk) for agent in world.agents}
    spent = sum(step.cost_usd or 0 for step in world.steps if str(step.agent_id) in world_agents)
    html = read(browser("owner"), "/admin/?period=7d")
    assert f"<dd>{usd(spent)}</dd>" in html
    assert f"<dd>{len(world.steps)}</dd>" in html
    assert "claude-sonnet-4-5" in html
    assert "The vendor is overloaded: 529." in html
    assert "no known price" not in html


def test_a_model_without_a_price_is_named_on_the_home_page(browser: Any, world: Seeded, clickhouse: str) -> None:
    from tests.support.seed import Size, seed

    seed("Third", size=Size(agents=3, turns=1, days=1), number=3, clickhouse_url=clickhouse)
    html = read(browser("superuser"), "/admin/?period=7d")
    assert "1 model has no known price" in html
    assert "ollama/qwen3:8b" in html
    assert "?provider_type=ollama&amp;model=qwen3%3A8b" in html


def test_an_organization_without_agents_is_told_how_to_begin(browser: Any, world: Seeded) -> None:
    Agent.objects.all().delete()
    html = read(browser("owner"), "/admin/")
    assert "Begin here" in html
    assert "client.agents.create(" in html
