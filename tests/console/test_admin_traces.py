"""The trace explorer and the home page read ClickHouse, and say plainly when it does not answer."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.support import admin_pages
from tests.support.seed import Seeded, Size, seed

NOWHERE = "clickhouse://127.0.0.1:9/none"

pytestmark = pytest.mark.usefixtures("clickhouse")


def shown(client: Client, **query: Any) -> list[str]:
    html = client.get(reverse("admin:telemetry_traces"), query).content.decode()
    return re.findall(r'href="/admin/telemetry/traces/([0-9a-f-]{36})/"', html)


@pytest.fixture
def client(browser: Any, world: Seeded) -> Client:
    return browser("viewer")  # type: ignore[no-any-return]


def test_traces_are_listed_newest_first(client: Client, world: Seeded) -> None:
    found = shown(client)
    at = {step.trace_call_id: step.started_at for step in world.steps}
    assert sorted(found) == sorted(world.trace_ids)
    assert [at[i] for i in found] == sorted(at.values(), reverse=True)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ({"model": "gpt-5-mini"}, lambda step: step.model == "gpt-5-mini"),
        ({"provider": "anthropic"}, lambda step: step.provider_type == "anthropic"),
        ({"failed": "on"}, lambda step: step.error_type),
        ({"failed": "no"}, lambda step: not step.error_type),
        ({"is_byok": "true"}, lambda step: step.provider_category == "byok"),
        ({"is_byok": "false"}, lambda step: step.provider_category == "base"),
        ({"model": ["gpt-5-mini", "no such"]}, lambda step: step.model == "gpt-5-mini"),
        ({"end_user": "~none"}, lambda step: True),
        ({"price": "priced"}, lambda step: step.cost_usd is not None),
        ({"price": "estimated"}, lambda step: False),
        ({"min_ms": "1300"}, lambda step: (step.model_ms or 0) >= 1300),
        ({"min_usd": "0.005"}, lambda step: (step.cost_usd or 0) >= Decimal("0.005")),
        ({"q": "lisbon COMPILERS"}, lambda step: "compilers" in step.run.input[0]["content"]),
        ({"q": "nobody said this"}, lambda step: False),
        ({"error_type": "Overloaded"}, lambda step: step.error_type == "Overloaded"),
        ({"call_type": "summarization"}, lambda step: False),
        ({"tag": "team-1"}, lambda step: "team-1" in step.agent.tags),
    ],
)
def test_a_filter_keeps_what_fits_and_nothing_else(client: Client, world: Seeded, query: Any, wanted: Any) -> None:
    assert sorted(shown(client, **query)) == sorted(s.trace_call_id for s in world.steps if wanted(s))


def test_traces_of_one_agent_run_or_conversation(client: Client, world: Seeded) -> None:
    agent, run = world.agents[1], world.runs[0]
    of_agent = [step.trace_call_id for step in world.steps if step.agent_id == agent.pk]
    assert sorted(shown(client, agent=agent.pk)) == sorted(of_agent)
    of_run = [step.trace_call_id for step in world.steps if step.run_id == run.pk]
    assert sorted(shown(client, run=run.pk)) == sorted(of_run)
    assert sorted(shown(client, trace=run.trace_id)) == sorted(of_run)


def test_the_time_range_is_mandatory_and_bounds_the_list(client: Client, world: Seeded) -> None:
    at = {step.trace_call_id: step.started_at for step in world.steps}
    middle = sorted(at.values())[len(at) // 2]
    found = shown(client, period="custom", start=f"{middle:%Y-%m-%dT%H:%M}")
    assert sorted(found) == sorted(i for i, when in at.items() if when >= middle.replace(second=0, microsecond=0))
    assert shown(client, period="nonsense") == shown(client)
    html = client.get(reverse("admin:telemetry_traces"), {"period": "custom", "start": "yesterday"}).content.decode()
    assert "Enter a valid date/time." in html


def test_pages_of_traces_follow_each_other_without_gap_or_repeat(
    client: Client, world: Seeded, clickhouse: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetry.admin.traces.PAGE", 4)
    url, seen = reverse("admin:telemetry_traces"), []
    query = "?period=30d"
    for _ in range(10):
        html = client.get(url + query).content.decode()
        seen += re.findall(r'href="/admin/telemetry/traces/([0-9a-f-]{36})/"', html)
        older = re.search(r'href="(\?[^"]*)" rel="next"', html)
        if not older:
            break
        query = older[1].replace("&amp;", "&")
    assert len(seen) == len(set(seen))
    assert sorted(seen) == sorted(world.trace_ids)
    assert client.get(url + "?after=nonsense").status_code == 404


def test_a_trace_shows_what_was_said_as_chat_and_as_json_with_its_cost(client: Client, world: Seeded) -> None:
    step = next(s for s in world.steps if s.index == 1 and s.error_type is None and s.cost_usd)
    url = reverse("admin:telemetry_trace", args=[step.trace_call_id])
    html = client.get(url).content.decode()
    assert "Good morning! I&#x27;m Ada." in html
    assert '<article class="pn-turn pn-role-system' in html
    assert "memory_insert" in html
    assert "&quot;stream&quot;: true" in client.get(url, {"tab": "json"}).content.decode()
    assert "genai-prices 0.2.3" in client.get(url, {"tab": "cost"}).content.decode()
    details = client.get(url, {"tab": "details"}).content.decode()
    for row in (step.run, step.agent, world.organization, world.key, world.conversations[0]):
        assert admin_pages.change(row) in details
    failed = next(s for s in world.steps if s.error_type)
    html = client.get(reverse("admin:telemetry_trace", args=[failed.trace_call_id])).content.decode()
    assert "The vendor is overloaded: 529." in html
    assert "The call failed before an answer." in html


def test_a_trace_of_another_organization_is_not_found(client: Client, foreign: Seeded) -> None:
    response = client.get(reverse("admin:telemetry_trace", args=[foreign.trace_ids[0]]))
    assert response.status_code == 404
    assert b"No such trace in your organizations" in response.content
    assert foreign.trace_ids[0] not in shown(client)


def test_a_member_of_two_organizations_sees_both_until_one_is_picked(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    from accounts.models import Membership, User
    from console.display import usd

    client = browser("viewer")
    user = User.objects.get(email="viewer@example.test")
    Membership.objects.create(organization=foreign.organization, user=user, role="viewer")
    spent = sum(step.cost_usd or 0 for step in [*world.steps, *foreign.steps])
    html = client.get("/admin/?period=7d").content.decode()
    assert f"<dd>{usd(spent)}</dd>" in html
    assert sorted(shown(client)) == sorted([*world.trace_ids, *foreign.trace_ids])
    assert sorted(shown(client, organization=foreign.organization.pk)) == sorted(foreign.trace_ids)
    assert client.get(reverse("admin:telemetry_trace", args=[foreign.trace_ids[0]])).status_code == 200
    client.post(reverse("admin:pick_organization"), {"organization": foreign.organization.pk})
    assert sorted(shown(client)) == sorted(foreign.trace_ids)
    assert client.get(reverse("admin:telemetry_trace", args=[world.trace_ids[0]])).status_code == 200


def test_with_clickhouse_down_every_page_opens_and_says_so(client: Client, world: Seeded, settings: Any) -> None:
    settings.CLICKHOUSE_URL = NOWHERE
    pages = {
        "/admin/": "The figures cannot be read now",
        reverse("admin:telemetry_traces"): "Traces cannot be read now",
        reverse("admin:telemetry_trace", args=[world.trace_ids[0]]): "This trace cannot be read now",
        reverse("admin:agents_agent_spend", args=[world.agents[0].pk]): "Spend cannot be read now",
    }
    for url, words in pages.items():
        response = client.get(url)
        assert response.status_code == 200
        assert words in response.content.decode()
    assert "Last failed runs" in client.get("/admin/").content.decode()
    assert client.get(admin_pages.change(world.runs[0])).status_code == 200


def test_the_spend_of_an_agent_is_its_own(client: Client, world: Seeded, clickhouse: str) -> None:
    from console.display import usd

    agent = world.agents[1]
    spent = sum(step.cost_usd or 0 for step in world.steps if step.agent_id == agent.pk)
    html = client.get(reverse("admin:agents_agent_spend", args=[agent.pk])).content.decode()
    assert f"<dd>{usd(spent)}</dd>" in html
    idle = seed("Idle", size=Size(agents=1, turns=1, days=1), number=9)
    assert str(idle.agents[0].pk) not in html
