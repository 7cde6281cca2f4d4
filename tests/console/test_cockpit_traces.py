"""The trace explorer: its strip narrows the time, its CSV is its list, and one call tells what changed and why it cost."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from core.time import now
from telemetry.trace import MASKED, METADATA
from tests.support.seed import Seeded, write_traces
from tests.support.traces import call, row

pytestmark = pytest.mark.usefixtures("clickhouse")
SYSTEM = {"role": "system", "content": "Be kind.\nNever guess."}
ASKED = {"role": "user", "content": "What grows in <b>shade</b>?"}


@pytest.fixture
def client(browser: Any, world: Seeded) -> Client:
    found: Client = browser("viewer")
    return found


def listed(client: Client, query: str) -> tuple[str, list[str]]:
    html = client.get(reverse("admin:telemetry_traces") + query).content.decode()
    return html, re.findall(r'href="/admin/telemetry/traces/([0-9a-f-]{36})/"', html)


def tab(client: Client, call_id: str, name: str = "") -> str:
    response = client.get(reverse("admin:telemetry_trace", args=[call_id]), {"tab": name})
    assert response.status_code == 200
    return str(response.content.decode())


def test_the_strip_counts_all_calls_and_each_step_leads_to_its_own(client: Client, world: Seeded) -> None:
    html, _ = listed(client, "?period=7d")
    failed = sum(bool(step.error_type) for step in world.steps)
    assert f"{len(world.steps)} calls" in html
    assert f"{failed} failed" in html
    table = html[html.index('class="pn-twin"') : html.index("</details>", html.index('class="pn-twin"'))]
    last = table[table.index("data-total") :]
    links = [(unescape(href), int(number)) for href, number in re.findall(r'href="([^"]+)">(\d+)</a>', last)]
    assert sum(number for _, number in links) == len(world.steps)
    for href, number in links[:4]:
        assert len(listed(client, href)[1]) == number


def test_the_csv_is_the_list(client: Client, world: Seeded) -> None:
    html, shown = listed(client, "?period=30d&failed=no&provider=openai")
    [href] = re.findall(r'href="(\?[^"]+format=csv)"', html)
    response = client.get(reverse("admin:telemetry_traces") + unescape(href))
    found = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert [one["Call"] for one in found] == shown
    steps = {step.trace_call_id: step for step in world.steps}
    for one in found:
        step = steps[one["Call"]]
        assert Decimal(one["Cost (USD)"]) == step.cost_usd
        assert (int(one["Latency (ms)"]), one["Model"]) == (step.model_ms, step.model)


HOSTILE = [
    ("?min_ms=-1", "Slower than: whole milliseconds."),
    ("?min_ms=1e99", "Slower than: whole milliseconds."),
    ("?min_usd=NaN", "Dearer than: US dollars"),
    ("?min_usd=1e400", "Dearer than: US dollars"),
    ("?failed=perhaps", "is none of the choices"),
    ("?price=%27%20OR%201=1", "is none of the choices"),
    ("?q=" + "x" * 201, "at most 200 characters"),
    ("?q=" + "+".join("abcdefghi"), "At most 8 words"),
    ("?q=%27)%20OR%201=1%20--%20%22%5C", "fits these filters"),
    ("?run=%00", "Traces"),
    ("?q=<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
]


def test_what_cannot_be_understood_is_said_and_breaks_nothing(client: Client) -> None:
    for query, words in HOSTILE:
        response = client.get(reverse("admin:telemetry_traces") + query)
        assert response.status_code == 200, query
        assert words in response.content.decode(), query
        assert b"<script>alert(1)" not in response.content


def test_words_are_found_as_they_were_said_in_ones_own_organization_alone(
    client: Client, world: Seeded, foreign: Seeded, clickhouse: str
) -> None:
    said = {"messages": [{"role": "user", "content": 'Das “Gärtchen” \\ "quoted"\nnext'}]}
    ours, theirs = (call(organization, said) for organization in (world.organization, foreign.organization))
    write_traces(clickhouse, [row(ours), row(theirs)])
    for words in ("gärtchen", '"quoted"', "next \\"):
        assert listed(client, f"?period=24h&q={words.replace('+', '%2B')}")[1] == [ours.id], words
    assert listed(client, "?period=24h&q=yes")[1] == [ours.id]


def test_changes_since_the_call_before_are_told_apart(client: Client, world: Seeded, clickhouse: str) -> None:
    tool = {"type": "function", "function": {"name": "recall", "parameters": {}}}
    before = {"model": "m", "temperature": 0.2, "messages": [SYSTEM, ASKED]}
    answer = {"role": "assistant", "content": "Ferns."}
    system = {"role": "system", "content": "Be kind.\nNever guess a date."}
    after = {"model": "m", "temperature": 0.9, "tools": [tool], "messages": [system, ASKED, answer]}
    first = call(world.organization, before, at=now() - timedelta(minutes=9))
    other = call(world.organization, {"messages": []}, at=now() - timedelta(minutes=8), conversation_id="conv-9")
    second = call(world.organization, after, at=now() - timedelta(minutes=7))
    write_traces(clickhouse, [row(first), row(other), row(second)])
    html = tab(client, second.id, "diff")
    assert "1 message the same" in html
    assert "<mark> a date</mark>" in html.replace("<mark> </mark><mark>a</mark>", "<mark> a") or "a date" in html
    assert re.search(r'pn-is-added">.*?Ferns\.', html, re.DOTALL)
    assert "+ recall" in html
    assert "temperature" in html
    assert reverse("admin:telemetry_trace", args=[first.id]) in html
    assert "The first of its conversation" in tab(client, first.id, "diff")
    assert f'rel="next" href="{reverse("admin:telemetry_trace", args=[other.id])}' in tab(client, first.id)


def test_the_cost_is_told_line_by_line_and_adds_up(
    client: Client, browser: Any, world: Seeded, clickhouse: str
) -> None:
    priced, unknown = call(world.organization), call(world.organization, model="new-model")
    write_traces(clickhouse, [row(priced), row(unknown, cost_usd=None, price_source="unpriced")])
    html = tab(client, priced.id, "cost")
    table = html[html.index("Cost line by line") :]
    amounts = [
        Decimal(text) for text in re.findall(r'pn-mono">(?:<strong>)?([\d.]+)<', table[: table.index("</table>")])
    ]
    *parts, total = amounts
    assert parts == [Decimal("0.002"), Decimal("0.0004"), Decimal("0.001")]
    assert sum(parts) == total == Decimal("0.0034")
    assert "No price is known for openai/new-model" in tab(client, unknown.id, "cost")
    assert "Set a price" not in tab(client, unknown.id, "cost")
    admin = browser("admin")
    [address] = re.findall(r'href="([^"]+)">Set a price for new-model', tab(admin, unknown.id, "cost"))
    form = admin.get(unescape(address)).content.decode()
    assert 'value="new-model"' in form
    assert 'value="openai"' in form
    assert f'value="{world.organization.pk}" selected' in form


def test_a_call_that_was_priced_later_is_found_by_what_it_costs_now(
    client: Client, world: Seeded, clickhouse: str
) -> None:
    from telemetry.client import connect

    later, never = (call(world.organization, model=model) for model in ("later", "never"))
    write_traces(clickhouse, [row(one, cost_usd=None, price_source="unpriced") for one in (later, never)])
    assert set(listed(client, "?period=24h&price=unpriced")[1]) == {later.id, never.id}
    columns = "id, organization_id, created_at, provider, model"
    database = connect(clickhouse)
    database.execute(
        f"INSERT INTO llm_repricings ({columns}, cost_usd, price_source, repricing_id, repriced_at)"
        f" SELECT {columns}, toDecimal128('7.5', 12), 'override', 'job', now64(3) FROM llm_traces WHERE id = %(id)s",
        {"id": later.id},
    )
    database.disconnect()
    assert listed(client, "?period=24h&price=unpriced")[1] == [never.id]
    html, found = listed(client, "?period=30d&min_usd=7.4&price=priced")
    assert found == [later.id]
    assert "$7.50" in html


def test_what_was_not_kept_is_said_plainly(client: Client, world: Seeded, clickhouse: str) -> None:
    said = {"messages": [ASKED]}
    expired, silent, masked = (call(world.organization, said) for _ in range(3))
    rows = [row(expired, kept=False), row(silent, kept=False, content=METADATA), row(masked, content=MASKED)]
    write_traces(clickhouse, rows)
    assert "What was said has expired" in tab(client, expired.id)
    assert "What was said was not kept" in tab(client, silent.id, "json")
    html = tab(client, masked.id)
    assert "Secrets and personal data were replaced" in html
    assert "What grows in &lt;b&gt;shade&lt;/b&gt;?" in html
    assert "<b>shade</b>" not in html + tab(client, masked.id, "json")


def test_a_long_request_shows_its_last_messages_and_folds_the_others(
    client: Client, world: Seeded, clickhouse: str
) -> None:
    turns = [{"role": ("user", "assistant")[n % 2], "content": f"line {n}"} for n in range(30)]
    long = call(world.organization, {"messages": [SYSTEM, *turns], "tools": [{"name": "recall"}]})
    write_traces(clickhouse, [row(long)])
    html = tab(client, long.id)
    assert "22 earlier messages" in html
    assert html.index("line 21<") < html.index("line 22<") < html.index("line 29<")
    assert "1 tool offered" in html


def test_the_facts_name_what_the_call_belongs_to(client: Client, world: Seeded) -> None:
    step = world.steps[0]
    html = tab(client, step.trace_call_id, "details")
    for name in (world.organization.name, world.project.name, world.key.name, world.agents[0].name):
        assert f">{name}</a>" in html
    assert step.trace_call_id in html
    assert world.runs[0].trace_id in html
