"""What each vendor's list of models says, and where: rows in the forms that their references show."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.catalog import ModelInfo, describe, preset_of, takes_images
from providers.clients import openai_chat_wire
from providers.clients.base import Credential, client_for, close_all
from providers.clients.openai_models import LISTINGS, listed
from providers.types import Message, ModelRequest, TextPart, ToolSpec
from tests.providers.fake_server import FakeServer, Reply

TOOL = ToolSpec("search", "Look up", {"type": "object", "properties": {}})


def told(info: ModelInfo) -> tuple[str, str, int, bool, bool]:
    return info.name, info.kind, info.context_window, info.supports_tools, takes_images(info)


OPENROUTER = {
    "data": [
        {
            "id": "qwen/qwen3-vl-8b",
            "context_length": 262144,
            "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["text"]},
            "top_provider": {"context_length": 131072, "max_completion_tokens": 32768, "is_moderated": False},
            "supported_parameters": ["max_tokens", "tools", "tool_choice"],
        },
        {
            "id": "old/writer",
            "context_length": 4096,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "top_provider": {"context_length": None, "max_completion_tokens": None},
            "supported_parameters": ["max_tokens"],
        },
        {"id": "black-forest/flux", "architecture": {"output_modalities": ["image"]}, "top_provider": {}},
    ]
}
GROQ = {
    "object": "list",
    "data": [
        {"id": "openai/gpt-oss-20b", "active": True, "context_window": 131072, "max_completion_tokens": 65536},
        {"id": "gone", "active": False, "context_window": 8192},
        {"id": "whisper-large-v3", "active": True, "context_window": 448},
    ],
}
TOGETHER = [
    {"id": "meta-llama/Llama-4-Scout-17B-16E-Instruct", "type": "chat", "context_length": 1048576},
    {"id": "BAAI/bge-large-en-v1.5", "type": "embedding", "context_length": 512},
    {"id": "togethercomputer/vectors-of-ours", "type": "embedding", "context_length": 8192},
    {"id": "meta-llama/Llama-2-70b-hf", "type": "language", "context_length": 4096},
    {"id": "black-forest-labs/FLUX.1", "type": "image"},
]
MISTRAL = {
    "data": [
        {
            "id": "mistral-small-latest",
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": True},
            "max_context_length": 131072,
        },
        {
            "id": "codestral-mamba",
            "capabilities": {"completion_chat": True, "function_calling": False, "vision": False},
            "max_context_length": 256000,
        },
        {"id": "mistral-embed", "capabilities": {"completion_chat": False}, "max_context_length": 8192},
        {"id": "mistral-classifier", "capabilities": {"completion_chat": False}, "max_context_length": 8192},
    ]
}
FIREWORKS = {
    "data": [
        {
            "id": "accounts/fireworks/models/kimi-k2p5",
            "supports_chat": True,
            "supports_image_input": True,
            "supports_tools": True,
            "context_length": 262144,
        },
        {"id": "accounts/fireworks/models/flux-1", "supports_chat": False, "supports_image_input": False},
    ]
}
HUGGING_FACE = {
    "data": [
        {
            "id": "openai/gpt-oss-120b",
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "providers": [
                {"provider": "cerebras", "status": "live", "supports_tools": True, "context_length": 131072},
                {"provider": "slow", "status": "live", "supports_tools": False, "context_length": 32768},
                {"provider": "silent", "status": "live"},
            ],
        }
    ]
}


@pytest.mark.parametrize(
    ("provider_type", "raw", "found"),
    [
        (
            "openrouter",
            OPENROUTER,
            [("qwen/qwen3-vl-8b", "llm", 131072, True, True), ("old/writer", "llm", 4096, False, False)],
        ),
        ("groq", GROQ, [("openai/gpt-oss-20b", "llm", 131072, True, False)]),
        (
            "together",
            TOGETHER,
            [
                ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "llm", 1048576, True, True),
                ("BAAI/bge-large-en-v1.5", "embedding", 512, False, True),
                ("togethercomputer/vectors-of-ours", "embedding", 8192, False, True),
            ],
        ),
        (
            "mistral",
            MISTRAL,
            [
                ("mistral-small-latest", "llm", 131072, True, True),
                ("codestral-mamba", "llm", 256000, False, False),
                ("mistral-embed", "embedding", 8192, False, True),
            ],
        ),
        ("fireworks", FIREWORKS, [("accounts/fireworks/models/kimi-k2p5", "llm", 262144, True, True)]),
        (
            "moonshot",
            {"data": [{"id": "kimi-k2-0905-preview", "context_length": 262144, "supports_image_in": False}]},
            [("kimi-k2-0905-preview", "llm", 262144, True, False)],
        ),
        ("hugging-face", HUGGING_FACE, [("openai/gpt-oss-120b", "llm", 32768, True, False)]),
        ("vllm", {"data": [{"id": "m", "max_model_len": 20000}]}, [("m", "llm", 20000, True, True)]),
        ("sglang", {"data": [{"id": "m", "max_model_len": 20000}]}, [("m", "llm", 20000, True, True)]),
        (
            "llamacpp",
            {"data": [{"id": "m", "meta": {"n_ctx_train": 131072, "n_ctx": 4096}}]},
            [("m", "llm", 4096, True, True)],
        ),
        (
            "openai_compatible",
            {"models": ["plain", {"name": "models/named", "max_input_tokens": 9000}, {"no": "name"}, 7]},
            [("plain", "llm", 32768, True, True), ("named", "llm", 9000, True, True)],
        ),
        ("xai", {"data": None}, []),
    ],
)
def test_a_list_is_read_where_its_vendor_writes(provider_type: str, raw: Any, found: list[Any]) -> None:
    assert [told(info) for info in listed(provider_type, raw)] == found


def test_every_list_that_is_known_belongs_to_a_preset_and_a_client_reads_it(fake_server: FakeServer) -> None:
    assert all(preset_of(provider_type).dialect == "openai_chat" for provider_type in LISTINGS)
    fake_server.replies = [Reply(OPENROUTER)]
    first, second = client_for(Credential(provider_type="openrouter", base_url=fake_server.url)).list_models()
    close_all()
    assert (first.max_output_tokens, first.tool_mode, second.tool_mode) == (32768, "native", "constrained")


@pytest.mark.parametrize(
    ("provider_type", "several", "sent"),
    [
        ("openai", True, None),
        ("openai", False, False),
        ("llamacpp", True, True),
        ("llamacpp", False, False),
        ("deepseek", False, None),
        ("ollama", False, None),
    ],
)
def test_calls_at_once_are_asked_for_or_forbidden_in_words_that_the_server_knows(
    provider_type: str, several: bool, sent: bool | None
) -> None:
    asked = ModelRequest(
        model="m", messages=(Message("user", (TextPart("Hi"),)),), tools=(TOOL,), parallel_tool_calls=several
    )
    body = orjson.loads(openai_chat_wire.body(asked, preset_of(provider_type)))
    assert body.get("parallel_tool_calls") is sent


def test_images_are_taken_as_the_vendor_says_then_as_the_name_tells() -> None:
    assert not takes_images(describe("deepseek", "a-name-that-tells-nothing"))
    assert takes_images(describe("openai", "gpt-4o"))
    assert not takes_images(describe("groq", "llama-3.3-70b-versatile"))
