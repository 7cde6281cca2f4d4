"""Whether a credential's calls can go through its vendor's batch API: decided here, and nowhere else.

Only at the vendor's own address: servers that speak its dialect may have the route, but neither its price nor its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit

import orjson

from providers.catalog import is_reasoning_model
from providers.clients.anthropic_batches import AnthropicBatches
from providers.clients.anthropic_read import MessagesReader
from providers.clients.base import Credential, client_for, dialect_of
from providers.clients.batching import Batching, HasTransport, whole
from providers.clients.openai_batches import CHAT, RESPONSES, OpenAIBatches
from providers.clients.openai_chat_read import ChatReader
from providers.clients.openai_responses_read import ResponsesReader
from providers.clients.reading import Reader
from providers.entries import base_entries, row_entry
from providers.events import Finished
from providers.models import Provider

MESSAGES = "anthropic"
OWN_HOSTS: dict[str, set[str]] = {
    "openai": {"api.openai.com", "us.api.openai.com", "eu.api.openai.com"},
    "anthropic": {"api.anthropic.com"},
}
_DIALECTS = {"openai": (CHAT, RESPONSES), "anthropic": (MESSAGES,)}


def batching_of(credential: Credential) -> Batching | None:
    """The vendor's batch API, None where there is none."""
    hosts = OWN_HOSTS.get(credential.provider_type)
    if hosts is None or dialect_of(credential) not in _DIALECTS[credential.provider_type]:
        return None
    if credential.base_url and urlsplit(credential.base_url).hostname not in hosts:
        return None
    transport = cast(HasTransport, client_for(credential)).transport
    if credential.provider_type == "anthropic":
        return AnthropicBatches(transport, credential.api_key)
    return OpenAIBatches(transport, dialect_of(credential), credential.api_key)


def credential_of(organization_id: str, provider_id: str, name: str, dialect: str) -> Credential | None:
    """The present key of a provider that a batch was given to; None where it is gone or cannot be read."""
    if provider_id:
        row = Provider.objects.filter(pk=provider_id, organization_id=organization_id).first()
        entry = row_entry(row) if row else None
    else:
        entry = base_entries().get(name)
    if entry is None or entry.problem:
        return None
    found = entry.credential
    return found if dialect_of(found) == dialect else replace(found, dialect=dialect)


def _chat(model: str, sent: int, response: bytes) -> Reader:
    details = (orjson.loads(response).get("usage") or {}).get("completion_tokens_details") or {}
    hidden = bool(is_reasoning_model(model) and details.get("reasoning_tokens"))
    return ChatReader((), sent, hidden_reasoning=hidden, gate=None)


_READERS: dict[str, Callable[[str, int, bytes], Reader]] = {
    CHAT: _chat,
    RESPONSES: lambda model, sent, response: ResponsesReader(sent),
    MESSAGES: lambda model, sent, response: MessagesReader(sent),
}


def read(dialect: str, model: str, response: bytes, sent: int = 0) -> Finished:
    """A batch's answer as one that was streamed. `sent`: bytes. Raises ProviderError."""
    return whole(_READERS[dialect](model, sent, response), response)
