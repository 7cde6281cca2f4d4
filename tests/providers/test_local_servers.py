"""What Ollama, LM Studio and llama.cpp say of their models on routes of their own."""

from __future__ import annotations

from typing import Any

from providers.catalog import ModelInfo
from providers.clients.base import Credential, client_for
from tests.providers.fake_server import FakeServer, Reply


def listed(server: FakeServer, provider_type: str, answers: dict[str, Any]) -> dict[str, ModelInfo]:
    def decide(path: str, body: Any) -> Reply:
        found = answers.get(path)
        if callable(found):
            found = found(body)
        return Reply({"error": "not found"}, 404) if found is None else Reply(found)

    server.decide = decide
    models = client_for(Credential(provider_type=provider_type, base_url=server.url)).list_models()
    return {model.name: model for model in models}


def test_ollama_tells_window_kind_and_who_can_call_tools(fake_server: FakeServer) -> None:
    shown = {
        "llama3.1:8b": {"capabilities": ["completion", "tools"], "parameters": "stop x\nnum_ctx 16384"},
        "phi": {"capabilities": ["completion"]},
        "loaded": {"capabilities": ["completion", "tools", "vision"]},
        "vectors": {"capabilities": ["embedding"], "model_info": {"bert.embedding_length": 512}},
        "old": None,
    }
    found = listed(
        fake_server,
        "ollama",
        {
            "/v1/models": {"data": [{"id": name} for name in shown]},
            "/api/ps": {"models": [{"name": "loaded", "context_length": 32768}]},
            "/api/show": lambda body: shown[body["model"]],
        },
    )
    assert found["llama3.1:8b"].context_window == 16384
    assert (found["loaded"].context_window, found["loaded"].tool_mode) == (32768, "native")
    assert (found["loaded"].images, found["phi"].images, found["old"].images) == (True, False, None)
    assert (found["phi"].context_window, found["phi"].tool_mode) == (4096, "constrained")
    assert (found["vectors"].kind, found["vectors"].embedding_dim) == ("embedding", 512)
    assert (found["old"].context_window, found["old"].tool_mode) == (4096, "native")


def test_lm_studio_tells_the_loaded_window(fake_server: FakeServer) -> None:
    rows = [
        {"id": "a", "type": "llm", "max_context_length": 131072, "loaded_context_length": 6000},
        {"id": "b", "type": "embeddings"},
        {"id": "d", "type": "vlm", "max_context_length": 32768},
    ]
    found = listed(
        fake_server,
        "lmstudio",
        {"/v1/models": {"data": [{"id": name} for name in "abcd"]}, "/api/v0/models": {"data": rows}},
    )
    assert found["a"].context_window == 6000
    assert found["b"].kind == "embedding"
    assert (found["c"].context_window, found["d"].context_window) == (8192, 32768)
    assert [found[name].images for name in "acd"] == [False, None, True]


def test_llama_cpp_tells_by_its_template_whether_the_model_knows_tools(fake_server: FakeServer) -> None:
    models = {"data": [{"id": "m", "meta": {"n_ctx": 4000}}]}
    caps = {"chat_template_caps": {"supports_tools": False}, "modalities": {"vision": True, "audio": False}}
    found = listed(fake_server, "llamacpp", {"/v1/models": models, "/props": caps})
    assert (found["m"].context_window, found["m"].tool_mode, found["m"].images) == (4000, "constrained", True)
    assert listed(fake_server, "llamacpp", {"/v1/models": models})["m"].tool_mode == "native"
