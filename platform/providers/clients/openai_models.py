"""The model lists of OpenAI-compatible servers: each says elsewhere, or nowhere, what a model can do and hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from providers.catalog import DEFAULT_EMBEDDING_DIM, ModelInfo, describe, is_chat_model

_WINDOW_KEYS = (
    "loaded_context_length",
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_input_tokens",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Where a row says what: dotted paths, through lists too; `path:word` asks whether a word stands there.

    `window`: the smallest of what is found counts. `chat`: False for what is asked nothing here, unless `vectors` says
    that it makes embeddings. `live`: False for what is listed, but answers no more. Where nothing is said, the name
    tells.
    """

    window: tuple[str, ...] = ()
    output: str = ""
    tools: str = ""
    images: str = ""
    chat: str = ""
    vectors: str = ""
    live: str = ""


LISTINGS: dict[str, Listing] = {
    # openrouter.ai/docs/models: what the first provider gives can be less than what the model could.
    "openrouter": Listing(
        window=("context_length", "top_provider.context_length"),
        output="top_provider.max_completion_tokens",
        tools="supported_parameters:tools",
        images="architecture.input_modalities:image",
        chat="architecture.output_modalities:text",
    ),
    # console.groq.com/docs/api-reference#models-list
    "groq": Listing(window=("context_window",), output="max_completion_tokens", live="active"),
    # docs.together.ai/reference/models: a bare list, of every kind of model; language and code ones do not chat.
    "together": Listing(window=("context_length",), chat="type:chat", vectors="type:embedding"),
    # docs.mistral.ai/api, List Models: embedding models have no flag of their own.
    "mistral": Listing(
        window=("max_context_length",),
        tools="capabilities.function_calling",
        images="capabilities.vision",
        chat="capabilities.completion_chat",
    ),
    # docs.fireworks.ai, List Models of the inference API
    "fireworks": Listing(
        window=("context_length",), tools="supports_tools", images="supports_image_input", chat="supports_chat"
    ),
    # platform.moonshot.ai/docs/api/list-models
    "moonshot": Listing(window=("context_length",), images="supports_image_in"),
    "moonshot_coding": Listing(window=("context_length",), images="supports_image_in"),
    # huggingface.co/docs/inference-providers: each model has several hosts, and the router may take any of them.
    "hugging-face": Listing(
        window=("providers.context_length",),
        tools="providers.supports_tools",
        images="architecture.input_modalities:image",
    ),
    # docs.vllm.ai, OpenAI-compatible server: what it was started with
    "vllm": Listing(window=("max_model_len",)),
    # docs.sglang.ai, OpenAI-compatible APIs: the same field
    "sglang": Listing(window=("max_model_len",)),
    # llama.cpp, tools/server/README.md: not `n_ctx_train`, which is what the model could, not what the server gives it
    "llamacpp": Listing(window=("meta.n_ctx",)),
}


def listed(provider_type: str, raw: Any) -> list[ModelInfo]:
    """The models of a list that can be asked for text or vectors."""
    listing = LISTINGS.get(provider_type, Listing())
    found = []
    for row in _rows(raw):
        info = _described(provider_type, listing, row)
        if info is not None:
            found.append(info)
    return found


def _rows(raw: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(raw, Mapping):
        raw = raw.get("data") or raw.get("models")
    for row in raw or ():
        row = {"id": row} if isinstance(row, str) else row  # noqa: PLW2901
        if isinstance(row, Mapping):
            name = row.get("id") or row.get("name") or row.get("model")
            if isinstance(name, str) and name:
                yield {**row, "id": name.removeprefix("models/")}


def _described(provider_type: str, listing: Listing, row: Mapping[str, Any]) -> ModelInfo | None:
    name = row["id"]
    makes_vectors = bool(_flag(row, listing.vectors))
    if not is_chat_model(name) or _flag(row, listing.live) is False:
        return None
    info = describe(provider_type, name, context=_smallest(row, listing.window) or window(row))
    if makes_vectors or info.kind == "embedding":
        return as_embedding(info)
    if _flag(row, listing.chat) is False:
        return None
    info = replace(info, images=_flag(row, listing.images))
    info = replace(info, max_output_tokens=_smallest(row, (listing.output,)) or info.max_output_tokens)
    return without_tools(info) if _flag(row, listing.tools) is False else info


def as_embedding(info: ModelInfo, dim: int | None = None) -> ModelInfo:
    dim = dim or info.embedding_dim or DEFAULT_EMBEDDING_DIM
    return replace(info, kind="embedding", embedding_dim=dim, supports_tools=False, max_output_tokens=None)


def without_tools(info: ModelInfo) -> ModelInfo:
    return replace(info, supports_tools=False, tool_mode="constrained") if info.kind == "llm" else info


def _values(row: Any, path: str) -> list[Any]:
    """What stands at a path; a list on the way, or at its end, counts for all that is in it."""
    places = [row]
    for step in path.split("."):
        places = [place[step] for place in places if isinstance(place, Mapping) and place.get(step) is not None]
        places = [one for place in places for one in (place if isinstance(place, list) else [place])]
    return places


def _flag(row: Mapping[str, Any], path: str) -> bool | None:
    """None where nothing is said."""
    place, colon, word = path.partition(":")
    found = _values(row, place) if path else []
    return (word in found if colon else any(found)) if found else None


def _smallest(row: Mapping[str, Any], paths: tuple[str, ...]) -> int | None:
    found = [value for path in paths if path for value in _values(row, path)]
    return min((value for value in found if type(value) is int and value > 0), default=None)


def window(row: Mapping[str, Any]) -> int | None:
    """Of a server whose list is not known: under any name that is in use."""
    places = [place for place in (row, row.get("top_provider"), row.get("meta")) if isinstance(place, Mapping)]
    for place in places:
        for key in (*_WINDOW_KEYS, "n_ctx"):
            value = place.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return None
