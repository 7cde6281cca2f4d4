"""Google's and Anthropic's models at Vertex AI: the same words, by a project's addresses and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anthropic
import orjson

from providers.catalog import ModelInfo, describe, is_chat_model
from providers.clients import anthropic_wire, google_wire
from providers.clients.anthropic import INTERLEAVED, LIST_TIMEOUT_S, sdk_for, thinks_between
from providers.clients.anthropic_read import MessagesReader
from providers.clients.base import Credential
from providers.clients.google import Errors, HttpPipe
from providers.clients.google_cloud import Project
from providers.clients.google_read import GeminiReader
from providers.clients.reading import said
from providers.clients.transport import LastBody, Transport, http_client
from providers.errors import AuthenticationFailed, BadRequest
from providers.events import Finished, ModelEvent
from providers.types import ModelRequest

VERSION = "vertex-2023-10-16"
MOST_PAGES = 10


def body(request: ModelRequest) -> bytes:
    """The model is in the address."""
    wire = anthropic_wire.wire(request)
    del wire["model"]
    return orjson.dumps({"anthropic_version": VERSION, **wire})


def _placed(events: Iterator[ModelEvent], place: str) -> Iterator[ModelEvent]:
    """With the place that answered: prices differ by it, and no answer says it."""
    for event in events:
        yield replace(event, response={**event.response, "location": place}) if isinstance(event, Finished) else event


class AnthropicAtVertex:
    """One credential."""

    dialect = anthropic_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._project = Project(credential)
        sdk: Any = sdk_for(replace(credential, base_url=self._project.host))
        without = {"X-Api-Key": anthropic.Omit()}
        self.transport = Transport(sdk, anthropic, credential.api_key, without)  # type: ignore[arg-type]
        self._last = LastBody()

    def request_body(self, request: ModelRequest) -> bytes:
        if self._last.request is request:
            return self._last.body
        return self._last.keep(request, body(request))

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        content = self.request_body(request)
        model = quote(request.model, safe="@")
        url = f"{self._project.publishers}/anthropic/models/{model}:streamRawPredict"
        headers = self._project.headers()
        if thinks_between(request):
            headers["anthropic-beta"] = INTERLEAVED
        answer = self.transport.stream(url, content, request.timeout_s, headers)
        reader = MessagesReader(len(content))
        yield from _placed(said(reader, answer, self._credential.api_key), self._project.place)

    def list_models(self) -> list[ModelInfo]:
        return _listed(self.transport, self._project, "anthropic")

    def close(self) -> None:
        self.transport.close()
        self._project.close()


class GeminiAtVertex:
    """One credential. Its list has Anthropic's models too, where the project may see them."""

    dialect = google_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._project = Project(credential)
        http = http_client(public_only=credential.public_only)
        pipe = HttpPipe(http, "", dict(credential.headers))
        self.transport = Transport(pipe, Errors(), credential.api_key)
        self._last = LastBody()

    def request_body(self, request: ModelRequest) -> bytes:
        if self._last.request is request:
            return self._last.body
        return self._last.keep(request, google_wire.body(request))

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        content = self.request_body(request)
        model = quote(request.model, safe="@")
        url = f"{self._project.publishers}/google/models/{model}:streamGenerateContent?alt=sse"
        answer = self.transport.stream(url, content, request.timeout_s, self._project.headers())
        reader = GeminiReader(len(content))
        yield from _placed(said(reader, answer, self._credential.api_key), self._project.place)

    def list_models(self) -> list[ModelInfo]:
        found = _listed(self.transport, self._project, "google")
        try:
            return found + _listed(self.transport, self._project, "anthropic")
        except (AuthenticationFailed, BadRequest):  # a partner's models are granted one by one
            return found

    def close(self) -> None:
        self.transport.close()
        self._project.close()


def _listed(transport: Transport, project: Project, publisher: str) -> list[ModelInfo]:
    found: list[ModelInfo] = []
    page = ""
    for _ in range(MOST_PAGES):
        url = f"{project.host}/v1beta1/publishers/{publisher}/models?pageSize=100{page}"
        raw = transport.get(url, LIST_TIMEOUT_S, project.headers())
        names = [_name(row) for row in raw.get("publisherModels") or ()]
        found += [describe("google_vertex", name) for name in names if _is_wanted(name)]
        if not raw.get("nextPageToken"):
            break
        page = f"&pageToken={quote(raw['nextPageToken'], safe='')}"
    return found


def _name(row: Mapping[str, Any]) -> str:
    """`claude-opus-4-5@20251101` where its version is a date, else the name alone."""
    name, version = str(row.get("name") or "").rpartition("/")[2], str(row.get("versionId") or "")
    return f"{name}@{version}" if name.startswith("claude") and version.isdigit() else name


def _is_wanted(name: str) -> bool:
    """What can be asked for text: the list has models of every other kind too."""
    return name.startswith(("gemini", "claude")) and is_chat_model(name) and "embed" not in name
