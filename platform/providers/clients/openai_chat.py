"""OpenAI's Chat Completions, and every server that speaks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai

from providers.catalog import ModelInfo, effort_of, is_reasoning_model, preset_of
from providers.clients import openai_chat_wire
from providers.clients.base import Credential
from providers.clients.local_servers import enriched
from providers.clients.openai_chat_read import ChatReader
from providers.clients.openai_models import listed
from providers.clients.reading import said
from providers.clients.salvage import TextGate
from providers.clients.transport import Answer, LastBody, Transport, http_client
from providers.errors import BadRequest, Overloaded, ProviderError
from providers.events import ModelEvent
from providers.types import ModelRequest

LIST_TIMEOUT_S = 15.0
_OPTIONAL = (
    "stream_options",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "thinking",
    "verbosity",
    "temperature",
    "prompt_cache_key",
    "max_completion_tokens",
    "max_tokens",
    "user",
    "logprobs",
    "top_logprobs",
    "return_token_ids",
)
_DOUBTED = frozenset({"stream_options", "tool_choice"})


def normalized(base_url: str) -> str:
    """A base URL as a person may give it, with or without `/v1` and the route, as the SDK wants it."""
    url = base_url.strip().rstrip("/").removesuffix("/chat/completions").removesuffix("/responses").rstrip("/")
    if "://" not in url:
        url = f"http://{url}"
    return url if urlsplit(url).path else f"{url}/v1"


def sdk_for(credential: Credential) -> openai.OpenAI:
    """The SDK, with nothing in it that the environment of this process could add to a tenant's calls."""
    preset = preset_of(credential.provider_type)
    base_url = credential.base_url or preset.base_url
    if not base_url:
        raise BadRequest(f"Provider type '{credential.provider_type}' needs a base_url.")
    headers: dict[str, Any] = dict(credential.headers)
    if credential.provider_type == "azure":
        headers.setdefault("api-key", credential.api_key)
    sdk = openai.OpenAI(
        api_key=credential.api_key or "none",
        base_url=normalized(base_url),
        max_retries=0,
        default_query={"api-version": credential.api_version} if credential.api_version else None,
        http_client=http_client(public_only=credential.public_only),
    )
    sdk.organization = sdk.project = sdk.admin_api_key = None
    sdk._custom_headers = headers
    return sdk


def transport_for(credential: Credential) -> Transport:
    """Without a key no Authorization header is sent, rather than an empty one."""
    keyless = None if credential.api_key else {"Authorization": openai.Omit()}
    return Transport(sdk_for(credential), openai, credential.api_key, keyless)  # type: ignore[arg-type]


def list_openai_models(transport: Transport, provider_type: str) -> list[ModelInfo]:
    raw = transport.get("/models", LIST_TIMEOUT_S)
    return enriched(provider_type, transport, transport.base_url, listed(provider_type, raw))


def _effort(request: ModelRequest) -> str | None:
    return effort_of(request.model, request.reasoning_effort)


class OpenAIChat:
    """One credential at one server. What the server refused for a model is remembered and left out from then on."""

    dialect = openai_chat_wire.DIALECT

    def __init__(self, credential: Credential, transport: Transport | None = None) -> None:
        self._credential = credential
        self._preset = preset_of(credential.provider_type)
        self.transport = transport or transport_for(credential)
        self._dropped: dict[str, frozenset[str]] = {}
        self._last = LastBody()

    def route(self, model: str, path: str) -> str:
        """Where a model is asked."""
        return path

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, self._made)

    def _made(self, request: ModelRequest) -> bytes:
        return openai_chat_wire.body(request, self._preset, self._dropped.get(request.model, frozenset()))

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        answer = self._open(request)
        official = self._preset.official_openai
        hidden = official and is_reasoning_model(request.model) and _effort(request) != "none"
        gate = None if official else TextGate(salvage=bool(request.tools))
        sent = len(self.request_body(request))
        unlisted = self._preset.unlisted_reasoning
        reader = ChatReader(request.tools, sent, hidden_reasoning=hidden, gate=gate, unlisted_reasoning=unlisted)
        yield from said(reader, answer, self._credential.api_key)

    def _open(self, request: ModelRequest) -> Answer:
        """Send; where the server refuses an optional field, send once more without it."""
        path, timeout = self.route(request.model, "/chat/completions"), request.timeout_s
        body = self.request_body(request)
        try:
            return self.transport.stream(path, body, timeout)
        except (BadRequest, Overloaded) as error:
            refused = self._refused(error, body)
            if not refused:
                raise
            known = self._dropped.get(request.model, frozenset())
            without = openai_chat_wire.body(request, self._preset, known | refused)
            try:
                answer = self.transport.stream(path, self._last.keep(request, without), timeout)
            except ProviderError:
                raise error from None
            self._dropped[request.model] = known | refused
            return answer

    def _refused(self, error: ProviderError, body: bytes) -> frozenset[str]:
        """The optional fields of `body` that a refusal names, or (elsewhere than at OpenAI) those often unknown."""
        if error.upstream_status not in (400, 422, 500):
            return frozenset()
        sent = {name for name in _OPTIONAL if f'"{name}":'.encode() in body}
        named = frozenset(name for name in sent if re.search(rf"\b{name.replace('_', '[_ ]')}\b", error.message))
        if named or self._preset.official_openai or error.upstream_status == 500:
            return named
        return _DOUBTED & sent

    def close(self) -> None:
        self.transport.close()

    def list_models(self) -> list[ModelInfo]:
        return list_openai_models(self.transport, self._credential.provider_type)
