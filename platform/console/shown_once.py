"""A secret that was just made, on its way to the one page that shows it: sealed in the session, never in plain."""

from __future__ import annotations

from django.http import HttpRequest

from core.secrets import decrypt, encrypt

SESSION = "console_new_secret"


def keep(request: HttpRequest, pk: str, secret: str) -> None:
    request.session[SESSION] = {"id": pk, "sealed": encrypt(secret)}


def take(request: HttpRequest, pk: str) -> str | None:
    """The secret of that row, the first time."""
    kept = request.session.pop(SESSION, None)
    return decrypt(kept["sealed"]) if kept and kept["id"] == pk else None
