"""A vector of a text's words and letter groups by hashing: no model, the same everywhere, near for shared words."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator

DIM = 384
_WORD = re.compile(r"\w+")


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.lower()):
        yield word, 1.0
        edged = f"^{word}$"
        for at in range(len(edged) - 2):
            yield edged[at : at + 3], 0.3


def hashed(text: str, dim: int = DIM) -> list[float]:
    """Length 1; a text without words gets a fixed unit vector."""
    vector = [0.0] * dim
    for feature, weight in _features(text):
        number = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "little")
        vector[(number >> 1) % dim] += weight if number & 1 else -weight
    norm = math.sqrt(sum(value * value for value in vector))
    if not norm:
        return [1.0, *vector[1:]]
    return [value / norm for value in vector]
