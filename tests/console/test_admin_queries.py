"""Lists and pages cost the same few queries however many rows there are."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.actions import NewKey, create_api_key
from accounts.models import Organization, Project
from agents.models import Archive, Tool
from console.paging import BoundedPaginator
from providers.models import PriceOverride, Provider
from tests.support import admin_pages
from tests.support.seed import Seeded, Size, person, seed

MOST_OF_A_LIST = 7
MOST_OF_A_PAGE = 12
MOST_OF_THE_HOME_PAGE = 18  # a few for each of its panels, however many rows they show

pytestmark = pytest.mark.usefixtures("clickhouse")


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as found:
        response = client.get(url)
    assert response.status_code == 200, url
    return len(found)


def more(world: Seeded, rows: int = 25) -> None:
    """At least 25 of each kind, of that organization and of others."""
    for number in range(rows):
        other = Organization.objects.create(name=f"Organization {number}")
        user = person(f"person{number}@example.test", world.organization)
        project = Project.objects.create(organization=world.organization, name=f"Project {number}")
        create_api_key(world.organization, user, NewKey(name=f"key {number}", project=project))
        Archive.objects.create(organization=world.organization, name=f"Archive {number}")
        Provider.objects.create(organization=world.organization, name=f"p{number}", provider_type="openai", api_key="k")
        PriceOverride.objects.create(organization=other, model=f"m{number}", input=1, output=1)
        Tool.objects.create(organization=world.organization, name=f"tool_{number}", json_schema={})


@pytest.mark.parametrize("role", ["superuser", "viewer"])
def test_a_list_of_many_rows_costs_no_more_queries_than_one_of_few(browser: Any, world: Seeded, role: str) -> None:
    client = browser(role)
    admin_pages.provider_of(world)
    admin_pages.price_of(world)
    few = {url: queries(client, url) for url in admin_pages.lists()}
    more(world)
    larger = seed("Larger", size=Size(agents=25, turns=2, days=2), number=5)
    type(larger.agents[0]).objects.update(organization=world.organization)
    for model in ("blocks", "conversations", "runs", "steps", "passages"):
        rows = getattr(larger, model)
        type(rows[0]).objects.update(organization=world.organization)
    for url, number in few.items():
        assert queries(client, url) <= number + 1, f"{url} (was {number})"  # one more: the search box's count may grow
        assert number <= MOST_OF_A_LIST, url
    assert len(few) == len(admin.site._registry)


def test_no_page_costs_more_than_a_dozen_queries(browser: Any, world: Seeded) -> None:
    client = browser("operator")
    for url in [*admin_pages.details(world), reverse("admin:telemetry_traces")]:
        assert queries(client, url) <= MOST_OF_A_PAGE, url
    assert queries(client, "/admin/") <= MOST_OF_THE_HOME_PAGE


def test_a_list_never_counts_beyond_its_limit(world: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.paging.COUNT_LIMIT", 3)
    rows = type(world.runs[0]).objects.order_by("pk")
    with CaptureQueriesContext(connection) as found:
        number = BoundedPaginator(rows, 2).count
    assert (int(number), str(number)) == (3, "3+")
    assert "LIMIT 4" in found[0]["sql"]
