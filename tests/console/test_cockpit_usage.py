"""The usage page: its figures are the sums of what was called, lead to exactly those calls, and never to another's."""

from __future__ import annotations

import csv
import io
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.support.seed import Seeded, Size, seed

pytestmark = pytest.mark.usefixtures("clickhouse")
NOWHERE = "clickhouse://127.0.0.1:9/none"


@pytest.fixture
def client(browser: Any, world: Seeded) -> Client:
    found: Client = browser("viewer")
    return found


def page(client: Client, **query: Any) -> str:
    response = client.get(reverse("admin:telemetry_usage"), {"period": "30d", **query})
    assert response.status_code == 200
    return str(response.content.decode())


def rows(client: Client, **query: Any) -> list[dict[str, str]]:
    response = client.get(reverse("admin:telemetry_usage"), {"period": "30d", "format": "csv", **query})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.content.decode())))


def cost(steps: Any) -> Decimal:
    return sum((step.cost_usd or Decimal(0) for step in steps), Decimal(0))


def by_model(world: Seeded) -> dict[str, list[Any]]:
    return {model: [s for s in world.steps if s.model == model] for model in {s.model for s in world.steps}}


def test_a_row_of_the_table_is_the_exact_sum_of_its_calls(client: Client, world: Seeded, foreign: Seeded) -> None:
    found = {row["Model (id)"]: row for row in rows(client)}
    groups = by_model(world)
    assert found.keys() == groups.keys()
    for model, steps in groups.items():
        row = found[model]
        assert Decimal(row["Spend (USD)"]) == cost(steps)
        assert int(row["Calls"]) == len(steps)
        assert int(row["Errors"]) == sum(bool(step.error_type) for step in steps)
        used = [step.usage for step in steps]
        assert int(row["Input, not cached"]) == sum(usage["input"] for usage in used)
        assert int(row["Read from cache"]) == sum(usage["cache_read"] or 0 for usage in used)
        assert int(row["All tokens"]) == sum(u["input"] + (u["cache_read"] or 0) + u["output"] for u in used)


def test_the_chart_holds_all_that_the_table_holds_whatever_its_steps(client: Client, world: Seeded) -> None:
    for interval in ("hour", "day", "week", "month"):
        found = rows(client, of="chart", interval=interval, period="7d")
        for model, steps in by_model(world).items():
            drawn = [Decimal(row["Spend (USD)"] or 0) for row in found if row["Model"] == model]
            assert sum(drawn) == cost(steps), interval


def test_two_groupings_make_a_matrix_whose_edges_add_up(client: Client, world: Seeded) -> None:
    found = rows(client, by=["agent", "model"])
    names = {agent.name: agent for agent in world.agents}
    *lines, last = found
    assert {line["Agent / Model"] for line in lines} == set(names)
    for line in lines:
        steps = [step for step in world.steps if step.agent_id == names[line["Agent / Model"]].pk]
        assert Decimal(line["Total"]) == cost(steps)
    assert Decimal(last["Total"]) == cost(world.steps)
    assert sum(Decimal(last[model]) for model in by_model(world)) == cost(world.steps)
    assert 'class="pn-table pn-matrix"' in page(client, by=["agent", "model"])
    listed = rows(client, by=["agent", "model"], view="list")
    assert sum(Decimal(row["Spend (USD)"]) for row in listed) == cost(world.steps)


def test_every_figure_of_the_chart_leads_to_exactly_its_calls(client: Client, world: Seeded) -> None:
    html = page(client, metric="calls", interval="day")
    table = html[html.index('class="pn-twin"') : html.index("</details>", html.index('class="pn-twin"'))]
    links = [(unescape(href), int(text)) for href, text in re.findall(r'href="([^"]+)">(\d+)</a>', table)]
    assert sum(number for _, number in links) >= 2 * len(world.steps)  # by model, and in the line of totals
    for href, number in links[:8]:
        listed = client.get(href).content.decode()
        assert len(re.findall(r'<th scope="row"><a class="pn-link" href="/admin/telemetry/traces/', listed)) == number


def test_percentiles_and_rates_are_lines_with_a_figure_for_all_the_time(client: Client, world: Seeded) -> None:
    html = page(client, metric="latency_p95", by="provider")
    assert 'class="pn-line-path pn-stroke-0"' in html or 'class="pn-line-dots pn-stroke-0"' in html
    found = {row["Provider"]: row for row in rows(client, metric="latency_p50", by="provider")}
    for provider, row in found.items():
        times = [s.model_ms or 0 for s in world.steps if s.provider_type == provider and not s.error_type]
        assert min(times) <= float(row["Latency, p99 (ms)"]) <= max(times)
        assert float(row["Latency, median (ms)"]) <= float(row["Latency, p95 (ms)"])
    failed = sum(bool(step.error_type) for step in world.steps)
    [row] = rows(client, metric="error_rate", by="-")
    assert float(row["Error rate (share)"]) == failed / len(world.steps)


def test_filters_narrow_are_shown_as_chips_and_can_be_taken_away(client: Client, world: Seeded) -> None:
    agent = world.agents[1]
    own = [step for step in world.steps if step.provider_category == "byok" and step.agent_id == agent.pk]
    found = rows(client, is_byok="true", agent=agent.pk, by="is_byok")
    assert [int(row["Calls"]) for row in found] == [len(own)]
    html = page(client, is_byok="true", agent=agent.pk)
    assert f'<strong class="pn-clip">{agent.name}</strong>' in html
    chips = [unescape(href) for href in re.findall(r'class="pn-chip" href="([^"]+)"', html)]
    assert [("agent=" in href, "is_byok=" in href) for href in chips] == [(False, True), (True, False)]
    added = client.get(reverse("admin:telemetry_usage"), {"period": "30d", "add": "model", "value": " gpt-5-mini "})
    assert (added.status_code, added["Location"]) == (302, "/admin/usage/?period=30d&model=gpt-5-mini")


def test_what_has_no_value_can_be_asked_for(client: Client, world: Seeded) -> None:
    [row] = rows(client, end_user="~none", by="end_user")
    assert (row["End user"], int(row["Calls"])) == ("no end user", len(world.steps))


def test_another_organization_is_never_in_it(client: Client, world: Seeded, foreign: Seeded) -> None:
    everything = page(client, by=["organization", "agent"], view="list") + page(client, by="api_key")
    for secret in (foreign.organization.name, str(foreign.organization.pk), str(foreign.agents[0].pk)):
        assert secret not in everything
    assert "Nothing of that is yours to see" in page(client, organization=str(foreign.organization.pk))
    assert "No call in" in page(client, agent=str(foreign.agents[0].pk))
    assert "No call in" in page(client, api_key=str(foreign.key.pk))


def test_a_member_of_two_organizations_has_the_percentiles_of_both_as_one(
    browser: Any, world: Seeded, foreign: Seeded
) -> None:
    from accounts.models import Membership, User

    client = browser("viewer")
    user = User.objects.get(email="viewer@example.test")
    Membership.objects.create(organization=foreign.organization, user=user, role="viewer")
    found = {row["Organization"]: int(row["Calls"]) for row in rows(client, by="organization")}
    assert found == {"Northwind": len(world.steps), "Contoso": len(foreign.steps)}
    [row] = rows(client, metric="latency_p50", by="-")
    assert int(row["Calls"]) == len(world.steps) + len(foreign.steps)


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"metric": "passwords"}, "There is no such metric"),
    ({"by": "organization_id) OR 1=1 --"}, "One cannot group by"),
    ({"by": ["model", "agent", "tag"]}, "At most two groupings"),
    ({"interval": "minute"}, "There is no such interval"),
    ({"interval": "hour", "period": "90d"}, "at most 14 days can be drawn"),
    ({"period": "custom", "start": "'; DROP TABLE llm_traces"}, "Enter a valid date/time."),
    ({"period": "custom", "start": "0001-01-01", "end": "2026-01-01"}, "Dates may lie between"),
    ({"period": "custom", "start": "9999-12-31", "end": "9999-12-31"}, "Enter a valid date/time."),
    ({"period": "custom", "start": "2026-11-02", "end": "2026-11-01"}, "The end is before the beginning."),
    ({"model": "x" * 501}, "Model: at most 50 values of 500 characters"),
    ({"model": [str(n) for n in range(51)]}, "Model: at most 50 values"),
    ({"agent": "a\0b"}, "Agent: at most"),
    ({"model": "' OR 1=1 --"}, "fits these filters"),
    ({"model": "<script>alert(1)</script>"}, "&lt;script&gt;alert(1)&lt;/script&gt;"),
]


def test_what_cannot_be_understood_is_said_and_breaks_nothing(client: Client) -> None:
    for query, words in HOSTILE:
        html = page(client, **query)
        assert words in html, query
        assert "<script>alert(1)" not in html


def test_a_cell_that_a_spreadsheet_would_run_is_quoted() -> None:
    from console.export import cell

    assert [cell(text) for text in ("=1+1", "@x", "-2", "gpt", None)] == ["'=1+1", "'@x", "'-2", "gpt", ""]
    assert cell(Decimal("1E-7")) == "0.0000001"


def test_the_period_stays_while_one_walks_and_dates_can_be_set(client: Client, world: Seeded) -> None:
    at = sorted(step.started_at for step in world.steps)
    day = f"{at[0]:%Y-%m-%d}"
    there = [step for step in world.steps if f"{step.started_at:%Y-%m-%d}" == day]
    query = {"period": "custom", "start": day, "end": day, "format": "csv", "by": "-"}
    assert [int(row["Calls"]) for row in rows(client, **query)] == [len(there)]
    kept = client.get(reverse("admin:telemetry_usage"), {"format": "csv", "by": "-"}).content.decode()
    assert [int(row["Calls"]) for row in csv.DictReader(io.StringIO(kept))] == [len(there)]
    html = client.get("/admin/").content.decode()
    assert f'name="start" value="{day}"' in html


def test_more_groups_cost_no_more_queries(client: Client, world: Seeded, clickhouse: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            page(client, by=["agent", "api_key"], view="list")
            page(client, by="project")
        return len(found)

    queries()  # the period goes into the session
    few = queries()
    larger = seed("Larger", size=Size(agents=12, turns=2, days=2), number=5)
    type(larger.agents[0]).objects.update(organization=world.organization)
    from tests.support.seed import write_traces
    from tests.support.traces import calls_of

    write_traces(clickhouse, calls_of(world.organization, larger.agents))
    assert queries() == few


def test_with_clickhouse_down_the_page_shows_what_postgresql_knows(
    client: Client, world: Seeded, foreign: Seeded, settings: Any
) -> None:
    from console.display import usd

    settings.CLICKHOUSE_URL = NOWHERE
    for html in (page(client), client.get("/admin/?period=30d").content.decode()):
        assert "ClickHouse did not answer" in html
        assert "as PostgreSQL knows it" in html
        for model, steps in by_model(world).items():
            assert model in html
            assert usd(cost(steps)) in html
        assert foreign.organization.name not in html
