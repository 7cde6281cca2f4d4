"""Google's and Anthropic's models at Vertex AI: the same words, by a project's addresses and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anthropic
import orjson

from providers.catalog import ModelInfo, describe, is_chat_model
from providers.clients import anthropic_wire
from providers.clients.anthropic import INTERLEAVED, LIST_TIMEOUT_S, sdk_for, thinks_between
from providers.clients.anthropic_read import MessagesReader
from providers.clients.base import Batch, Credential
from providers.clients.google import Errors, Gemini, HttpPipe
from providers.clients.google_cloud import Project
from providers.clients.reading import said
from providers.clients.transport import Answer, LastBody, Transport, http_client
from providers.errors import AuthenticationFailed, BadRequest
from providers.events import Finished, ModelEvent
from providers.types import ModelRequest

VERSION = "vertex-2023-10-16"
MOST_PAGES = 10
# Of one request: 250 texts and 20,000 tokens (Google, "Text embeddings API"), which so many bytes of text stay below.
MOST_TEXTS, MOST_TEXT_BYTES = 250, 40_000
_WANTED = ("gemini", "claude", "text-embedding", "text-multilingual-embedding")


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
        return self._last.of(request, body)

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


class GeminiAtVertex(Gemini):
    """At Vertex AI. Its list has Anthropic's models too, where the project may see them."""

    def __init__(self, credential: Credential) -> None:
        self._project = Project(credential)
        pipe = HttpPipe(http_client(public_only=credential.public_only), "", dict(credential.headers))
        super().__init__(credential, Transport(pipe, Errors(), credential.api_key))

    def _opened(self, request: ModelRequest, body: bytes) -> Answer:
        model = quote(request.model, safe="@")
        url = f"{self._project.publishers}/google/models/{model}:streamGenerateContent?alt=sse"
        return self.transport.stream(url, body, request.timeout_s, self._project.headers())

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        yield from _placed(super().stream(request), self._project.place)

    def batch(self, model: str) -> Batch:
        return Batch(texts=1) if model.startswith("gemini") else Batch(texts=MOST_TEXTS, size=MOST_TEXT_BYTES)

    def vectors(self, model: str, texts: Sequence[str], timeout_s: float) -> tuple[list[Any], int | None]:
        """By `predict`; Gemini's models after the first one by `embedContent` alone."""
        newer = model.startswith("gemini") and not model.startswith("gemini-embedding-001")
        sent: dict[str, Any] = {"instances": [{"content": text} for text in texts]}
        if newer:
            sent = {"content": {"parts": [{"text": texts[0]}]}}
        deed = "embedContent" if newer else "predict"
        url = f"{self._project.publishers}/google/models/{quote(model, safe='@')}:{deed}"
        raw = self.transport.post(url, orjson.dumps(sent), timeout_s, self._project.headers())
        raw = raw if isinstance(raw, dict) else {}
        if newer:
            return [(raw.get("embedding") or {}).get("values")], (raw.get("usageMetadata") or {}).get(
                "promptTokenCount"
            )
        rows = [row.get("embeddings") or {} for row in raw.get("predictions") or ()]
        counted = [(row.get("statistics") or {}).get("token_count") for row in rows]
        counts = [int(count) for count in counted if isinstance(count, int | float)]
        return [row.get("values") for row in rows], sum(counts) if len(counts) == len(rows) else None

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
    """What can be asked for text, or vectors for it: the list has models of every other kind too."""
    return name.startswith(_WANTED) and is_chat_model(name)
