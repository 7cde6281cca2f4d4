"""Texts to vectors: by OpenAI's form, a platform's own, a small model in this process, or by hashing (tests)."""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import orjson

from providers.catalog import preset_of
from providers.clients.base import Batch, Credential, MakesVectors, client_for
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
# Platforms with a form of their own, and the dialect of the client that knows it.
_OWN_WAYS = {"google_vertex": "google", "bedrock": "converse"}
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
    if credential.provider_type in _OWN_WAYS:
        return _by_own_way(texts, credential, model)
    if preset_of(credential.provider_type).dialect not in SPOKEN:
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


def _by_own_way(texts: Sequence[str], credential: Credential, model: str) -> Embedded:
    vectors: list[list[float]] = []
    usage = Usage()
    client = cast("MakesVectors", client_for(replace(credential, dialect=_OWN_WAYS[credential.provider_type])))
    for batch in _batches([text or " " for text in texts], client.batch(model)):
        found, tokens = client.vectors(model, batch, TIMEOUT_S)
        vectors += _checked(found, len(batch))
        usage += _counted(tokens, sum(len(text.encode()) for text in batch))
    return Embedded(vectors=_alike(vectors), usage=usage)


def _batches(texts: Sequence[str], most: Batch) -> Iterator[list[str]]:
    """In their order; a text that is too large by itself is sent alone, for the vendor to cut."""
    batch: list[str] = []
    size = 0
    for text in texts:
        more = len(text.encode())
        if batch and (len(batch) >= most.texts or size + more > most.size):
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += more
    yield batch


def _vectors(raw: Any, count: int) -> list[list[float]]:
    rows = _checked(raw.get("data") if isinstance(raw, dict) else None, count)
    if all(isinstance(row.get("index"), int) for row in rows):
        rows = sorted(rows, key=lambda row: row["index"])
    return _alike([_floats(row.get("embedding")) for row in rows])


def _checked(rows: Any, count: int) -> list[Any]:
    if not isinstance(rows, list) or len(rows) != count:
        raise BadResponse(f"The provider gave {len(rows or ())} embeddings for {count} texts.")
    return rows


def _alike(vectors: list[Any]) -> list[list[float]]:
    if len({len(vector or ()) for vector in vectors}) != 1 or not vectors[0]:
        raise BadResponse("The provider's embeddings are empty or differ in size.")
    return vectors


def _floats(value: Any) -> list[float]:
    if isinstance(value, str):
        data = base64.b64decode(value)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    return value if isinstance(value, list) else []


def _usage(raw: Any, sent_bytes: int) -> Usage:
    counts = raw.get("usage") or {}
    return _counted(counts.get("prompt_tokens") or counts.get("total_tokens"), sent_bytes)


def _counted(tokens: Any, sent_bytes: int) -> Usage:
    if isinstance(tokens, int):
        return Usage(input=tokens)
    return Usage(input=-(-sent_bytes // BYTES_PER_TOKEN), estimated=True)
