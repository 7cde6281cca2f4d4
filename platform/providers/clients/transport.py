"""One vendor's SDK as a pipe: bytes out, bytes in, its exceptions turned into ours.

The SDKs give authentication, headers, URLs and errors. Their models are left out of the hot path: a request's body is
serialised before it gets here, and a stream is read as bytes.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2
import orjson

from providers.addresses import ForbiddenAddress
from providers.clients.failures import failure, scrub
from providers.clients.guard import guard
from providers.errors import BadRequest, BadResponse, ConnectionFailed, ProviderError, StreamInterrupted, Timeout

LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=55.0)
CONNECT_S = 10.0
STALE_S = 0.5
_JSON = {"Content-Type": "application/json"}

Request = TypeVar("Request")


class SdkErrors(Protocol):
    """The exception classes that both SDKs name alike."""

    APIStatusError: type[Any]
    APITimeoutError: type[Exception]
    APIConnectionError: type[Exception]


@cache
def tls() -> ssl.SSLContext:
    """One for all clients: reading the certificate authorities takes 20 ms and a megabyte."""
    return httpx2.create_ssl_context()


def http_client(*, public_only: bool = False) -> httpx2.Client:
    """Redirects are not followed: a key must not travel to where the operator did not point."""
    client = httpx2.Client(
        verify=tls(), limits=LIMITS, timeout=httpx2.Timeout(60.0, connect=CONNECT_S), follow_redirects=False
    )
    return guard(client) if public_only else client


def origin(url: str) -> str:
    """`scheme://host:port` of a URL, without credentials and path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


class Answer:
    """A stream that the server has begun."""

    def __init__(self, response: httpx2.Response, transport: Transport, timeout_s: float) -> None:
        self._response = response
        self._transport = transport
        self._timeout_s = timeout_s
        self.started = False
        self.complete = False

    def chunks(self) -> Iterator[bytes]:
        """Bytes as they come; breaks are ConnectionFailed before the first event was shown, StreamInterrupted after.

        To be read to the end also when the answer is `complete`: only then is the connection kept for the next call.
        """
        try:
            yield from self._response.iter_bytes()
        except httpx2.TimeoutException:
            if self.complete:
                return
            raise self.broken(f"The model sent nothing for {self._timeout_s:g} seconds.", Timeout) from None
        except httpx2.HTTPError as error:
            if self.complete:
                return
            text = self._transport.scrubbed(str(error)) or type(error).__name__
            raise self.broken(f"The connection to the provider broke: {text}", ConnectionFailed) from None

    def broken(self, text: str, kind: type[ProviderError]) -> ProviderError:
        return StreamInterrupted(text) if self.started else kind(text)

    @property
    def content_type(self) -> str:
        return str(self._response.headers.get("content-type", ""))

    def close(self) -> None:
        self._response.close()


class Transport:
    """`sdk` is an OpenAI or Anthropic client; `errors` its module; `headers` go with every request.

    `last_headers`: of the last answer, whichever thread it came to; `providers.headroom` reads the limits in them.
    """

    def __init__(self, sdk: Any, errors: SdkErrors, secret: str, headers: Mapping[str, Any] | None = None) -> None:
        self._sdk = sdk
        self._headers = {**_JSON, **(headers or {})}
        self._errors = errors
        self._secret = secret
        self._timeouts: dict[float, httpx2.Timeout] = {}
        self.last_headers: Mapping[str, str] = {}

    @property
    def base_url(self) -> str:
        return str(self._sdk.base_url)

    def scrubbed(self, text: str) -> str:
        return scrub(text, self._secret)

    def _options(self, timeout_s: float, headers: Mapping[str, str] | None) -> dict[str, Any]:
        timeout = self._timeouts.get(timeout_s)
        if timeout is None:
            timeout = httpx2.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s))
            self._timeouts[timeout_s] = timeout
        return {"timeout": timeout, "headers": {**self._headers, **headers} if headers else self._headers}

    def stream(self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None) -> Answer:
        """POST `body` and return once the status is known."""
        options = self._options(timeout_s, headers)
        return Answer(
            self._sent(self._sdk.post, path, timeout_s, content=body, stream=True, options=options), self, timeout_s
        )

    def post(
        self, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None, *, once: bool = False
    ) -> Any:
        """POST `body` and parse the whole answer. `once`: never sent a second time, whatever happens to the first."""
        options = self._options(timeout_s, headers)
        send = self._sent_once if once else self._sent
        return self._parsed(send(self._sdk.post, path, timeout_s, content=body, options=options))

    def upload(self, path: str, fields: Mapping[str, str], file: tuple[str, bytes], timeout_s: float) -> Any:
        """POST a form with one file, (name, contents); parse the whole answer."""
        options = self._options(timeout_s, {"Content-Type": "multipart/form-data"})
        form = {"body": dict(fields), "files": [("file", file)], "options": options}
        return self._parsed(self._sent(self._sdk.post, path, timeout_s, **form))

    def content(self, path: str, timeout_s: float) -> bytes:
        """GET a file as it is."""
        return self._sent(self._sdk.get, path, timeout_s, options=self._options(timeout_s, None)).content

    def get(
        self,
        path: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Any:
        """`params` go before the SDK's own of the same name."""
        options = self._options(timeout_s, headers)
        if params:
            options["params"] = dict(params)
        return self._parsed(self._sent(self._sdk.get, path, timeout_s, options=options))

    def _sent(self, method: Callable[..., httpx2.Response], path: str, timeout_s: float, **how: Any) -> httpx2.Response:
        """The response to a request. It is sent once more over a new connection if the kept one proves to be closed.

        A server may close a kept connection just as it is used again (llama.cpp does, often). Then it fails at once,
        without a byte of an answer, and the request was never read: as every browser does, it is repeated.
        """
        started = time.monotonic()
        try:
            return self._kept(method(path, cast_to=httpx2.Response, **how))
        except self._errors.APIConnectionError as error:
            gone = isinstance(error.__cause__, (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError))
            if not gone or time.monotonic() - started > STALE_S:
                raise self._mapped(error, timeout_s) from None
        except Exception as error:
            raise self._mapped(error, timeout_s) from None
        return self._sent_once(method, path, timeout_s, **how)

    def _sent_once(
        self, method: Callable[..., httpx2.Response], path: str, timeout_s: float, **how: Any
    ) -> httpx2.Response:
        try:
            return self._kept(method(path, cast_to=httpx2.Response, **how))
        except Exception as error:
            raise self._mapped(error, timeout_s) from None

    def _kept(self, response: httpx2.Response) -> httpx2.Response:
        self.last_headers = response.headers
        return response

    def close(self) -> None:
        self._sdk.close()

    def _parsed(self, response: httpx2.Response) -> Any:
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise BadResponse(
                f"The provider's answer is not JSON: {self.scrubbed(response.text[:200])}",
                upstream_status=response.status_code,
            ) from None

    def _mapped(self, error: Exception, timeout_s: float) -> Exception:
        """Our error for one that the SDK raised; anything that is not the SDK's own is given back as it is."""
        if isinstance(error, self._errors.APIStatusError):
            response = self._kept(error.response)
            return failure(response.status_code, response.content, response.headers, self._secret)
        if isinstance(error, self._errors.APITimeoutError):
            return Timeout(f"The provider at {origin(self.base_url)} did not answer within {timeout_s:g} s.")
        for refusal in (error, error.__cause__):  # one SDK wraps it, another does not
            if isinstance(refusal, ForbiddenAddress):
                return BadRequest(str(refusal))
        if isinstance(error, self._errors.APIConnectionError):
            return ConnectionFailed(f"Cannot reach the provider at {origin(self.base_url)}: {self._reason(error)}")
        return error

    @staticmethod
    def _reason(error: Exception) -> str:
        cause = error.__cause__
        if cause is None or isinstance(cause, httpx2.LocalProtocolError):
            return "the request could not be sent (does the key hold a character that a header cannot?)"
        return str(cause) or type(cause).__name__


class LastBody(threading.local):
    """The last request of this thread and the bytes it was sent as, so that a trace need not make them again."""

    request: object = None
    body: bytes = b""

    def of(self, request: Request, make: Callable[[Request], bytes]) -> bytes:
        """The bytes of a request, made where it is not the last one."""
        return self.body if self.request is request else self.keep(request, make(request))

    def keep(self, request: object, body: bytes) -> bytes:
        self.request, self.body = request, body
        return body
