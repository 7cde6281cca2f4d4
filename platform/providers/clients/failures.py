"""A provider's refusal, however it is worded, to a ProviderError."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from providers.errors import (
    AuthenticationFailed,
    BadRequest,
    BedrockPermissionDenied,
    ContextWindowExceeded,
    InsufficientCredits,
    Overloaded,
    ProviderError,
    RateLimited,
    Refused,
    Timeout,
)

_CONTEXT = re.compile(
    r"context[ _](length|window|size)|maximum context|prompt is too long|input (is )?too long|too many tokens"
    r"|maximum prompt length|reduce the length of the (messages|prompt|input)|exceeds the (available|maximum) context"
    r"|longer than the model.s context|input token count .{0,40}exceeds|input tokens? exceed",
    re.IGNORECASE,
)
_CREDITS = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|credit balance|billing|spend limit", re.IGNORECASE
)
_FILTER = re.compile(r"content[_ ](filter|policy|management)|responsible ?ai|safety system", re.IGNORECASE)
_BAD_KEY = re.compile(r"api key (not valid|expired|not found)|api_key_invalid", re.IGNORECASE)
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_LOADING = re.compile(r"loading", re.IGNORECASE)
_MESSAGE_LIMIT = 2000


def scrub(text: str, secret: str) -> str:
    """`text` without the key, should a vendor or a library have repeated it."""
    return text.replace(secret, "[key]") if len(secret) >= 8 else text


def describe(body: Any) -> tuple[str, str]:
    """(message, type and code in one string) of an error body in any vendor's shape."""
    if isinstance(body, (bytes, str)):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
            return text.strip()[:_MESSAGE_LIMIT], ""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return str(body)[:_MESSAGE_LIMIT], ""
    error = body.get("error", body)
    if not isinstance(error, dict):
        return str(error)[:_MESSAGE_LIMIT], str(body.get("type") or "")
    message = error.get("message") or error.get("detail") or body.get("message") or body.get("detail")
    if not isinstance(message, str):
        message = orjson.dumps(message if message else error, default=str).decode()
    kind = " ".join(str(error[key]) for key in ("type", "code", "status") if error.get(key))
    return message[:_MESSAGE_LIMIT], kind


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `retry-after-ms` or `retry-after` (seconds or a date)."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            parsed = email.utils.parsedate_tz(value)
            if parsed:
                return max(0.0, email.utils.mktime_tz(parsed) - time.time())
    return None


def _asked_delay(body: Any) -> float | None:
    """Seconds from Google's `RetryInfo`, which stands in the body."""
    try:
        read = orjson.loads(body) if isinstance(body, (bytes, str)) else body
    except orjson.JSONDecodeError:
        return None
    first = read[0] if isinstance(read, list) and read else read
    error = first.get("error") if isinstance(first, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        found = _DELAY.fullmatch(str(detail.get("retryDelay"))) if isinstance(detail, dict) else None
        if found:
            return float(found[1])
    return None


def _class_of(status: int, words: str) -> type[ProviderError]:
    by_words: tuple[tuple[bool, type[ProviderError]], ...] = (
        (status in (400, 413, 422, 500) and bool(_CONTEXT.search(words)), ContextWindowExceeded),
        (status == 403 and "AccessDeniedException" in words, BedrockPermissionDenied),
        (status == 400 and bool(_BAD_KEY.search(words)), AuthenticationFailed),
        (status in (400, 402, 403, 429) and bool(_CREDITS.search(words)), InsufficientCredits),
        (status in (400, 403) and bool(_FILTER.search(words)), Refused),
        (status >= 500 and "--jinja" in words, BadRequest),
    )
    for applies, kind in by_words:
        if applies:
            return kind
    by_status: dict[int, type[ProviderError]] = {
        401: AuthenticationFailed,
        402: InsufficientCredits,
        403: AuthenticationFailed,
        408: Timeout,
        413: ContextWindowExceeded,
        424: Overloaded,  # Bedrock, of a model that failed
        429: RateLimited,
        504: Timeout,
    }
    return by_status.get(status, Overloaded if status >= 500 else BadRequest)


def failure(status: int, body: Any, headers: Mapping[str, str], secret: str) -> ProviderError:
    """The error for an answer with an error status."""
    message, kind = describe(body)
    kind = f"{kind} {headers.get('x-amzn-errortype') or ''}"
    wait = retry_after(headers)
    if status == 503 and wait is None and _LOADING.search(message):
        wait = 1.0
    text = scrub(message, secret) or f"The provider answered with status {status}."
    if wait is None and (asked := _asked_delay(body)) is not None:
        wait = asked
        if status == 429:  # Google words a limit as an exceeded quota, and points to billing; it says when to come back
            return RateLimited(text, retry_after=wait, upstream_status=status)
    return _class_of(status, f"{kind} {message}")(text, retry_after=wait, upstream_status=status)


_STATUS_OF_KIND = (
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("permission", 403),
    ("insufficient_quota", 429),
    ("rate_limit", 429),
    ("overloaded", 529),
    ("timeout", 504),
    ("invalid_request", 400),
    ("invalid_prompt", 400),
    ("context_length", 400),
    ("not_found", 404),
)


def in_band_failure(body: Any, secret: str) -> ProviderError:
    """The error for an `error` event inside a stream that began with status 200."""
    _, kind = describe(body)
    error = body.get("error", body) if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    if status is None:
        status = next((s for word, s in _STATUS_OF_KIND if word in kind), 500)
    return failure(status, body, {}, secret)
