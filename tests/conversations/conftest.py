"""Runs in a test's own transaction: the thread that renews leases, on a connection of its own, would not find them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import pytest

from conversations import lease
from tests.support.api import Tenant, make_tenant
from tests.support.elsewhere import elsewhere


@lru_cache(maxsize=1)
def _sleeping_keeper() -> lease._Keeper:
    keeper = lease._Keeper()
    keeper.period_s = 3600
    return keeper


@pytest.fixture(autouse=True)
def _no_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_keeper", _sleeping_keeper)


@pytest.fixture
def committed(db: None) -> Iterator[Tenant]:
    """An organization that other connections see: the test's own transaction never ends."""
    tenant = elsewhere(lambda: make_tenant("committed"))
    yield tenant
    elsewhere(tenant.organization.delete)
    elsewhere(tenant.user.delete)
