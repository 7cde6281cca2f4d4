"""The model lists of OpenAI-compatible servers: each puts the context window elsewhere, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WINDOW_KEYS = (
    "loaded_context_length",
    "max_model_len",
    "context_length",
    "context_window",
    "max_context_length",
    "max_input_tokens",
)


def listed(raw: Any) -> Iterator[tuple[str, int | None]]:
    """(name, context window if the server says it) of each model."""
    rows = (
        raw if isinstance(raw, list) else (raw.get("data") or raw.get("models")) if isinstance(raw, Mapping) else None
    )
    for row in rows or ():
        if isinstance(row, str):
            yield row, None
        elif isinstance(row, Mapping):
            name = row.get("id") or row.get("name") or row.get("model")
            if isinstance(name, str) and name:
                yield name.removeprefix("models/"), window(row)


def window(row: Mapping[str, Any]) -> int | None:
    meta = row.get("meta")
    provider = row.get("top_provider")
    places = [row]
    places += [place for place in (provider, meta) if isinstance(place, Mapping)]
    for place in places:
        for key in (*_WINDOW_KEYS, "n_ctx"):  # not n_ctx_train: what the model could, not what the server gives it
            value = place.get(key)
            if isinstance(value, int) and value > 0:
                return value
    return None
