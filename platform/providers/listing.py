"""The models of a provider, as its server lists them, remembered for five minutes."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from providers.catalog import ModelInfo, describe
from providers.clients.base import CONSTRAINED, NATIVE, Credential, client_for
from providers.entries import Entry
from providers.errors import ProviderError
from providers.tool_modes import tool_mode_of

log = logging.getLogger(__name__)
TTL_S = 300.0
FAILED_TTL_S = 20.0
MOST = 2_000
MINILM = "all-minilm-l6-v2"


@dataclass(frozen=True, slots=True)
class Listing:
    """`error` is why the list is empty or old."""

    models: dict[str, ModelInfo]
    at: float
    error: str = ""

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.at < (FAILED_TTL_S if self.error else TTL_S)


_listings: dict[Credential, Listing] = {}
_locks: dict[Credential, threading.Lock] = {}
_guard = threading.Lock()


def _ask(credential: Credential) -> dict[str, ModelInfo]:
    if credential.provider_type == "minilm":
        return {MINILM: describe("minilm", MINILM)}
    return {info.name: info for info in client_for(credential).list_models()}


def listing_of(credential: Credential, *, stale_ok: bool = False) -> Listing:
    """The list; asked of the server by one thread at a time. `stale_ok` takes one of any age."""
    found = _listings.get(credential)
    if found is not None and (stale_ok or found.fresh):
        return found
    with _guard:
        lock = _locks.setdefault(credential, threading.Lock())
    with lock:
        found = _listings.get(credential)
        if found is not None and found.fresh:
            return found
        try:
            made = Listing(_ask(credential), time.monotonic())
        except ProviderError as error:
            log.warning("Models of provider type %s cannot be listed: %s", credential.provider_type, error.message)
            made = Listing(found.models if found else {}, time.monotonic(), error.message)
        with _guard:
            while len(_listings) >= MOST:  # the oldest goes; end users' own keys can be many
                _locks.pop(oldest := next(iter(_listings)), None)
                _listings.pop(oldest, None)
            _listings[credential] = made
        return made


def forget(credential: Credential) -> None:
    _listings.pop(credential, None)


def named(entry: Entry, info: ModelInfo) -> ModelInfo:
    """A listed model as this organization sees it."""
    mode = entry.tool_mode if entry.tool_mode in (NATIVE, CONSTRAINED) else tool_mode_of(info)
    return replace(
        info,
        handle=f"{entry.name}/{info.name}",
        provider_name=entry.name,
        provider_category=entry.category,
        tool_mode=mode,
    )


def models_of(entries: list[Entry]) -> list[ModelInfo]:
    """All models of some providers; several servers are asked at once, and one that fails lists nothing."""
    usable = [entry for entry in entries if not entry.problem]
    waiting = {e.credential for e in usable if not ((found := _listings.get(e.credential)) and found.fresh)}
    if len(waiting) > 1:
        with ThreadPoolExecutor(max_workers=min(8, len(waiting))) as pool:
            list(pool.map(listing_of, waiting))
    return [named(entry, info) for entry in usable for info in listing_of(entry.credential).models.values()]
