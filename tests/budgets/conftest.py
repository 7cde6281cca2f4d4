"""What the budgets' tests share: rules that are read at once, calls that are made through the ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def fresh_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No rule is remembered between tests, nor for longer than it takes to change it in one."""
    from budgets import rules

    monkeypatch.setattr(rules, "RULES_TTL_S", 0.0)
    yield
    rules._kept.clear()
