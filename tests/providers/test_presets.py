"""The one table of provider types: complete, and each with a client or with the reason why there is none."""

from __future__ import annotations

import re

import pytest

from agents.schemas.models import _PROVIDER_TYPES
from providers.catalog import presets
from providers.clients.base import _DIALECTS, Credential, dialect_of
from providers.errors import BadRequest

# As Letta's V1 API knows them, and two that its newer SDK adds.
CONTRACT = [
    "anthropic",
    "azure",
    "baseten",
    "bedrock",
    "cerebras",
    "chatgpt_oauth",
    "deepseek",
    "fireworks",
    "google_ai",
    "google_vertex",
    "groq",
    "hugging-face",
    "letta",
    "lmstudio_openai",
    "minimax",
    "mistral",
    "ollama",
    "openai",
    "together",
    "vllm",
    "sglang",
    "openrouter",
    "xai",
    "zai",
    "zai_coding",
    "moonshot",
    "moonshot_coding",
]


@pytest.mark.parametrize("kind", CONTRACT)
def test_every_type_of_the_contract_has_a_client_or_a_reason(kind: str) -> None:
    preset = presets()[kind]
    if preset.refused:
        assert re.match(r"[A-Z].{40,}: use .+\.$", preset.refused)
        with pytest.raises(BadRequest):
            dialect_of(Credential(provider_type=kind))
        return
    assert dialect_of(Credential(provider_type=kind)) in _DIALECTS
    assert preset.base_url or preset.regional or kind == "azure"
    assert kind in _PROVIDER_TYPES


def test_vendors_are_reached_encrypted_and_only_machines_of_ones_own_in_plain() -> None:
    for preset in presets().values():
        if preset.base_url:
            plain = preset.base_url.startswith("http://localhost:")
            assert plain if preset.local else preset.base_url.startswith("https://")


def test_own_words_for_thinking_exclude_an_effort_in_openais() -> None:
    switched = {kind for kind, preset in presets().items() if preset.thinking_switch}
    assert switched == {"deepseek", "moonshot", "moonshot_coding", "zai", "zai_coding"}
    assert not any(presets()[kind].official_openai for kind in switched)
