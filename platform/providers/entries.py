"""The providers that an organization can use: those of the installation, and its own.

Kept in the process: the base ones for its life, an organization's rows for five seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings

from core.secrets import Secret, Undecryptable
from providers.clients.base import Credential
from providers.models import PriceOverride, Provider
from providers.pricing import Override

log = logging.getLogger(__name__)
ROWS_TTL_S = 5.0
TOUCH_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One provider. `problem` says why it cannot be used at all (its key does not decrypt)."""

    name: str
    category: str
    credential: Credential
    provider_id: str | None = None
    tool_mode: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Own:
    """An organization's rows, as read at `at`."""

    entries: dict[str, Entry]
    overrides: tuple[Override, ...]
    at: float


_own: dict[str, _Own] = {}
_lock = threading.Lock()
_touched: dict[str, float] = {}


def _base_entry(raw: dict[str, Any]) -> Entry:
    credential = Credential(
        provider_type=raw["provider_type"],
        api_key=raw.get("api_key") or "",
        base_url=raw.get("base_url") or None,
        region=raw.get("region") or None,
        api_version=raw.get("api_version") or None,
        dialect=raw.get("dialect") or None,
        headers=tuple(sorted((raw.get("headers") or {}).items())),
    )
    return Entry(name=raw["name"], category="base", credential=credential, tool_mode=raw.get("tool_mode") or "")


_base: tuple[Any, dict[str, Entry]] = (None, {})


def base_entries() -> dict[str, Entry]:
    """By name. Made once, and again only where the setting is another list (a test's override)."""
    global _base  # noqa: PLW0603 - one slot, replaced whole
    source, entries = _base
    if source is not settings.BASE_PROVIDERS:
        source = settings.BASE_PROVIDERS
        entries = {raw["name"]: _base_entry(raw) for raw in source}
        _base = (source, entries)
    return entries


def row_entry(row: Provider) -> Entry:
    problem, key = "", ""
    secret = cast("Secret | str | None", row.api_key)  # a str before it was ever read back
    try:
        key = secret.reveal() if isinstance(secret, Secret) else secret or ""
    except Undecryptable as error:
        problem = f"The key of provider '{row.name}' cannot be read. {error}"
    credential = Credential(
        provider_type=row.provider_type,
        api_key=key,
        base_url=row.base_url or None,
        region=row.region or None,
        api_version=row.api_version or None,
    )
    return Entry(
        name=row.name,
        category="byok",
        credential=credential,
        provider_id=str(row.id),
        tool_mode=row.tool_mode,
        problem=problem,
    )


def _rows(organization_id: str) -> _Own:
    found = _own.get(organization_id)
    if found is not None and time.monotonic() - found.at < ROWS_TTL_S:
        return found
    rows = Provider.objects.filter(organization_id=organization_id, enabled=True)
    overrides = PriceOverride.objects.filter(organization_id=organization_id)
    entries = {row.name: row_entry(row) for row in rows}
    found = _Own(entries, tuple(override.as_override() for override in overrides), time.monotonic())
    _own[organization_id] = found
    return found


def entry_named(organization_id: str, name: str) -> Entry | None:
    """A base provider without any query; else the organization's own."""
    return base_entries().get(name) or _rows(organization_id).entries.get(name)


def entries_of(organization_id: str) -> list[Entry]:
    base = base_entries()
    return [*base.values(), *(e for name, e in _rows(organization_id).entries.items() if name not in base)]


def price_overrides(organization_id: str) -> Sequence[Override]:
    """The organization's own prices, at most five seconds old."""
    return _rows(organization_id).overrides


def forget(organization_id: str) -> None:
    """Read the organization's rows anew: one of them was changed."""
    _own.pop(organization_id, None)


def note_use(provider_id: str | None, error: str = "") -> None:
    """Keep `last_used_at` (to a minute) and the last failure of an organization's own provider."""
    if provider_id is None:
        return
    now = time.monotonic()
    with _lock:
        if not error and now - _touched.get(provider_id, -TOUCH_S) < TOUCH_S:
            return
        _touched[provider_id] = now
    from django.utils import timezone

    changes: dict[str, Any] = {"last_used_at": timezone.now()}
    if error:
        changes["last_error"] = error[:2000]
    Provider.objects.filter(id=provider_id).update(**changes)
