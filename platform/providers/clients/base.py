"""What a provider client is, what it is opened with, and which one speaks for a provider type.

A client is: to the wire, from the wire, map the errors. Retry, metering, pricing and tracing wrap it from outside.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any, Protocol, cast
from urllib.parse import unquote, urlsplit

from providers.catalog import ModelInfo, preset_of
from providers.errors import BadRequest
from providers.events import ModelEvent
from providers.fingerprints import key_name, masked
from providers.types import ModelRequest

NATIVE, CONSTRAINED = "native", "constrained"
MAX_CLIENTS = 1000
OPEN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
SHORTEST_SECRET = 6  # less could be any word


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """How to reach one provider. `headers` are sent with every call; `dialect` overrides the provider type's own.

    `public_only`: the address was named by a tenant, so it must not lead into the operator's network.
    `access_key` is the public half of a key that has two (AWS); `api_key` is then the secret one.
    """

    provider_type: str
    api_key: str = field(default="", repr=False)
    access_key: str = field(default="", repr=False)
    base_url: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    region: str | None = None
    project: str | None = None
    api_version: str | None = None
    dialect: str | None = None
    public_only: bool = False

    @property
    def fingerprint(self) -> str:
        return masked(self.access_key or key_name(self.api_key), self.provider_type)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may stand in no trace: the key, what headers carry, what is secret in the address."""
        return _secrets_of(self)


@lru_cache(maxsize=MAX_CLIENTS)
def _secrets_of(credential: Credential) -> tuple[str, ...]:
    found = {credential.api_key, credential.access_key}
    found |= {*(value for name, value in credential.headers if name.lower() not in OPEN_HEADERS)}
    parts = urlsplit(credential.base_url or "")
    written = [*parts.netloc.rpartition("@")[0].split(":", 1), *(p.partition("=")[2] for p in parts.query.split("&"))]
    found |= {form for value in written for form in (value, unquote(value))}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST_SECRET), key=lambda s: (-len(s), s)))


class Client(Protocol):
    """One provider, one credential. Safe to share between threads."""

    dialect: str

    def stream(self, request: ModelRequest) -> Iterator[ModelEvent]:
        """Events of one call, as they come; the last is `Finished`. Raises ProviderError. Closing it hangs up."""
        ...

    def list_models(self) -> list[ModelInfo]:
        """What the server offers now; handles and provider names are left to the caller. Raises ProviderError."""
        ...

    def request_body(self, request: ModelRequest) -> bytes:
        """The JSON that `stream` sends (in the same thread: the very bytes of the last call, if it was this one)."""
        ...

    def close(self) -> None:
        """Give the connections back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How much one request for vectors may hold: texts, and their bytes together."""

    texts: int
    size: int = 2**30


class MakesVectors(Protocol):
    """A client that has a way of its own to embedding models."""

    def batch(self, model: str) -> Batch: ...

    def vectors(self, model: str, texts: Sequence[str], timeout_s: float) -> tuple[list[Any], int | None]:
        """(a vector for each text, the tokens where the vendor counted them). Raises ProviderError."""
        ...


ClientFactory = Callable[[Credential], Client]

_DIALECTS: dict[str, str] = {
    "openai_chat": "providers.clients.openai_chat:OpenAIChat",
    "openai_responses": "providers.clients.openai_responses:OpenAIResponses",
    "anthropic": "providers.clients.anthropic:AnthropicMessages",
    "google": "providers.clients.google:GoogleGemini",
    "converse": "providers.clients.bedrock:ConverseAtBedrock",
    "scripted": "providers.clients.scripted:Scripted",
}
# Where a platform has another vendor's models, and speaks that one's dialect by doors of its own.
_PLATFORMS: dict[tuple[str, str], str] = {
    ("bedrock", "anthropic"): "providers.clients.bedrock:AnthropicAtBedrock",
    ("azure", "openai_chat"): "providers.clients.azure:AzureChat",
    ("google_vertex", "anthropic"): "providers.clients.vertex:AnthropicAtVertex",
    ("google_vertex", "google"): "providers.clients.vertex:GeminiAtVertex",
}
_clients: dict[tuple[Credential, str], Client] = {}
_lock = threading.Lock()


def register(dialect: str, dotted_path: str) -> None:
    """Make `module:Class` the client of a dialect."""
    _DIALECTS[dialect] = dotted_path


def load(dotted_path: str) -> ClientFactory:
    module, _, name = dotted_path.partition(":")
    return cast(ClientFactory, getattr(import_module(module), name))


def dialect_of(credential: Credential) -> str:
    dialect = credential.dialect or preset_of(credential.provider_type).dialect
    if dialect not in _DIALECTS:
        raise BadRequest(f"No client speaks for provider type '{credential.provider_type}' yet.")
    return dialect


def client_for(credential: Credential, *, tool_mode: str = NATIVE) -> Client:
    """The process's client of a credential, made at its first use; its connections are kept."""
    key = (credential, tool_mode)
    client = _clients.get(key)
    if client is not None:
        return client
    dialect = dialect_of(credential)
    if tool_mode == CONSTRAINED and dialect == "openai_chat":
        made = load("providers.clients.constrained:Constrained")(credential)
    elif tool_mode == CONSTRAINED:
        return client_for(credential)
    else:
        made = load(_PLATFORMS.get((credential.provider_type, dialect)) or _DIALECTS[dialect])(credential)
    with _lock:
        while len(_clients) >= MAX_CLIENTS:  # the oldest is dropped, not closed: a thread may be in it
            _clients.pop(next(iter(_clients)))
        return _clients.setdefault(key, made)


def close_all() -> None:
    """Close every client (the process ends)."""
    with _lock:
        while _clients:
            _clients.popitem()[1].close()


atexit.register(close_all)


def warm_up(*credentials: Credential) -> None:
    """Pay the imports of the vendors' SDKs now, not in the first call."""
    for credential in credentials:
        client_for(credential)
