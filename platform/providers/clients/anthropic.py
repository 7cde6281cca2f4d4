"""Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import anthropic

from providers.catalog import ModelInfo, describe, preset_of
from providers.clients import anthropic_wire
from providers.clients.anthropic_read import MessagesReader
from providers.clients.base import Credential
from providers.clients.reading import said
from providers.clients.transport import LastBody, Transport, http_client
from providers.events import ModelEvent
from providers.types import ModelRequest

LIST_TIMEOUT_S = 15.0
INTERLEAVED = "interleaved-thinking-2025-05-14"


def normalized(base_url: str) -> str:
    """A base URL as a person may give it, as the SDK wants it: without `/v1`."""
    url = base_url.strip().rstrip("/").removesuffix("/messages").removesuffix("/v1").rstrip("/")
    return url if "://" in url else f"https://{url}"


def thinks_between(request: ModelRequest) -> bool:
    """Whether it must be asked to think between calls of tools too: newer models do so by themselves."""
    return bool(anthropic_wire.thinks(request) and request.tools and not anthropic_wire.is_adaptive(request.model))


def sdk_for(credential: Credential) -> anthropic.Anthropic:
    """The SDK, with nothing in it that the environment of this process could add to a tenant's calls."""
    base_url = credential.base_url or preset_of(credential.provider_type).base_url or "https://api.anthropic.com"
    sdk = anthropic.Anthropic(
        api_key=credential.api_key or "none",
        base_url=normalized(base_url),
        max_retries=0,
        open_telemetry=False,
        http_client=http_client(public_only=credential.public_only),
    )
    sdk._custom_headers = dict(credential.headers)
    return sdk


class AnthropicMessages:
    """One credential."""

    dialect = anthropic_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        sdk: Any = sdk_for(credential)
        self.transport = Transport(sdk, anthropic, credential.api_key)  # type: ignore[arg-type]
        self._last = LastBody()

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, anthropic_wire.body)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        body = self.request_body(request)
        headers = {"anthropic-beta": INTERLEAVED} if thinks_between(request) else None
        answer = self.transport.stream("/v1/messages", body, request.timeout_s, headers)
        yield from said(MessagesReader(len(body)), answer, self._credential.api_key)

    def close(self) -> None:
        self.transport.close()

    def list_models(self) -> list[ModelInfo]:
        raw = self.transport.get("/v1/models?limit=1000", LIST_TIMEOUT_S)
        return [self._info(row) for row in raw.get("data") or () if row.get("id")]

    def _info(self, row: dict[str, Any]) -> ModelInfo:
        info = describe(
            self._credential.provider_type,
            row["id"],
            context=row.get("max_input_tokens"),
            display_name=row.get("display_name") or "",
        )
        return replace(info, max_output_tokens=row.get("max_tokens") or info.max_output_tokens)
