"""What local servers tell of models beside `/v1/models`: the window as loaded, the kind, who can call tools or see.

Each is asked by its own route, and none of them has to answer: without it, a model is what its name says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from providers.catalog import ModelInfo
from providers.clients.openai_models import as_embedding, without_tools
from providers.clients.transport import Transport
from providers.errors import ProviderError

TIMEOUT_S = 5.0
MOST_ASKED = 40
_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.MULTILINE)

Ask = Callable[[], Any]


def enriched(provider_type: str, transport: Transport, base_url: str, models: list[ModelInfo]) -> list[ModelInfo]:
    root = base_url.rstrip("/").removesuffix("/v1")
    if provider_type == "ollama":
        return _ollama(transport, root, models)
    if provider_type in ("lmstudio", "lmstudio_openai"):
        return _lmstudio(transport, root, models)
    if provider_type == "llamacpp":
        return _llamacpp(transport, root, models)
    return models


def _answer(ask: Ask) -> dict[str, Any]:
    """The answer, or nothing from a server that has no such route."""
    try:
        found = ask()
    except ProviderError:
        return {}
    return found if isinstance(found, dict) else {}


def _with_window(info: ModelInfo, window: Any) -> ModelInfo:
    return replace(info, context_window=window) if isinstance(window, int) and window > 0 else info


def _ollama(transport: Transport, root: str, models: list[ModelInfo]) -> list[ModelInfo]:
    """`/api/ps` has the window of what is loaded, `/api/show` the one of the Modelfile, and the capabilities."""
    running = _answer(lambda: transport.get(f"{root}/api/ps", TIMEOUT_S)).get("models") or ()
    loaded = {row.get("name"): row.get("context_length") for row in running if isinstance(row, dict)}
    made = []
    for number, info in enumerate(models):
        if number < MOST_ASKED:
            body = orjson.dumps({"model": info.name})
            shown = _answer(lambda body=body: transport.post(f"{root}/api/show", body, TIMEOUT_S))  # type: ignore[misc]
            made.append(_ollama_model(info, shown, loaded.get(info.name)))
        else:
            made.append(info)
    return made


def _ollama_model(info: ModelInfo, shown: dict[str, Any], loaded: Any) -> ModelInfo:
    abilities, facts = shown.get("capabilities"), shown.get("model_info") or {}
    found = _NUM_CTX.search(shown.get("parameters") or "")
    info = _with_window(info, loaded or (int(found[1]) if found else None))
    if not isinstance(abilities, list):
        return info
    if "embedding" in abilities:
        return as_embedding(info, next((v for k, v in facts.items() if k.endswith(".embedding_length")), None))
    info = replace(info, images="vision" in abilities)
    return info if "tools" in abilities else without_tools(info)


def _lmstudio(transport: Transport, root: str, models: list[ModelInfo]) -> list[ModelInfo]:
    rows = _answer(lambda: transport.get(f"{root}/api/v0/models", TIMEOUT_S)).get("data") or ()
    told = {row.get("id"): row for row in rows if isinstance(row, dict)}
    made = []
    for info in models:
        row = told.get(info.name, {})
        info = _with_window(info, row.get("loaded_context_length") or row.get("max_context_length"))  # noqa: PLW2901
        if row.get("type") in ("llm", "vlm"):
            info = replace(info, images=row["type"] == "vlm")  # noqa: PLW2901
        made.append(as_embedding(info) if row.get("type") == "embeddings" else info)
    return made


def _llamacpp(transport: Transport, root: str, models: list[ModelInfo]) -> list[ModelInfo]:
    """One server, one model: its chat template tells whether it knows of tools, its projector whether it can see."""
    props = _answer(lambda: transport.get(f"{root}/props", TIMEOUT_S))
    caps, senses = props.get("chat_template_caps"), props.get("modalities")
    if isinstance(senses, dict) and isinstance(senses.get("vision"), bool):
        models = [replace(info, images=senses["vision"]) for info in models]
    if isinstance(caps, dict) and caps.get("supports_tools") is False:
        return [without_tools(info) for info in models]
    return models
