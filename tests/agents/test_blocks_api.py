"""Memory blocks over the API: alone, attached to agents, shared between them, and kept within their limit."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import BlockResponse

from agents.models import Agent, BlockRevision
from tests.support.api import Api
from tests.support.contract import contract, keys

MODEL = {"model": "scripted/demo", "include_base_tools": False}


@pytest.fixture
def block(api: Api) -> dict[str, Any]:
    return api.post("/blocks/", {"label": "notes", "value": "v1", "description": "d", "limit": 500}).ok()


@pytest.fixture
def agent(api: Api) -> dict[str, Any]:
    return api.post("/agents/", {**MODEL, "memory_blocks": [{"label": "human", "value": "Ada"}]}).ok()


def test_a_block_has_the_shape_of_the_contract(api: Api, block: dict[str, Any]) -> None:
    assert keys(block) == contract("block")
    assert BlockResponse.model_validate(block).limit == 500
    assert api.get(f"/blocks/{block['id']}").ok() == block


def test_only_what_is_sent_is_changed_and_each_change_is_kept(api: Api, block: dict[str, Any]) -> None:
    changed = api.patch(f"/blocks/{block['id']}", {"value": "v2"}).ok()
    assert changed == block | {"value": "v2"}
    api.patch(f"/blocks/{block['id']}", {"description": None, "tags": ["t"], "read_only": True}).ok()
    kept = BlockRevision.objects.filter(block_id=block["id"]).order_by("version")
    assert [(r.version, r.value, r.actor, r.reason) for r in kept] == [
        (1, "v1", "api", "blocks.create"),
        (2, "v2", "api", "blocks.update"),
        (3, "v2", "api", "blocks.update"),
    ]


def test_a_value_over_the_limit_is_422_and_changes_nothing(api: Api, block: dict[str, Any]) -> None:
    answer = api.patch(f"/blocks/{block['id']}", {"value": "x" * 501})
    assert answer.status == 422
    assert "501" in answer.detail
    assert "500" in answer.detail
    assert api.get(f"/blocks/{block['id']}").ok()["value"] == "v1"
    assert api.post("/blocks/", {"label": "a", "value": "abc", "limit": 2}).status == 422
    assert api.patch(f"/blocks/{block['id']}", {"limit": 1}).status == 422


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": "x"}, "label"),
        ({"label": "x"}, "value"),
        ({"label": "", "value": "x"}, "label"),
        ({"label": "x" * 51, "value": "x"}, "label"),
        ({"label": "x", "value": 3}, "value"),
        ({"label": "x", "value": "y", "limit": 0}, "limit"),
        ({"label": "x", "value": "y", "limit": 2**40}, "limit"),
        ({"label": "x", "value": "y", "metadata": []}, "metadata"),
    ],
)
def test_a_wrong_body_is_422_naming_the_field(api: Api, body: dict[str, Any], field: str) -> None:
    answer = api.post("/blocks/", body)
    assert answer.status == 422
    assert answer.detail.startswith(f"{field}: ")


def test_attaching_and_detaching_answer_with_the_agent(api: Api, agent: dict[str, Any], block: dict[str, Any]) -> None:
    attached = api.patch(f"/agents/{agent['id']}/core-memory/blocks/attach/{block['id']}").ok()
    assert [b["label"] for b in attached["blocks"]] == ["human", "notes"]
    again = api.patch(f"/agents/{agent['id']}/core-memory/blocks/attach/{block['id']}").ok()
    assert again["blocks"] == attached["blocks"]
    detached = api.patch(f"/agents/{agent['id']}/core-memory/blocks/detach/{block['id']}").ok()
    assert [b["label"] for b in detached["blocks"]] == ["human"]
    assert api.patch(f"/agents/{agent['id']}/core-memory/blocks/detach/{block['id']}").status == 404


def test_a_second_block_of_a_label_is_409(api: Api, agent: dict[str, Any]) -> None:
    other = api.post("/blocks/", {"label": "human", "value": "x"}).ok()
    answer = api.patch(f"/agents/{agent['id']}/core-memory/blocks/attach/{other['id']}")
    assert answer.status == 409
    assert "human" in answer.detail


def test_an_agents_block_is_found_and_changed_by_label(api: Api, agent: dict[str, Any]) -> None:
    path = f"/agents/{agent['id']}/core-memory/blocks"
    assert keys(api.get(path).ok()[0]) == contract("agent.block")
    assert api.get(f"{path}/human").ok() == agent["blocks"][0]
    changed = api.patch(f"{path}/human", {"value": "Grace"}).ok()
    assert changed["value"] == "Grace"
    renamed = api.patch(f"{path}/human", {"label": "system/user"}).ok()
    assert api.get(f"{path}/system/user").ok() == renamed
    assert api.get(f"{path}/human").status == 404
    assert api.get(f"{path}/hu man").status == 422


def test_a_shared_block_changes_the_prompt_of_every_agent_that_has_it(api: Api, block: dict[str, Any]) -> None:
    ids = [api.post("/agents/", {**MODEL, "block_ids": [block["id"]]}).ok()["id"] for _ in range(2)]
    before = dict(Agent.objects.values_list("pk", "prompt_version"))
    api.patch(f"/agents/{ids[0]}/core-memory/blocks/notes", {"value": "new"}).ok()
    after = dict(Agent.objects.values_list("pk", "prompt_version"))
    assert all(after[agent_id] > before[agent_id] for agent_id in ids)
    assert [a["id"] for a in api.get(f"/blocks/{block['id']}/agents", order="asc").ok()] == ids
    assert api.get(f"/blocks/{block['id']}/agents", include=["agent.blocks"]).ok()[0]["blocks"][0]["value"] == "new"


def test_a_deleted_block_leaves_its_agents(api: Api, block: dict[str, Any]) -> None:
    agent_id = api.post("/agents/", {**MODEL, "block_ids": [block["id"]]}).ok()["id"]
    assert api.delete(f"/blocks/{block['id']}").ok() is None
    assert api.get(f"/agents/{agent_id}", include=["agent.blocks"]).ok()["blocks"] == []
    assert api.delete(f"/blocks/{block['id']}").status == 404


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ({}, ["alpha", "beta", "gamma"]),
        ({"order": "desc"}, ["gamma", "beta", "alpha"]),
        ({"label": "beta"}, ["beta"]),
        ({"label_search": "A"}, ["alpha", "beta", "gamma"]),
        ({"label_search": "mm"}, ["gamma"]),
        ({"value_search": "two"}, ["beta"]),
        ({"description_search": "FIRST"}, ["alpha"]),
        ({"tags": ["x"]}, ["alpha", "gamma"]),
        ({"tags": ["x", "y"], "match_all_tags": True}, ["gamma"]),
        ({"templates_only": True}, ["gamma"]),
        ({"name": "My template"}, ["gamma"]),
        ({"connected_to_agents_count_gt": 0}, ["alpha", "beta"]),
        ({"connected_to_agents_count_gt": 1}, ["alpha"]),
        ({"connected_to_agents_count_lt": 1}, ["gamma"]),
        ({"connected_to_agents_count_eq": [0, 1]}, ["beta", "gamma"]),
        ({"limit": 2}, ["alpha", "beta"]),
    ],
)
def test_blocks_are_found_by_every_filter(api: Api, query: dict[str, Any], labels: list[str]) -> None:
    alpha = api.post("/blocks/", {"label": "alpha", "value": "one", "description": "the first", "tags": ["x"]}).ok()
    beta = api.post("/blocks/", {"label": "beta", "value": "two"}).ok()
    template = {"is_template": True, "template_name": "My template", "tags": ["x", "y"]}
    api.post("/blocks/", {"label": "gamma", "value": "", **template}).ok()
    api.post("/agents/", {**MODEL, "block_ids": [alpha["id"]]}).ok()
    api.post("/agents/", {**MODEL, "block_ids": [alpha["id"], beta["id"]]}).ok()
    assert [block["label"] for block in api.get("/blocks/", **query).ok()] == labels
    if "limit" not in query and "order" not in query:
        assert api.get("/blocks/count", **query).ok() == len(labels)


def test_the_ids_of_a_template_are_kept_as_they_were_sent(api: Api, agent: dict[str, Any]) -> None:
    template = {"template_id": "t-1", "deployment_id": "d-1", "preserve_on_migration": True}
    made = api.post("/blocks/", {"label": "notes", "value": "v", **template}).ok()
    assert template.items() <= made.items()
    changed = api.patch(f"/blocks/{made['id']}", {"entity_id": "e-1", "template_id": None}).ok()
    assert changed == made | {"entity_id": "e-1", "template_id": None}
    own = api.patch(f"/agents/{agent['id']}/core-memory/blocks/human", {"base_template_id": "b-1"}).ok()
    assert (own["base_template_id"], own["preserve_on_migration"]) == ("b-1", False)


def test_a_filter_by_identity_is_refused_rather_than_passed_over(api: Api) -> None:
    assert "not supported" in api.get("/blocks/", identity_id="identity-1").detail
    assert api.get("/blocks/count", identifier_keys=["ada"]).status == 422


def test_the_vendors_own_routes_do_what_the_public_ones_do(api: Api, agent: dict[str, Any]) -> None:
    made = api.post("/_internal_blocks/", {"label": "notes", "value": "v"}).ok()
    assert [block["label"] for block in api.get("/_internal_blocks/", label_search="note").ok()] == ["notes"]
    api.patch(f"/agents/{agent['id']}/core-memory/blocks/attach/{made['id']}").ok()
    assert [one["id"] for one in api.get(f"/_internal_blocks/{made['id']}/agents").ok()] == [agent["id"]]
    path = f"/_internal_agents/{agent['id']}/core-memory/blocks/notes"
    assert api.patch(path, {"value": "w"}).ok()["value"] == "w"
    assert api.delete(f"/_internal_blocks/{made['id']}").status == 200
    api.post("/agents/", {**MODEL, "hidden": True}).ok()
    assert api.get("/_internal_agents/count").ok() == 1
    assert api.get("/_internal_agents/count", exclude_hidden=False).ok() == 2


def test_another_organization_finds_none_of_them(
    their_api: Api, api: Api, agent: dict[str, Any], block: dict[str, Any]
) -> None:
    theirs = their_api.post("/agents/", MODEL).ok()["id"]
    own = their_api.post("/blocks/", {"label": "own", "value": ""}).ok()["id"]
    assert [b["id"] for b in their_api.get("/blocks/").ok()] == [own]
    assert their_api.get(f"/blocks/{block['id']}").status == 404
    assert their_api.patch(f"/blocks/{block['id']}", {"value": "x"}).status == 404
    assert their_api.delete(f"/blocks/{block['id']}").status == 404
    assert their_api.get(f"/blocks/{block['id']}/agents").status == 404
    assert their_api.patch(f"/agents/{theirs}/core-memory/blocks/attach/{block['id']}").status == 404
    assert their_api.patch(f"/agents/{agent['id']}/core-memory/blocks/attach/{own}").status == 404
    assert their_api.get(f"/agents/{agent['id']}/core-memory/blocks").status == 404
    assert their_api.patch(f"/agents/{agent['id']}/core-memory/blocks/human", {"value": "x"}).status == 404
    assert their_api.get(f"/agents/{agent['id']}/core-memory").status == 404
    assert their_api.post("/agents/", {**MODEL, "block_ids": [block["id"]]}).status == 404
