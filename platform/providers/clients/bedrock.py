"""Anthropic's models at Amazon Bedrock: the same messages, by AWS's addresses, signatures and streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anthropic
import orjson

from core.time import now
from providers.catalog import ModelInfo, describe
from providers.clients import anthropic_wire
from providers.clients.anthropic import INTERLEAVED, LIST_TIMEOUT_S, sdk_for, thinks_between
from providers.clients.anthropic_read import MessagesReader
from providers.clients.aws import Signer, bedrock_payloads
from providers.clients.base import Credential
from providers.clients.reading import said
from providers.clients.transport import LastBody, Transport
from providers.errors import BadRequest
from providers.events import ModelEvent
from providers.types import ModelRequest

VERSION = "bedrock-2023-05-31"
_LISTS = (
    ("/foundation-models?byOutputModality=TEXT&byProvider=anthropic", "modelSummaries", "modelId", "modelName"),
    ("/inference-profiles?maxResults=1000", "inferenceProfileSummaries", "inferenceProfileId", "inferenceProfileName"),
)


def body(request: ModelRequest) -> bytes:
    """Model and streaming are in the address; Bedrock takes no word about the end user."""
    wire = anthropic_wire.wire(request)
    for name in ("model", "stream", "metadata"):
        wire.pop(name, None)
    if thinks_between(request):
        wire["anthropic_beta"] = [INTERLEAVED]
    return orjson.dumps({"anthropic_version": VERSION, **wire})


class AnthropicAtBedrock:
    """One credential: an access key with its secret, or an API key of Bedrock alone; and a region."""

    dialect = anthropic_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        if not credential.region:
            raise BadRequest("Provider type 'bedrock' needs its region, such as us-east-1.")
        self._credential = credential
        runtime = f"https://bedrock-runtime.{credential.region}.amazonaws.com"
        self._runtime = (credential.base_url or runtime).rstrip("/")
        self._lists = (credential.base_url or f"https://bedrock.{credential.region}.amazonaws.com").rstrip("/")
        headers = dict(credential.headers)
        self._signer = Signer(credential.access_key, credential.api_key, credential.region, "bedrock", headers)
        sdk: Any = sdk_for(replace(credential, base_url=self._runtime))
        without = {"X-Api-Key": anthropic.Omit()}
        self.transport = Transport(sdk, anthropic, credential.api_key, without)  # type: ignore[arg-type]
        self._last = LastBody()

    def _signed(self, method: str, url: str, content: bytes) -> dict[str, str]:
        if not self._credential.access_key:
            return {"Authorization": f"Bearer {self._credential.api_key}"}
        return self._signer.sign(method, url, content, now())

    def request_body(self, request: ModelRequest) -> bytes:
        if self._last.request is request:
            return self._last.body
        return self._last.keep(request, body(request))

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        content = self.request_body(request)
        url = f"{self._runtime}/model/{quote(request.model, safe=':')}/invoke-with-response-stream"
        headers = self._signed("POST", url, content)
        answer = self.transport.stream(url, content, request.timeout_s, headers)
        yield from said(MessagesReader(len(content)), answer, self._credential.api_key, bedrock_payloads)

    def list_models(self) -> list[ModelInfo]:
        """Models that are called by themselves, and the profiles by which newer ones must be called."""
        found: dict[str, ModelInfo] = {}
        for path, rows, name, label in _LISTS:
            url = self._lists + path
            raw = self.transport.get(url, LIST_TIMEOUT_S, self._signed("GET", url, b""))
            for row in raw.get(rows) or ():
                if "anthropic." in str(row.get(name)) and _is_direct(row):
                    info = describe(self._credential.provider_type, row[name], display_name=row.get(label) or "")
                    found[row[name]] = info
        return list(found.values())

    def close(self) -> None:
        self.transport.close()


def _is_direct(row: dict[str, Any]) -> bool:
    kinds = row.get("inferenceTypesSupported")
    return kinds is None or "ON_DEMAND" in kinds
