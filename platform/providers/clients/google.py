"""Google's Gemini, by generateContent."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx2
from google.genai import Client as Sdk
from google.genai.errors import APIError
from google.genai.types import HttpOptions

from providers.catalog import ModelInfo, describe, is_chat_model, preset_of
from providers.clients import google_wire
from providers.clients.base import Credential
from providers.clients.google_read import GeminiReader
from providers.clients.reading import said
from providers.clients.transport import Answer, LastBody, Transport, http_client, tls
from providers.errors import AuthenticationFailed, BadRequest
from providers.events import ModelEvent
from providers.types import ModelRequest

LIST_TIMEOUT_S = 15.0
MOST_PAGES = 10
VERSION = "v1beta"
_REFUSED_SIGNATURE = re.compile(
    r"(invalid|corrupted) thought[ _]?signature|thought[ _]?signature is not valid", re.IGNORECASE
)


class Unreachable(Exception):
    """No answer; the cause says why."""


class TimedOut(Exception):
    """No answer in time."""


class Errors:
    """What the SDK raises, and what it leaves to its HTTP client, by the names of the other SDKs."""

    APIStatusError: type[Any] = APIError
    APITimeoutError: type[Exception] = TimedOut
    APIConnectionError: type[Exception] = Unreachable


def normalized(base_url: str) -> str:
    """A base URL as a person may give it, as the SDK wants it: also that of the OpenAI-compatible door."""
    url = base_url.strip().rstrip("/").removesuffix("/openai").removesuffix("/models")
    url = url.removesuffix(f"/{VERSION}").rstrip("/")
    return url if "://" in url else f"https://{url}"


class HttpPipe:
    """The two methods that a Transport calls, by an HTTP client: `base_url` may be empty where addresses are whole."""

    def __init__(self, http: httpx2.Client, base_url: str, headers: Mapping[str, str]) -> None:
        self._http = http
        self.base_url = base_url
        self._headers = dict(headers)

    def post(
        self, path: str, *, content: bytes, options: Mapping[str, Any], cast_to: type, stream: bool = False
    ) -> httpx2.Response:
        return self._sent("POST", path, options, content, stream=stream)

    def get(self, path: str, *, options: Mapping[str, Any], cast_to: type) -> httpx2.Response:
        return self._sent("GET", path, options, None, stream=False)

    def _sent(
        self, method: str, path: str, options: Mapping[str, Any], content: bytes | None, *, stream: bool
    ) -> httpx2.Response:
        headers = {**self._headers, **options["headers"]}
        try:
            request = self._http.build_request(
                method, self.base_url + path, content=content, headers=headers, timeout=options["timeout"]
            )
            response = self._http.send(request, stream=stream)
            if response.status_code != httpx2.codes.OK:
                response.read()
        except UnicodeError:
            raise Unreachable from None
        except httpx2.TimeoutException as error:
            raise TimedOut from error
        except httpx2.HTTPError as error:
            raise Unreachable from error
        try:
            APIError.raise_for_response(response)
        except APIError:
            response.close()
            raise
        return response

    def close(self) -> None:
        self._http.close()


class Pipe(HttpPipe):
    """With the address and headers of Google's SDK."""

    def __init__(self, credential: Credential) -> None:
        """Nothing of this process's environment is added to a tenant's calls: whatever the SDK would read is given."""
        http = http_client(public_only=credential.public_only)
        base_url = credential.base_url or preset_of(credential.provider_type).base_url or ""
        options = HttpOptions(
            base_url=normalized(base_url),
            api_version=credential.api_version or VERSION,
            headers=dict(credential.headers),
            httpx_client=http,
            async_client_args={"verify": tls(), "ssl": tls()},
        )
        self._sdk = Sdk(vertexai=False, api_key=credential.api_key or "none", http_options=options)
        try:
            built = self._sdk._api_client._build_request("get", "models", {})
        except ValueError as error:
            http.close()
            raise AuthenticationFailed(f"This key cannot be used here: {error}") from None
        super().__init__(http, built.url.removesuffix("/models"), dict(built.headers))

    def close(self) -> None:
        self._sdk.close()
        super().close()


class Gemini(ABC):
    """One credential at one of the doors to Gemini."""

    dialect = google_wire.DIALECT

    def __init__(self, credential: Credential, transport: Transport) -> None:
        self._credential = credential
        self.transport = transport
        self._last = LastBody()

    @abstractmethod
    def _opened(self, request: ModelRequest, body: bytes) -> Answer:
        """The answer that a request is given; its status is known."""

    def request_body(self, request: ModelRequest) -> bytes:
        return self._last.of(request, google_wire.body)

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        """Signatures that are refused (another project's, or of Vertex) are left out, and it is asked once more."""
        body = self.request_body(request)
        try:
            answer = self._opened(request, body)
        except BadRequest as error:
            if not _REFUSED_SIGNATURE.search(error.message):
                raise
            body = self._last.keep(request, google_wire.body(request, signed=False))
            answer = self._opened(request, body)
        yield from said(GeminiReader(len(body)), answer, self._credential.api_key)

    def close(self) -> None:
        self.transport.close()


class GoogleGemini(Gemini):
    """At the Gemini API, by a key."""

    def __init__(self, credential: Credential) -> None:
        super().__init__(credential, Transport(Pipe(credential), Errors(), credential.api_key))

    def _opened(self, request: ModelRequest, body: bytes) -> Answer:
        path = f"/models/{quote(request.model, safe='')}:streamGenerateContent?alt=sse"
        return self.transport.stream(path, body, request.timeout_s)

    def list_models(self) -> list[ModelInfo]:
        found: list[ModelInfo] = []
        page = ""
        for _ in range(MOST_PAGES):
            raw = self.transport.get(f"/models?pageSize=1000{page}", LIST_TIMEOUT_S)
            found += [self._info(row) for row in raw.get("models") or () if _is_wanted(row)]
            if not raw.get("nextPageToken"):
                break
            page = f"&pageToken={quote(raw['nextPageToken'], safe='')}"
        return found

    def _info(self, row: dict[str, Any]) -> ModelInfo:
        info = describe(
            self._credential.provider_type,
            _name(row),
            context=row.get("inputTokenLimit"),
            display_name=row.get("displayName") or "",
        )
        if info.kind == "embedding":
            return info
        return replace(info, max_output_tokens=row.get("outputTokenLimit") or info.max_output_tokens)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or "").removeprefix("models/")


def _is_wanted(row: Mapping[str, Any]) -> bool:
    """What can be asked for text or vectors; a list that does not say is taken at its word."""
    methods = row.get("supportedGenerationMethods")
    known = methods is None or "generateContent" in methods or "embedContent" in methods
    return known and bool(_name(row)) and is_chat_model(_name(row))
