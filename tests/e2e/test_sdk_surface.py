"""Every method of the installed SDK, called against a live server, its answer checked field by field.

The list comes from the SDK itself, so that none can be forgotten. `docs/compatibility.md` is what these tests saw:
`UPDATE_COMPATIBILITY=1 python -m pytest tests/e2e/test_sdk_surface.py` writes it anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

import tests.e2e.surface.agents
import tests.e2e.surface.conversations
import tests.e2e.surface.mcp
import tests.e2e.surface.records
import tests.e2e.surface.tools  # noqa: F401  # each brings its scenarios
from tests.e2e.surface import document
from tests.e2e.surface.methods import is_served, methods, mistyped, unknown_fields
from tests.e2e.surface.world import SCENARIOS, World
from tests.support import mcp_servers
from tests.support.live import Live

# Of a later issue: knowledge, many agents, time. A method that is served by now must leave this list.
LATER = tuple(
    method
    for method in methods()
    if method.startswith(
        (
            "access_tokens.",
            "agents.archives.",
            "agents.files.",
            "agents.folders.",
            "agents.identities.",
            "agents.schedule.",
            "archives.",
            "environments.",
            "folders.",
            "templates.",
        )
    )
)
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # the SDK's word on old methods
NOW = tuple(method for method in methods() if method not in LATER)


@dataclass
class Seen:
    """What the calls of this run have shown: fields that the SDK has no name for, by method."""

    beyond: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def world(live: Live) -> Iterator[World]:
    with mcp_servers.running() as url:
        yield World(live, live.client(), url)


@pytest.fixture(scope="module")
def openapi(live: Live) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{live.url}/v1/openapi.json").raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.mark.parametrize("method", NOW)
def test_the_method_answers_as_the_sdk_types_it(world: World, seen: Seen, method: str) -> None:
    answer = SCENARIOS[method](world)

    assert mistyped(answer) == []
    seen.beyond[method] = sorted(unknown_fields(answer))


@pytest.mark.parametrize("method", LATER)
@pytest.mark.xfail(reason="of a later issue", strict=True, raises=AssertionError)
def test_a_method_of_a_later_issue_is_served(openapi: dict[str, Any], method: str) -> None:
    assert is_served(method, openapi)


def test_every_scenario_is_of_a_method_that_the_sdk_has() -> None:
    assert set(SCENARIOS) == set(NOW)


def test_the_document_of_compatibility_says_what_was_seen(world: World, seen: Seen) -> None:
    if set(seen.beyond) != set(NOW):
        pytest.fail("the document is compared after all methods were called: run the whole file")
    text = document.written(seen.beyond, LATER)
    if os.environ.get("UPDATE_COMPATIBILITY"):
        document.PATH.write_text(text)
    assert document.PATH.read_text() == text, "UPDATE_COMPATIBILITY=1 writes it anew"
