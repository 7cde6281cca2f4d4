"""Model fields with no product word in them."""

from __future__ import annotations

from typing import Any

from django.db import models

from core.secrets import Secret, encrypt


class EncryptedTextField(models.TextField):
    """Text that is encrypted at rest; its Python value is a `core.secrets.Secret`. Assign a str or a Secret.

    An empty text is no secret, and is stored as it is.
    """

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Secret | None:
        return None if value is None else Secret(stored=value) if value else Secret(plain="")

    def to_python(self, value: Any) -> Secret | None:
        if value is None or isinstance(value, Secret):
            return value
        return Secret(plain=str(value))

    def get_prep_value(self, value: Any) -> str | None:
        secret = self.to_python(value)
        if secret is None:
            return None
        if secret.stored:
            return secret.stored
        plain = secret.reveal()
        return encrypt(plain) if plain else ""
