"""Archival memory over the API: stored, listed, found again by meaning or by words, deleted."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import Passage as SdkPassage

from agents.models import Archive
from tests.support.api import Api
from tests.support.contract import contract, keys

PARIS, BANANAS = "The capital of France is Paris.", "Bananas are yellow."


@pytest.fixture(params=["scripted/hashing-384", None], ids=["by meaning", "by words"])
def agent_id(request: pytest.FixtureRequest, api: Api, settings: Any) -> str:
    settings.DEFAULT_EMBEDDING = ""
    return str(api.post("/agents/", {"model": "scripted/demo", "name": "Sam", "embedding": request.param}).ok()["id"])


@pytest.fixture
def stored(api: Api, agent_id: str) -> list[dict[str, Any]]:
    path = f"/agents/{agent_id}/archival-memory"
    return [
        *api.post(path, {"text": PARIS, "tags": ["geo", "fact"]}).ok(),
        *api.post(path, {"text": BANANAS, "tags": ["fact"], "created_at": "2030-01-01T00:00:00Z"}).ok(),
    ]


def test_a_passage_has_the_shape_of_the_contract(api: Api, stored: list[dict[str, Any]]) -> None:
    wanted = contract("passage")
    assert set(stored[0]) == set(wanted)
    assert SdkPassage.model_validate(stored[0]).text == PARIS
    assert stored[0]["tags"] == ["geo", "fact"]
    if stored[0]["embedding_config"]:
        assert keys(stored[0]["embedding_config"]) == wanted["embedding_config"]
        assert len(stored[0]["embedding"]) == stored[0]["embedding_config"]["embedding_dim"] == 384


def test_the_archive_is_made_with_the_first_passage(stored: list[dict[str, Any]]) -> None:
    archive = Archive.objects.get()
    assert archive.name == "Sam's Archive"
    assert {passage["archive_id"] for passage in stored} == {archive.pk}


def test_passages_are_listed_oldest_first_and_in_pages(api: Api, agent_id: str, stored: list[dict[str, Any]]) -> None:
    path = f"/agents/{agent_id}/archival-memory"
    texts = [passage["text"] for passage in api.get(path).ok()]
    assert texts == [PARIS, BANANAS]
    assert [p["text"] for p in api.get(path, ascending=False).ok()] == [BANANAS, PARIS]
    assert [p["text"] for p in api.get(path, after=stored[0]["id"]).ok()] == [BANANAS]
    assert [p["text"] for p in api.get(path, search="banana").ok()] == [BANANAS]
    assert [p["text"] for p in api.get(path, limit=1).ok()] == [PARIS]


def test_a_search_finds_the_nearest(api: Api, agent_id: str, stored: list[dict[str, Any]]) -> None:
    path = f"/agents/{agent_id}/archival-memory/search"
    found = api.get(path, query="capital of France", top_k=1).ok()
    assert found["count"] == 1
    assert keys(found["results"][0]) == contract("passage.found")
    assert found["results"][0]["content"] == PARIS
    assert found["results"][0]["id"] == stored[0]["id"]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"tags": ["geo", "fact"]}, 2),
        ({"tags": ["geo", "fact"], "tag_match_mode": "all"}, 1),
        ({"tags": ["other"]}, 0),
        ({"start_datetime": "2029-01-01T00:00:00Z"}, 1),
        ({"end_datetime": "2029-01-01T00:00:00Z"}, 1),
    ],
)
def test_a_search_can_be_narrowed(
    api: Api, agent_id: str, stored: list[dict[str, Any]], filters: dict[str, Any], count: int
) -> None:
    query = {"query": "bananas or the capital", **filters}
    assert api.get(f"/agents/{agent_id}/archival-memory/search", **query).ok()["count"] == count


def test_passages_are_searched_across_agents(
    api: Api, their_api: Api, agent_id: str, stored: list[dict[str, Any]]
) -> None:
    for scope in ({"agent_id": agent_id}, {"archive_id": stored[0]["archive_id"]}, {}):
        found = api.post("/passages/search", {"query": "yellow bananas", "limit": 1, **scope}).ok()
        assert [set(result) for result in found] == [set(contract("passage.result"))]
        assert found[0]["passage"]["text"] == BANANAS
    assert their_api.post("/passages/search", {"query": "yellow bananas"}).ok() == []
    assert their_api.post("/passages/search", {"query": "x", "agent_id": agent_id}).status == 404
    assert their_api.post("/passages/search", {"query": "x", "archive_id": stored[0]["archive_id"]}).status == 404


def test_a_deleted_passage_is_gone(api: Api, their_api: Api, agent_id: str, stored: list[dict[str, Any]]) -> None:
    path = f"/agents/{agent_id}/archival-memory/{stored[0]['id']}"
    assert their_api.delete(path).status == 404
    assert api.delete(path).ok() == {"message": f"Memory id={stored[0]['id']} successfully deleted"}
    assert api.delete(path).status == 404
    assert [p["text"] for p in api.get(f"/agents/{agent_id}/archival-memory").ok()] == [BANANAS]


def test_an_empty_or_endless_text_is_422(api: Api, agent_id: str) -> None:
    path = f"/agents/{agent_id}/archival-memory"
    assert api.post(path, {"text": "  "}).status == 422
    assert api.post(path, {"text": "word " * 20_000}).status == 422
    assert api.post(path, {}).detail.startswith("text: ")
    assert not Archive.objects.exists()


def test_another_organizations_agent_is_404(their_api: Api, agent_id: str) -> None:
    path = f"/agents/{agent_id}/archival-memory"
    assert their_api.post(path, {"text": "x"}).status == 404
    assert their_api.get(path).status == 404
    assert their_api.get(f"{path}/search", query="x").status == 404
