"""/v1/models: what can be used, by handle, as the SDK reads it."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client.types import EmbeddingModel, Model

from providers import entries, listing
from tests.support.api import Api
from tests.support.contract import contract, keys


@pytest.fixture(autouse=True)
def _providers(settings: Any) -> Any:
    settings.BASE_PROVIDERS = [
        {"name": "scripted", "provider_type": "scripted", "api_key": "", "base_url": ""},
        {"name": "minilm", "provider_type": "minilm", "api_key": "", "base_url": "/nowhere"},
    ]
    entries._own.clear()
    yield
    listing._listings.clear()


def test_models_have_the_shape_of_the_contract(api: Api) -> None:
    found = api.get("/models/").ok()
    assert [model["handle"] for model in found] == ["scripted/demo"]
    assert keys(found[0]) == contract("model")
    assert Model.model_validate(found[0]).max_context_window == found[0]["context_window"] > 0


def test_embedding_models_have_the_shape_of_the_contract(api: Api) -> None:
    found = api.get("/models/embedding").ok()
    by_handle = {model["handle"]: model for model in found}
    minilm = by_handle["minilm/all-minilm-l6-v2"]
    assert keys(minilm) == contract("embedding_model")
    assert EmbeddingModel.model_validate(minilm).embedding_dim == 384


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"provider_name": "scripted"}, 1),
        ({"provider_name": "other"}, 0),
        ({"provider_category": ["base"]}, 1),
        ({"provider_category": ["byok"]}, 0),
        ({"provider_type": "scripted"}, 1),
    ],
)
def test_models_are_found_by_provider(api: Api, query: dict[str, Any], count: int) -> None:
    assert len(api.get("/models/", **query).ok()) == count


def test_an_embedding_model_cannot_think_nor_a_language_model_embed(api: Api) -> None:
    answer = api.post("/agents/", {"model": "minilm/all-minilm-l6-v2"})
    assert (answer.status, "language model" in answer.detail) == (400, True)
    answer = api.post("/agents/", {"model": "scripted/demo", "embedding": "scripted/demo"})
    assert (answer.status, "embedding" in answer.detail) == (400, True)


def test_an_agent_shows_its_embedding_model(api: Api) -> None:
    made = api.post("/agents/", {"model": "scripted/demo", "embedding": "minilm/all-minilm-l6-v2"}).ok()
    assert made["embedding"] == "minilm/all-minilm-l6-v2"
    assert set(made["embedding_config"]) == set(contract("agent")["embedding_config"])
    assert made["embedding_config"]["embedding_dim"] == 384


def test_an_agent_whose_provider_was_removed_is_still_shown(api: Api, settings: Any) -> None:
    made = api.post("/agents/", {"model": "scripted/demo"}).ok()
    settings.BASE_PROVIDERS = []
    shown = api.get(f"/agents/{made['id']}").ok()
    assert shown["model"] == shown["llm_config"]["handle"] == "scripted/demo"
