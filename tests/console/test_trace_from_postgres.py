"""One call, where PostgreSQL is the first back end and ClickHouse is away."""

from __future__ import annotations

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.actions import NewKey, create_api_key
from core.time import now
from telemetry.backends.postgres import Postgres
from telemetry.shipper import Shipper
from telemetry.spool import Spool
from telemetry.trace import CallEnd, CallStart
from tests.support.seed import Seeded

AWAY = "clickhouse://127.0.0.1:9/none"
SAID = "ClickHouse does not answer, and corrections are there alone"


@pytest.fixture
def calls(world: Seeded, foreign: Seeded, settings: Any, tmp_path: Any) -> list[str]:
    """Three of one run, and one of another organization."""
    settings.PROVIDER_TRACE_BACKENDS, settings.CLICKHOUSE_URL = ["postgres", "clickhouse"], AWAY
    spool, ids = Spool(tmp_path), [str(uuid.uuid4()) for _ in range(4)]
    for number, call_id in enumerate(ids):
        opened = spool.begin(
            CallStart(
                id=call_id,
                organization_id=str((foreign if number == 3 else world).organization.pk),
                run_id="run-1",
                call_type="agent_step",
                provider="openai",
                model="gpt-x",
                created_at=now() - timedelta(minutes=9 - number),
                request_json=b'{"messages":[{"role":"user","content":"Hello %d"}]}' % number,
            )
        )
        opened.finish(CallEnd(response_json=b"{}", cost_usd=Decimal("0.25"), input_tokens=5, output_tokens=1))
    spool.close()
    assert Shipper(tmp_path, [Postgres()]).drain()
    return ids


def test_the_page_shows_it_with_its_neighbours_and_says_what_is_missing(browser: Any, calls: list[str]) -> None:
    client, shown = browser("viewer"), reverse("admin:telemetry_trace", args=[calls[1]])
    for name in ("chat", "diff", "cost", "json", "details"):
        response = client.get(shown, {"tab": name})
        html = response.content.decode()
        assert (response.status_code, SAID in html) == (200, True)
        assert [calls[0] in html, calls[2] in html, calls[3] in html] == [True, True, False]
    assert "Hello 1" in client.get(shown).content.decode()
    assert "pn-is-changed" in client.get(shown, {"tab": "diff"}).content.decode()
    first = client.get(reverse("admin:telemetry_trace", args=[calls[0]]), {"tab": "diff"})
    assert "The first of its run" in first.content.decode()
    assert client.get(reverse("admin:telemetry_trace", args=[calls[3]])).status_code == 404
    assert browser("superuser").get(reverse("admin:telemetry_trace", args=[calls[3]])).status_code == 200


def test_the_route_shows_it_and_says_what_is_missing(world: Seeded, calls: list[str]) -> None:
    key = {"Authorization": f"Bearer {create_api_key(world.organization, world.owner, NewKey(name='all'))[1]}"}
    response = Client(headers=key).get(f"/api/traces/{calls[1]}")
    found = response.json()
    assert (response.status_code, Decimal(found["cost_usd"]), found["is_corrected"]) == (200, Decimal("0.25"), False)
    assert "Hello 1" in found["request_json"]
    for other in (calls[3], "none", "a\x00b"):
        assert Client(headers=key).get(f"/api/traces/{other}").status_code == 404
    assert Client(headers=key).get("/api/traces").status_code == 503
