"""Which models have just failed time after time: while others stand by, they are not asked first on every call.

Kept in the process, by credential and model. A circuit opens after several failures in a row, and lets one call through
when its pause is over: that one's fate is the circuit's.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic

from providers.clients.base import Credential
from providers.errors import ConnectionFailed, Overloaded, ProviderError, RateLimited, Timeout
from providers.resolve import ResolvedModel

REASONS = (ConnectionFailed, Overloaded, RateLimited, Timeout)
FAILURES = 5
PAUSE_S = 30.0
LONGEST_S = 300.0
MOST = 10_000
_Key = tuple[Credential, str]


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    open_until: float = 0.0


_circuits: dict[_Key, _Circuit] = {}
_lock = threading.Lock()


def _key(target: ResolvedModel) -> _Key:
    return target.credential, target.model


def is_open(target: ResolvedModel) -> bool:
    """Whether to ask another instead. Of those who ask when the pause is over, one is told no: it tries."""
    if _key(target) not in _circuits:
        return False
    with _lock:
        found = _circuits.get(_key(target))
        if found is None or found.failures < FAILURES:
            return False
        if monotonic() < found.open_until:
            return True
        found.open_until = monotonic() + PAUSE_S
        return False


def note(target: ResolvedModel, error: ProviderError | None) -> None:
    """After each attempt. A failure that another model would share says nothing of this one."""
    if error is None:
        if _key(target) in _circuits:
            with _lock:
                _circuits.pop(_key(target), None)
        return
    if not isinstance(error, REASONS):
        return
    with _lock:
        if len(_circuits) >= MOST:
            _circuits.clear()
        found = _circuits.setdefault(_key(target), _Circuit())
        found.failures += 1
        found.open_until = monotonic() + min(max(PAUSE_S, error.retry_after or 0), LONGEST_S)


def forget_all() -> None:
    with _lock:
        _circuits.clear()
