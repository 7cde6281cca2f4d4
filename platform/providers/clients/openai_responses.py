"""OpenAI's Responses: what shows a reasoning model's summaries, and keeps its thoughts between steps."""

from __future__ import annotations

from collections.abc import Iterator

from providers.catalog import ModelInfo
from providers.clients import openai_responses_wire
from providers.clients.base import Credential
from providers.clients.openai_chat import list_openai_models, transport_for
from providers.clients.openai_responses_read import ResponsesReader
from providers.clients.reading import said
from providers.clients.transport import LastBody
from providers.events import ModelEvent
from providers.types import ModelRequest


class OpenAIResponses:
    """One credential."""

    dialect = openai_responses_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self.transport = transport_for(credential)
        self._last = LastBody()

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, openai_responses_wire.body)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        body = self.request_body(request)
        answer = self.transport.stream("/responses", body, request.timeout_s)
        yield from said(ResponsesReader(len(body)), answer, self._credential.api_key)

    def close(self) -> None:
        self.transport.close()

    def list_models(self) -> list[ModelInfo]:
        return list_openai_models(self.transport, self._credential.provider_type)
