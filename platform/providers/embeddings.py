"""Texts to vectors: by an OpenAI-compatible server, by a small model in this process, or by hashing (tests)."""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import orjson

from providers.catalog import preset_of
from providers.clients.base import Credential, client_for
from providers.errors import BadRequest, BadResponse
from providers.hashing import hashed
from providers.usage import Usage
from providers.usage_extract import BYTES_PER_TOKEN

if TYPE_CHECKING:
    from providers.clients.openai_chat import OpenAIChat
    from providers.minilm import MiniLM

TIMEOUT_S = 60.0
BATCH = 256
SPOKEN = ("openai_chat", "google")  # Google has a door for OpenAI's form beside its own
_model_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One vector per text, in their order. `usage.output` is always 0."""

    vectors: list[list[float]]
    usage: Usage = field(default_factory=Usage)


def embed(texts: Sequence[str], *, credential: Credential, model: str) -> Embedded:
    """Raises ProviderError."""
    if not texts:
        return Embedded(vectors=[])
    if credential.provider_type == "scripted":
        vectors = [hashed(text) for text in texts]
        return Embedded(vectors=vectors, usage=Usage(input=sum(len(t.encode()) // BYTES_PER_TOKEN + 1 for t in texts)))
    if credential.provider_type == "minilm":
        return _local(texts, credential.base_url or "")
    if preset_of(credential.provider_type).dialect not in SPOKEN or credential.provider_type == "google_vertex":
        raise BadRequest(f"Provider type '{credential.provider_type}' has no embedding models.")
    return _remote(texts, credential, model)


def _local(texts: Sequence[str], directory: str) -> Embedded:
    loaded = _loaded(directory)
    vectors, tokens = loaded.embed(texts)
    return Embedded(vectors=vectors, usage=Usage(input=tokens))


def _loaded(directory: str) -> MiniLM:
    with _model_lock:
        return _load(directory)


@lru_cache(maxsize=2)
def _load(directory: str) -> MiniLM:
    from providers.minilm import MiniLM

    return MiniLM(directory)


def _client(credential: Credential) -> OpenAIChat:
    """The credential's own: the same connections, the same end."""
    return cast("OpenAIChat", client_for(replace(credential, dialect="openai_chat")))


def _remote(texts: Sequence[str], credential: Credential, model: str) -> Embedded:
    vectors: list[list[float]] = []
    usage = Usage()
    client = _client(credential)
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        # servers refuse an empty text; a blank one stands for it
        body = orjson.dumps({"model": model, "input": [text or " " for text in batch]})
        raw = client.transport.post(client.route(model, "/embeddings"), body, TIMEOUT_S)
        vectors += _vectors(raw, len(batch))
        usage += _usage(raw, len(body))
    return Embedded(vectors=vectors, usage=usage)


def _vectors(raw: Any, count: int) -> list[list[float]]:
    rows = raw.get("data") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or len(rows) != count:
        raise BadResponse(f"The provider gave {len(rows or ())} embeddings for {count} texts.")
    if all(isinstance(row.get("index"), int) for row in rows):
        rows = sorted(rows, key=lambda row: row["index"])
    vectors = [_floats(row.get("embedding")) for row in rows]
    if len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        raise BadResponse("The provider's embeddings are empty or differ in size.")
    return vectors


def _floats(value: Any) -> list[float]:
    if isinstance(value, str):
        data = base64.b64decode(value)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return value if isinstance(value, list) else []


def _usage(raw: Any, sent_bytes: int) -> Usage:
    counts = raw.get("usage") or {}
    tokens = counts.get("prompt_tokens") or counts.get("total_tokens")
    if isinstance(tokens, int):
        return Usage(input=tokens)
    return Usage(input=-(-sent_bytes // BYTES_PER_TOKEN), estimated=True)
