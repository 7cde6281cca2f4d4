"""Encryption at rest with versioned keys: AES-256-GCM, the key's id beside the ciphertext.

Stored form: `v1:<key id>:<base64 of nonce + ciphertext>`. The first key of `settings.ENCRYPTION_KEYS` encrypts, any
of them decrypts, so a key is rotated by putting a new one first and rewriting the rows.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_VERSION = "v1"
_NONCE_BYTES = 12


class Undecryptable(Exception):
    """No key of this installation opens the value: the key was removed, or the row was damaged."""


def _keys() -> dict[str, AESGCM]:
    """Key id to cipher; a key is `id:secret`, the secret any string of 16 characters or more."""
    return _ciphers(tuple(settings.ENCRYPTION_KEYS))


@lru_cache(maxsize=8)
def _ciphers(entries: tuple[str, ...]) -> dict[str, AESGCM]:
    ciphers = {}
    for entry in entries:
        key_id, _, secret = entry.partition(":")
        ciphers[key_id] = AESGCM(hashlib.sha256(secret.encode()).digest())
    return ciphers


def encrypt(text: str) -> str:
    key_id, cipher = next(iter(_keys().items()))
    nonce = os.urandom(_NONCE_BYTES)
    sealed = cipher.encrypt(nonce, text.encode(), key_id.encode())
    return f"{_VERSION}:{key_id}:{base64.b64encode(nonce + sealed).decode()}"


def current_prefix() -> str:
    """What everything begins with that the first key encrypted."""
    return f"{_VERSION}:{next(iter(_keys()))}:"


def decrypt(stored: str) -> str:
    version, _, rest = stored.partition(":")
    key_id, _, body = rest.partition(":")
    cipher = _keys().get(key_id)
    if version != _VERSION or cipher is None:
        raise Undecryptable(f"No encryption key “{key_id}” is configured: put it back into ENCRYPTION_KEYS.")
    try:
        raw = base64.b64decode(body, validate=True)
        return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], key_id.encode()).decode()
    except (ValueError, InvalidTag):
        raise Undecryptable(f"The value does not open with key “{key_id}”: enter it anew.") from None


class Secret:
    """A secret in memory: printing shows a mask, `reveal()` the text (or raises `Undecryptable`)."""

    __slots__ = ("_plain", "stored")

    def __init__(self, *, plain: str | None = None, stored: str | None = None) -> None:
        self._plain = plain
        self.stored = stored

    def reveal(self) -> str:
        if self._plain is None:
            self._plain = decrypt(self.stored or "")
        return self._plain

    @property
    def readable(self) -> bool:
        try:
            self.reveal()
        except Undecryptable:
            return False
        return True

    def __str__(self) -> str:
        return "••••••••"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.readable and other.readable and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.stored)
