"""What is known of providers and models before anyone asks them: addresses, dialects, windows, dimensions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson

_DATA = Path(__file__).parent / "data"
DEFAULT_CONTEXT_WINDOW = 32_768
DEFAULT_EMBEDDING_DIM = 1536
_REASONING = re.compile(r"^(?:openai/)?(?:o\d|gpt-[5-9]|codex)(?!.*chat)")
# What Bedrock writes before a name: where it runs, and whose it is (but of DeepSeek, whose names say nothing else).
_BEDROCK = re.compile(
    r"^(?:(?:us|us-gov|eu|apac|jp|au|ca|global|regional)\.(?=[a-z0-9-]+\.))?"
    r"(?:(?:ai21|amazon|anthropic|cohere|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen|writer|zai)\.)?"
)
_CODED_SIZE = re.compile(r"(?<![a-z0-9])embed")

_LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

Kind = Literal["llm", "embedding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A provider type. `local`: its tokens cost nothing, and a key is optional.

    `official_openai`: OpenAI's own dialect (max_completion_tokens, strict finish reasons, hidden reasoning).
    `reasoning_back`: wants the reasoning of earlier turns sent back as `reasoning_content`.
    `unlisted_reasoning`: counts its reasoning in the total alone.
    `token_ids`: tells the numbers of an answer's tokens.
    `thinking_switch`: thinking is a switch in a field of its own; an effort is not known there.
    `only_json_object`: knows no JSON schema as a form of answers. `strict_tools`: holds a tool's call to its schema.
    `images`: False where none of its models takes any (DeepSeek, API reference of chat completions: content is text).
    `parallel_calls`: `known` where several calls at once are the rule and `parallel_tool_calls` forbids them; `asked`
    where they must be asked for (llama.cpp, docs/function-calling.md); `unknown` where the vendor's reference has no
    such field (DeepSeek, Moonshot, Z.ai, Ollama), so that it is not sent. The loop takes one call alone in any case.
    `regional`: its address is made of the region. `refused`: why there is no client for it.
    """

    provider_type: str
    label: str
    dialect: str = ""
    base_url: str | None = None
    key_env: str | None = None
    url_env: str | None = None
    local: bool = False
    official_openai: bool = False
    reasoning_back: bool = False
    unlisted_reasoning: bool = False
    token_ids: bool = False
    thinking_switch: bool = False
    only_json_object: bool = False
    strict_tools: bool = False
    images: bool = True
    parallel_calls: Literal["known", "asked", "unknown"] = "known"
    regional: bool = False
    refused: str = ""
    context_window: int = DEFAULT_CONTEXT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as it is listed. `handle` is `<provider name>/<name>`; a client leaves handle and provider name empty.

    `images`: whether it takes any, where its server says so.
    """

    name: str
    provider_type: str
    handle: str = ""
    display_name: str = ""
    provider_name: str = ""
    provider_category: str = "base"
    context_window: int = DEFAULT_CONTEXT_WINDOW
    max_output_tokens: int | None = None
    kind: Kind = "llm"
    embedding_dim: int | None = None
    supports_tools: bool = True
    images: bool | None = None
    tool_mode: str = "native"


@cache
def presets() -> dict[str, Preset]:
    raw = orjson.loads((_DATA / "presets.json").read_bytes())
    return {name: Preset(provider_type=name, **values) for name, values in raw.items()}


def preset_of(provider_type: str) -> Preset:
    """The preset of a type; an unknown one has no dialect, so that no client is found for it."""
    return presets().get(provider_type) or Preset(provider_type=provider_type, label=provider_type)


@cache
def _models() -> dict[str, Any]:
    data: dict[str, Any] = orjson.loads((_DATA / "models.json").read_bytes())
    return data


def bare(model: str) -> str:
    """A model's name without folders, platforms and tags, in lower case.

    `meta-llama/Llama-3.1-8B:free` → `llama-3.1-8b`, `us.anthropic.claude-opus-4-5-v1:0` → `claude-opus-4-5-v1`.
    """
    return _BEDROCK.sub("", model.rsplit("/", 1)[-1].split(":", 1)[0].split("@", 1)[0].lower())


def _longest_prefix(table: dict[str, Any], name: str) -> Any:
    best = max((key for key in table if name.startswith(key)), key=len, default=None)
    return None if best is None else table[best]


def price_provider(provider_type: str) -> str:
    """The id that genai-prices knows a provider type by."""
    aliases: dict[str, str] = _models()["aliases"]
    return aliases.get(provider_type, provider_type)


@lru_cache(maxsize=4096)
def _published_window(provider_type: str, model: str) -> int | None:
    """The window that genai-prices has on record; loaded only for models that our own table lacks."""
    if preset_of(provider_type).local:
        return None
    from genai_prices.data_snapshot import get_snapshot

    try:
        _, found = get_snapshot().find_provider_model(model, None, price_provider(provider_type), None)
    except LookupError:
        return None
    return found.context_window


def constrained_models() -> list[str]:
    """Parts of the names of small models that make no tool calls of their own."""
    parts: list[str] = _models()["constrained"]
    return parts


def is_reasoning_model(model: str) -> bool:
    """Whether OpenAI's own rules for reasoning models hold: no temperature, reasoning kept hidden."""
    return bool(_REASONING.match(model))


@lru_cache(maxsize=4096)
def effort_of(model: str, wanted: str | None) -> str | None:
    """The level that a model knows nearest to the wanted one, rather above than below.

    None where it knows none, or none was wanted.
    """
    if wanted is None:
        return None
    name = bare(model)
    known = next((levels for pattern, levels in _models()["efforts"] if re.search(pattern, name)), _LEVELS)
    place = _LEVELS.index(wanted)
    return min(reversed(known), key=lambda level: abs(_LEVELS.index(level) - place), default=None)


def is_verbose_model(model: str) -> bool:
    """Whether an OpenAI model can be told how much to say: those from GPT-5 on."""
    return bare(model).startswith(("gpt-5", "gpt-6", "gpt-7"))


def is_chat_model(model: str) -> bool:
    name = bare(model)
    return not any(word in name for word in _models()["not_chat"])


def takes_images(info: ModelInfo) -> bool:
    """As its server says; else False for those that are known to read text alone: a vendor knows best about others."""
    if info.images is not None:
        return info.images
    if not preset_of(info.provider_type).images:
        return False
    name = bare(info.name)
    return not name.startswith(tuple(_models()["text_only"])) or any(word in name for word in ("vl", "vision", "omni"))


@lru_cache(maxsize=4096)
def embedding_dim(model: str) -> int | None:
    """The dimension of an embedding model; None for a model that is none."""
    name = bare(model)
    dim: int | None = _longest_prefix(_models()["embedding"], name)
    if dim is None and (_CODED_SIZE.search(name) or name.startswith(("bge-", "e5-", "gte-"))):
        return DEFAULT_EMBEDDING_DIM
    return dim


@lru_cache(maxsize=4096)
def context_window(provider_type: str, model: str) -> int:
    """From our table, else from the price data, else the provider type's default."""
    preset = preset_of(provider_type)
    if preset.local:
        return preset.context_window
    known = _longest_prefix(_models()["llm"], bare(model))
    if known:
        return int(known["context"])
    return _published_window(provider_type, model) or preset.context_window


def max_output_tokens(model: str) -> int | None:
    known = _longest_prefix(_models()["llm"], bare(model))
    return int(known["output"]) if known else None


def describe(provider_type: str, model: str, *, context: int | None = None, display_name: str = "") -> ModelInfo:
    """What is known of a model; `context` is what the server itself reported."""
    dim = embedding_dim(model)
    window = context or context_window(provider_type, model)
    output = max_output_tokens(model)
    return ModelInfo(
        name=model,
        provider_type=provider_type,
        display_name=display_name or model,
        context_window=window,
        max_output_tokens=None if output is None or dim else min(output, window),
        kind="embedding" if dim else "llm",
        embedding_dim=dim,
        supports_tools=dim is None,
    )
