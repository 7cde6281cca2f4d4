"""Two organizations that look lived in, and browsers of people with each role in the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:
    from tests.support.seed import Seeded

Browser = Callable[[str], Client]


@pytest.fixture
def traces_url(request: pytest.FixtureRequest) -> str:
    """Traces are written for the tests that ask for `clickhouse`; for the others it does not answer."""
    return str(request.getfixturevalue("clickhouse")) if "clickhouse" in request.fixturenames else ""


@pytest.fixture
def world(db: None, traces_url: str) -> Seeded:
    from tests.support.seed import Size, seed

    return seed("Northwind", size=Size(agents=2, turns=4, days=3), clickhouse_url=traces_url)


@pytest.fixture
def foreign(db: None, traces_url: str) -> Seeded:
    """Another organization, of which nobody in `world` may ever see anything."""
    from tests.support.seed import Size, seed

    return seed("Contoso", size=Size(agents=1, turns=2, days=2), number=2, clickhouse_url=traces_url)


@pytest.fixture
def browser(world: Seeded) -> Browser:
    """A logged-in browser: of a superuser, or of a member of `world` with that role."""
    from accounts.models import User
    from tests.support.seed import PASSWORD, person

    def open_as(role: str) -> Client:
        if role == "superuser":
            user = User.objects.create_superuser("root@example.test", PASSWORD)
        elif role == "outsider":
            user = person("outsider@example.test")
        else:
            user = person(f"{role}@example.test", world.organization, role)
        client = Client()
        client.force_login(user)
        return client

    return open_as
