"""Errors that an application may show to its caller; one handler maps them to HTTP and websocket answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AppError(Exception):
    """`message` is for the caller and says the mend; `extra` is merged into the body of the answer.

    `retry_after`: in seconds, where coming back later helps. `headers`: further ones of the HTTP answer.
    """

    code = "error"
    status = 500
    headers: Mapping[str, str] = {}

    def __init__(
        self,
        message: str,
        *,
        extra: Mapping[str, Any] | None = None,
        detail: Any = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = message if detail is None else detail
        self.extra = dict(extra or {})
        self.retry_after = retry_after


class BadInput(AppError):
    """Well formed, but it cannot be done: an unknown model handle, an impossible combination."""

    code = "bad_request"
    status = 400


class Unauthenticated(AppError):
    code = "unauthenticated"
    status = 401


class PermissionDenied(AppError):
    code = "permission_denied"
    status = 403


class NotFound(AppError):
    code = "not_found"
    status = 404


class Conflict(AppError):
    code = "conflict"
    status = 409


class Gone(AppError):
    code = "gone"
    status = 410


class Invalid(AppError):
    """A field has a value it must not have."""

    code = "invalid"
    status = 422


class LimitExceeded(AppError):
    code = "limit_exceeded"
    status = 429


class Unavailable(AppError):
    """A part that is needed (Redis, ClickHouse, PostgreSQL) does not answer."""

    code = "unavailable"
    status = 503
