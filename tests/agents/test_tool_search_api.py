"""Tools found by words, by names that are nearly right, and by what they are for."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import ToolSearchResponse
from pydantic import TypeAdapter

from agents.models import Tool, ToolType, ToolVector
from tests.support.api import Api, Tenant

EMBEDDING = "scripted/hashing-384"
KINDS = {
    "send_email": "Send a message to a customer's mail box.",
    "add_numbers": "Sum two values.",
    "weather_report": "Tells how warm it will be tomorrow in a city.",
}


@pytest.fixture
def tools(tenant: Tenant) -> dict[str, Tool]:
    made = [
        Tool(
            organization=tenant.organization,
            name=name,
            description=text,
            tags=[name[0]],
            json_schema={"name": name, "description": text, "parameters": {"properties": {"city": {}}}},
        )
        for name, text in KINDS.items()
    ]
    return {tool.name: tool for tool in Tool.objects.bulk_create(made)}


@pytest.fixture
def embedding(settings: Any) -> None:
    settings.DEFAULT_EMBEDDING = EMBEDDING


def found(api: Api, query: str | None, **wanted: Any) -> list[str]:
    body = {"tool_types": ["custom"], **wanted} | ({} if query is None else {"query": query})
    return [item["tool"]["name"] for item in api.post("/tools/search", body).ok()]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("numbers", "add_numbers"),
        ("adding number", "add_numbers"),
        ("ad_nubmers", "add_numbers"),
        ("write an email to my boss", "send_email"),
        ("customer messages", "send_email"),
        ("TOMORROW?", "weather_report"),
        ("wether", "weather_report"),
    ],
)
def test_a_tool_is_found_by_its_words(api: Api, tools: dict[str, Tool], query: str, name: str) -> None:
    assert found(api, query, search_mode="fts")[0] == name


def test_what_has_nothing_of_the_query_is_not_found(api: Api, tools: dict[str, Tool]) -> None:
    assert found(api, "quantum chromodynamics", search_mode="fts") == []
    assert found(api, "!?", search_mode="fts") == []


def test_filters_and_limits_narrow_a_search(api: Api, tools: dict[str, Tool], their_api: Api) -> None:
    assert found(api, None) == found(api, "  ") != []
    assert set(found(api, None, tags=["a", "w"])) == {"add_numbers", "weather_report"}
    assert found(api, "send email numbers", search_mode="fts", tags=["a"]) == ["add_numbers"]
    assert len(found(api, None, limit=1)) == 1
    memory = [ToolType.SLEEPTIME_CORE.value]
    assert "memory_insert" in found(api, "insert into memory", search_mode="fts", tool_types=memory)
    assert found(their_api, "send email", search_mode="fts") == []
    for wrong in ({"limit": 101}, {"search_mode": "best"}):
        assert api.post("/tools/search", wrong).status == 422


def test_words_and_meaning_are_one_list(
    api: Api, their_api: Api, tools: dict[str, Tool], embedding: None, tenant: Tenant
) -> None:
    body = {"query": "Sum two values", "tool_types": ["custom"]}
    answered = api.post("/tools/search", body).ok()
    TypeAdapter(ToolSearchResponse).validate_python(answered)
    best = answered[0]
    assert (best["tool"]["name"], best["fts_rank"], best["vector_rank"]) == ("add_numbers", 1, 1)
    assert best["combined_score"] == pytest.approx(2 / 61)
    assert best["embedded_text"] == "add_numbers\nSum two values.\ncity"
    assert {item["fts_rank"] for item in answered[1:]} == {None}
    assert ToolVector.objects.filter(organization=tenant.organization).count() == 3
    assert their_api.post("/tools/search", body).ok() == []


def test_a_vector_is_made_once_and_anew_when_its_tool_changes(
    api: Api, tools: dict[str, Tool], embedding: None
) -> None:
    assert len(found(api, "warm city", search_mode="vector")) == 3
    before = dict(ToolVector.objects.values_list("tool__name", "made_at"))
    api.patch(f"/tools/{tools['add_numbers'].pk}", {"description": "warm city"}).ok()
    assert found(api, "add_numbers warm city", search_mode="vector")[0] == "add_numbers"
    after = dict(ToolVector.objects.values_list("tool__name", "made_at"))
    assert {name for name in after if after[name] != before[name]} == {"add_numbers"}


def test_without_an_embedding_model_words_remain(api: Api, tools: dict[str, Tool], settings: Any) -> None:
    settings.DEFAULT_EMBEDDING = ""
    assert found(api, "numbers") == ["add_numbers"]
    answer = api.post("/tools/search", {"query": "numbers", "search_mode": "vector"})
    assert (answer.status, "DEFAULT_EMBEDDING" in answer.detail) == (400, True)
    settings.DEFAULT_EMBEDDING = "openai/text-embedding-3-small"  # nobody here has a key for it
    assert found(api, "numbers") == ["add_numbers"]


def test_a_search_asks_the_database_no_more_for_more_tools(
    api: Api, tools: dict[str, Tool], settings: Any, django_assert_max_num_queries: Any
) -> None:
    settings.DEFAULT_EMBEDDING = ""
    found(api, "numbers")
    with django_assert_max_num_queries(5):
        found(api, "send email numbers weather")
