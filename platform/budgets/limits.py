"""Rate limits: requests and tokens in a window that looks back from now, counted in Redis.

With Redis away everything passes, and a line in the log says so: what is lost is the limit, not the service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from budgets.errors import RateLimitExceeded
from budgets.facts import Facts, counter_of
from budgets.models import LimitKind, RateLimit, Scope
from budgets.rules import rules_of

log = logging.getLogger(__name__)

OF_CALLS = (Scope.MODEL, Scope.PROVIDER_KEY)
OF_TOKENS = (LimitKind.TOKENS, LimitKind.INPUT_TOKENS, LimitKind.OUTPUT_TOKENS)
_SCRIPT = (Path(__file__).parent / "limits.lua").read_text()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands after a request was let through."""

    limit: RateLimit
    target: str
    used: int
    wait_ms: int
    reset_ms: int

    @property
    def remaining(self) -> int:
        return max(0, self.limit.amount - self.used)


def take_send(facts: Facts) -> list[Standing]:
    """Count one request to an agent. Raises RateLimitExceeded, and then counts nothing."""
    found = _applying(facts, lambda limit: limit.scope not in OF_CALLS)
    return _take(facts, found)


def take_call(facts: Facts) -> None:
    """Count one call of a model. Raises RateLimitExceeded, and then counts nothing."""
    found = _applying(facts, lambda limit: limit.scope in OF_CALLS or limit.kind in OF_TOKENS)
    _take(facts, found)


def add_tokens(facts: Facts, sent: int, answered: int) -> None:
    """What a call used, whether or not it fits."""
    found = _applying(facts, lambda limit: limit.kind in OF_TOKENS)
    if found:
        tokens: dict[str, int] = {
            LimitKind.INPUT_TOKENS: sent,
            LimitKind.OUTPUT_TOKENS: answered,
            LimitKind.TOKENS: sent + answered,
        }
        _run("add", facts, found, tokens)


def look(facts: Facts) -> list[Standing]:
    """How the limits stand, without counting anything."""
    found = _applying(facts, lambda limit: True)
    return _run("take", facts, found, {}) if found else []


def applying(facts: Facts, kind: LimitKind) -> list[tuple[RateLimit, str]]:
    """The limits of one kind that are about these facts, each with the name of its counter."""
    return _applying(facts, lambda limit: limit.kind == kind, kinds=(kind,))


def _applying(
    facts: Facts, wanted: Callable[[RateLimit], bool], kinds: Iterable[str] = (LimitKind.REQUESTS, *OF_TOKENS)
) -> list[tuple[RateLimit, str]]:
    found = []
    for limit in rules_of(facts.organization_id).limits:
        target = counter_of(limit.scope, limit.target, facts) if limit.kind in kinds and wanted(limit) else None
        if target is not None:
            found.append((limit, target))
    return found


def _take(facts: Facts, found: Sequence[tuple[RateLimit, str]]) -> list[Standing]:
    if not found:
        return []
    standings = _run("take", facts, found, {LimitKind.REQUESTS: 1})
    refused = [standing for standing in standings if standing.wait_ms]
    if refused:
        raise _exceeded(max(refused, key=lambda standing: standing.wait_ms))
    return standings


def _run(mode: str, facts: Facts, found: Sequence[tuple[RateLimit, str]], wanted: Mapping[str, int]) -> list[Standing]:
    keys = [f"limits:{{{facts.organization_id}}}:{limit.pk}:{target}" for limit, target in found]
    given: list[Any] = [mode]
    for limit, _ in found:
        given += [limit.amount, limit.period_s, wanted.get(limit.kind, 0)]
    try:
        answer = _script()(keys, given)
    except redis.RedisError as error:
        log.warning("rate limits of %s are not held, Redis does not answer: %s", facts.organization_id, error)
        return []
    standings = []
    for place, (limit, target) in enumerate(found):
        used, wait_ms, reset_ms = answer[3 * place : 3 * place + 3]
        standings.append(Standing(limit, target, used + wanted.get(limit.kind, 0), wait_ms, reset_ms))
    return standings


def _exceeded(standing: Standing) -> RateLimitExceeded:
    limit, seconds = standing.limit, standing.wait_ms / 1000
    return exceeded(limit, standing.target, f"Try again in {max(1, round(seconds))} s.", seconds)


def exceeded(limit: RateLimit, target: str, mend: str, retry_after: float) -> RateLimitExceeded:
    return RateLimitExceeded(
        f"The rate limit is reached: {limit}. {mend}",
        extra={
            "code": RateLimitExceeded.code,
            "limit": {
                "id": limit.pk,
                "kind": limit.kind,
                "scope": limit.scope,
                "target": target,
                "amount": limit.amount,
                "period_s": limit.period_s,
            },
        },
        retry_after=retry_after,
    )


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """The tightest limit of each kind, as x-ratelimit-… headers."""
    headers: dict[str, str] = {}
    for standing in sorted(standings, key=lambda one: -one.remaining):
        name = standing.limit.kind.replace("_", "-")
        headers[f"x-ratelimit-limit-{name}"] = str(standing.limit.amount)
        headers[f"x-ratelimit-remaining-{name}"] = str(standing.remaining)
        headers[f"x-ratelimit-reset-{name}"] = f"{standing.reset_ms / 1000:.0f}s"
    return headers


@lru_cache(maxsize=1)
def _client() -> redis.Redis:
    """It answers at once or not at all: a limit must not make a request wait."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
    )


@lru_cache(maxsize=1)
def _script() -> Callable[..., list[int]]:
    return _client().register_script(_SCRIPT)
