"""Models at Amazon Bedrock, by AWS's addresses, signatures and streams: Anthropic's in its words, others in AWS's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anthropic
import orjson

from core.time import now
from providers.catalog import ModelInfo, describe, is_chat_model
from providers.clients import anthropic_wire, converse_wire
from providers.clients.anthropic import INTERLEAVED, LIST_TIMEOUT_S, sdk_for, thinks_between
from providers.clients.anthropic_read import MessagesReader
from providers.clients.aws import Signer, carried_payloads, event_payloads
from providers.clients.base import Batch, Credential
from providers.clients.converse_read import ConverseReader
from providers.clients.reading import said
from providers.clients.transport import Answer, LastBody, Transport
from providers.errors import BadRequest
from providers.events import ModelEvent
from providers.types import ModelRequest

VERSION = "bedrock-2023-05-31"
MOST_TEXTS = 96  # of Cohere in one request
_KINDS = {"TEXT", "EMBEDDING"}


def body(request: ModelRequest) -> bytes:
    """Model and streaming are in the address; Bedrock takes no word about the end user."""
    wire = anthropic_wire.wire(request)
    for name in ("model", "stream", "metadata"):
        wire.pop(name, None)
    if thinks_between(request):
        wire["anthropic_beta"] = [INTERLEAVED]
    return orjson.dumps({"anthropic_version": VERSION, **wire})


class Bedrock:
    """One credential: an access key with its secret, or an API key of Bedrock alone; and a region."""

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

    def _url(self, model: str, deed: str) -> str:
        return f"{self._runtime}/model/{quote(model, safe=':')}/{deed}"

    def _opened(self, url: str, content: bytes, timeout_s: float) -> Answer:
        return self.transport.stream(url, content, timeout_s, self._signed("POST", url, content))

    def _asked(self, path: str) -> Any:
        url = self._lists + path
        return self.transport.get(url, LIST_TIMEOUT_S, self._signed("GET", url, b""))

    def list_models(self) -> list[ModelInfo]:
        """Models that are called by themselves, and the profiles by which newer ones must be called."""
        rows = [row for row in self._asked("/foundation-models").get("modelSummaries") or () if _is_wanted(row)]
        profiles = self._asked("/inference-profiles?maxResults=1000").get("inferenceProfileSummaries") or ()
        known = {row["modelId"] for row in rows}
        labels = {row["modelId"]: row.get("modelName") for row in rows if _is_direct(row)}
        for row in profiles:
            name = str(row.get("inferenceProfileId") or "")
            if name.partition(".")[2] in known:  # `us.`, `eu.`, `global.` before a model's own name
                labels[name] = row.get("inferenceProfileName")
        return [describe("bedrock", name, display_name=label or "") for name, label in labels.items()]

    def close(self) -> None:
        self.transport.close()


def _is_wanted(row: Mapping[str, Any]) -> bool:
    """What text is asked of, or vectors for it."""
    kinds = row.get("outputModalities")
    return bool(row.get("modelId")) and is_chat_model(row["modelId"]) and (not kinds or bool({*kinds} & _KINDS))


def _is_direct(row: Mapping[str, Any]) -> bool:
    kinds = row.get("inferenceTypesSupported")
    return kinds is None or "ON_DEMAND" in kinds


class AnthropicAtBedrock(Bedrock):
    """Anthropic's Messages, which know more of its models than Converse does."""

    dialect = anthropic_wire.DIALECT

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, body)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        content = self.request_body(request)
        url = self._url(request.model, "invoke-with-response-stream")
        answer = self._opened(url, content, request.timeout_s)
        yield from said(MessagesReader(len(content)), answer, self._credential.api_key, carried_payloads)


class ConverseAtBedrock(Bedrock):
    """Every model, by Converse. What a model refused to do is remembered, and left out from then on."""

    dialect = converse_wire.DIALECT

    def __init__(self, credential: Credential) -> None:
        super().__init__(credential)
        self._without: dict[str, frozenset[str]] = {}

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(
            request, lambda asked: converse_wire.body(asked, self._without.get(asked.model, frozenset()))
        )

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        answer = self._answer(request)
        reader = ConverseReader(len(self.request_body(request)))
        yield from said(reader, answer, self._credential.api_key, event_payloads)

    def batch(self, model: str) -> Batch:
        return Batch(texts=MOST_TEXTS) if "cohere." in model else Batch(texts=1)

    def vectors(self, model: str, texts: Sequence[str], timeout_s: float) -> tuple[list[Any], int | None]:
        """By InvokeModel, for which Titan's and Cohere's models have forms of their own."""
        if not any(name in model for name in ("amazon.titan-embed", "cohere.embed")):
            raise BadRequest(
                f"'{model}' is no embedding model of Bedrock that is known here: Titan's and Cohere's are."
            )
        cohere = {
            "texts": list(texts),
            "input_type": "search_document",
            "embedding_types": ["float"],
            "truncate": "END",
        }
        content = orjson.dumps(cohere if "cohere." in model else {"inputText": texts[0]})
        url = self._url(model, "invoke")
        raw = self.transport.post(url, content, timeout_s, self._signed("POST", url, content))
        raw = raw if isinstance(raw, dict) else {}
        found = raw.get("embeddings")
        if "cohere." in model:
            return (found.get("float") if isinstance(found, dict) else found) or [], None
        return [raw.get("embedding")], raw.get("inputTextTokenCount")

    def _answer(self, request: ModelRequest) -> Answer:
        """Refusals of what a request can do without come one after another: as many as there are kinds of them."""
        while True:
            without = self._without.get(request.model, frozenset())
            in_whole = bool(request.tools) and converse_wire.STREAMING_TOOLS in without
            in_whole = in_whole or converse_wire.STREAMING in without
            url = self._url(request.model, "converse" if in_whole else "converse-stream")
            try:
                return self._opened(url, self.request_body(request), request.timeout_s)
            except BadRequest as error:
                what = converse_wire.refused(error.message)
                if what is None or what in without:
                    raise
                self._without[request.model] = without | {what}
                self._last.request = None
