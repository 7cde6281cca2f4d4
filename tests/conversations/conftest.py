"""Runs in a test's own transaction: the thread that renews leases, on a connection of its own, would not find them."""

from __future__ import annotations

from functools import lru_cache

import pytest

from conversations import lease


@lru_cache(maxsize=1)
def _sleeping_keeper() -> lease._Keeper:
    keeper = lease._Keeper()
    keeper.period_s = 3600
    return keeper


@pytest.fixture(autouse=True)
def _no_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_keeper", _sleeping_keeper)
