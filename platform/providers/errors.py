"""Failures of a model's provider, typed by what a caller can do about them."""

from __future__ import annotations

from typing import Any

from providers.usage import Usage


class ProviderError(Exception):
    """Base. `error_type` is the wire name (`llm_...`), `status` the HTTP status our API answers with.

    `retryable`: the same call may succeed later; `retry_after` in seconds, where the provider said so.
    `upstream_status`: the HTTP status that the provider answered, if any. The message never holds a key.
    `usage` (estimated) and `partial` (the answer so far, in the vendor's shape) are set where an answer broke off.
    """

    error_type = "llm_error"
    status = 502
    retryable = False
    usage: Usage | None = None
    partial: dict[str, Any] | None = None

    def __init__(self, message: str, *, retry_after: float | None = None, upstream_status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.upstream_status = upstream_status


class AuthenticationFailed(ProviderError):
    error_type = "llm_authentication"
    status = 401


class BedrockPermissionDenied(AuthenticationFailed):
    """AWS knows the key, but the key may not call this model."""

    error_type = "bedrock_permission_denied"
    status = 403


class RateLimited(ProviderError):
    error_type = "llm_rate_limit"
    status = 429
    retryable = True


class Overloaded(ProviderError):
    """The provider's side failed or is full (5xx, Anthropic's 529)."""

    error_type = "llm_error"
    status = 503
    retryable = True


class Timeout(ProviderError):
    error_type = "llm_timeout"
    status = 504
    retryable = True


class ConnectionFailed(ProviderError):
    """The provider could not be reached, or the connection broke before the first event."""

    error_type = "llm_error"
    status = 502
    retryable = True


class StreamInterrupted(ProviderError):
    """The answer broke off after it had begun: repeating it might repeat what was already shown."""

    error_type = "llm_error"
    status = 502


class ContextWindowExceeded(ProviderError):
    error_type = "context_window_exceeded"
    status = 400


class InsufficientCredits(ProviderError):
    error_type = "llm_insufficient_credits"
    status = 402


class Refused(ProviderError):
    """The provider's own filter refused the request."""

    error_type = "llm_bad_request"
    status = 400


class BadRequest(ProviderError):
    error_type = "llm_bad_request"
    status = 400


class BadResponse(ProviderError):
    """The answer could not be understood, or was empty where it must not be."""

    error_type = "llm_empty_response"
    status = 502
