"""Models on the wire: as they are listed, and as the deprecated config objects that agents still show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.schemas.base import Wire
from providers.catalog import DEFAULT_EMBEDDING_DIM, ModelInfo

EMBEDDING_CHUNK_SIZE = 300
EMBEDDING_BATCH_SIZE = 32
# What the SDKs know by name. Every other server speaks OpenAI's dialect, and is shown so.
_EMBEDDING_ENDPOINT_TYPES = frozenset(
    {
        "anthropic",
        "azure",
        "bedrock",
        "google_ai",
        "google_vertex",
        "groq",
        "hugging-face",
        "llamacpp",
        "lmstudio",
        "mistral",
        "ollama",
        "openai",
        "together",
        "vllm",
    }
)
_NEWER = frozenset(
    {
        "baseten",
        "chatgpt_oauth",
        "deepseek",
        "fireworks",
        "minimax",
        "moonshot",
        "moonshot_coding",
        "openrouter",
        "xai",
        "zai",
        "zai_coding",
    }
)
_ENDPOINT_TYPES = _EMBEDDING_ENDPOINT_TYPES | _NEWER
_PROVIDER_TYPES = _ENDPOINT_TYPES - {"llamacpp", "lmstudio"} | {"cerebras", "letta", "lmstudio_openai", "sglang"}


def _known(provider_type: str, names: frozenset[str]) -> str:
    return provider_type if provider_type in names else "openai"


@dataclass(frozen=True, slots=True)
class Reach:
    """A model and where it is reached."""

    info: ModelInfo
    endpoint: str | None = None


class LLMConfig(Wire):
    model: str
    display_name: str | None = None
    model_endpoint_type: str
    model_endpoint: str | None = None
    provider_name: str | None = None
    provider_category: str | None = None
    model_wrapper: str | None = None
    context_window: int
    put_inner_thoughts_in_kwargs: bool | None = False
    handle: str | None = None
    temperature: float = 1.0
    max_tokens: int | None = None
    enable_reasoner: bool = False
    reasoning_effort: str | None = None
    max_reasoning_tokens: int = 0
    effort: str | None = None
    frequency_penalty: float | None = None
    compatibility_type: str | None = None
    verbosity: str | None = None
    tier: str | None = None
    parallel_tool_calls: bool | None = False
    response_format: dict[str, Any] | None = None
    strict: bool = False
    return_logprobs: bool = False
    top_logprobs: int | None = None
    return_token_ids: bool = False
    tool_call_parser: str | None = None


class EmbeddingConfig(Wire):
    embedding_endpoint_type: str
    embedding_endpoint: str | None = None
    embedding_model: str
    embedding_dim: int
    embedding_chunk_size: int | None = EMBEDDING_CHUNK_SIZE
    handle: str | None = None
    batch_size: int = EMBEDDING_BATCH_SIZE
    azure_endpoint: str | None = None
    azure_version: str | None = None
    azure_deployment: str | None = None


class Model(LLMConfig):
    """A model as it is listed: its config where no agent says otherwise."""

    name: str
    provider_type: str
    model_type: str = "llm"
    enable_reasoner: bool = True
    max_context_window: int


class EmbeddingModel(Wire):
    handle: str | None
    name: str
    display_name: str
    provider_type: str
    provider_name: str
    model_type: str = "embedding"
    embedding_endpoint_type: str
    embedding_endpoint: str | None
    embedding_model: str
    embedding_dim: int
    embedding_chunk_size: int | None = EMBEDDING_CHUNK_SIZE
    batch_size: int = EMBEDDING_BATCH_SIZE
    azure_endpoint: str | None = None
    azure_version: str | None = None
    azure_deployment: str | None = None


def llm_config(reach: Reach, settings: Mapping[str, Any], context_window: int | None) -> LLMConfig:
    """`settings`: an agent's own, as stored. `context_window`: its limit, if it has one."""
    info = reach.info
    effort = (settings.get("reasoning") or {}).get("reasoning_effort")
    thinking = settings.get("thinking") or {}
    budget = thinking.get("budget_tokens") or 0 if thinking.get("type") == "enabled" else 0
    return LLMConfig(
        model=info.name,
        model_endpoint_type=_known(info.provider_type, _ENDPOINT_TYPES),
        model_endpoint=reach.endpoint,
        provider_name=info.provider_name,
        provider_category=info.provider_category,
        context_window=min(context_window or info.context_window, info.context_window),
        handle=info.handle,
        temperature=settings.get("temperature", 1.0),
        max_tokens=settings.get("max_output_tokens") or info.max_output_tokens,
        enable_reasoner=bool(budget) or effort not in (None, "none"),
        reasoning_effort=effort,
        max_reasoning_tokens=budget,
        effort=settings.get("effort"),
        verbosity=settings.get("verbosity"),
        parallel_tool_calls=settings.get("parallel_tool_calls", True),
        response_format=settings.get("response_format"),
        strict=settings.get("strict", False),
        tool_call_parser=settings.get("tool_call_parser"),
    )


def embedding_config(reach: Reach) -> EmbeddingConfig:
    return EmbeddingConfig(
        embedding_endpoint_type=_known(reach.info.provider_type, _EMBEDDING_ENDPOINT_TYPES),
        embedding_endpoint=reach.endpoint,
        embedding_model=reach.info.name,
        embedding_dim=reach.info.embedding_dim or DEFAULT_EMBEDDING_DIM,
        handle=reach.info.handle,
    )


def listed_model(reach: Reach) -> Model:
    info = reach.info
    return Model(
        handle=info.handle,
        name=info.name,
        display_name=info.display_name or info.name,
        provider_type=_known(info.provider_type, _PROVIDER_TYPES),
        provider_name=info.provider_name,
        model=info.name,
        model_endpoint_type=_known(info.provider_type, _ENDPOINT_TYPES),
        model_endpoint=reach.endpoint,
        provider_category=info.provider_category,
        context_window=info.context_window,
        max_tokens=info.max_output_tokens,
        max_context_window=info.context_window,
    )


def listed_embedding(reach: Reach) -> EmbeddingModel:
    info = reach.info
    return EmbeddingModel(
        handle=info.handle,
        name=info.name,
        display_name=info.display_name or info.name,
        provider_type=_known(info.provider_type, _PROVIDER_TYPES),
        provider_name=info.provider_name,
        embedding_endpoint_type=_known(info.provider_type, _EMBEDDING_ENDPOINT_TYPES),
        embedding_endpoint=reach.endpoint,
        embedding_model=info.name,
        embedding_dim=info.embedding_dim or DEFAULT_EMBEDDING_DIM,
    )
