"""What a caller is told when something is wrong: the same body for the same failure on every route."""

from __future__ import annotations

import pytest

from tests.support.api import Api

UNKNOWN = "agent-00000000-0000-4000-8000-000000000000"


def test_health_needs_no_key(db: None) -> None:
    for path in ("/health/", "/health"):
        assert Api(None).get(path).ok() == {"version": "0.1.0", "status": "ok"}


def test_ready_asks_the_database(db: None) -> None:
    assert Api(None).get("/ready/").ok()["status"] == "ok"


@pytest.mark.parametrize("key", [None, "", "nonsense", "pn_0123456789ab_wrong"])
def test_a_wrong_or_missing_key_is_401(db: None, key: str | None) -> None:
    answer = Api(key).get("/agents/")
    assert answer.status == 401
    assert "key" in answer.detail


def test_an_unknown_agent_is_404(api: Api) -> None:
    answer = api.get(f"/agents/{UNKNOWN}")
    assert (answer.status, answer.json) == (404, {"detail": f"Agent with ID {UNKNOWN} not found"})
