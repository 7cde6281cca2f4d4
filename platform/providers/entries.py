"""The providers that an organization can use: those of the installation, and its own.

Kept in the process: the base ones for its life, an organization's rows and an end user's for five seconds.
"""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from django.conf import settings
from django.db.models import Q

from core.secrets import Secret, Undecryptable
from core.time import now
from providers.clients.base import Credential
from providers.models import KeyRule, PriceOverride, Provider
from providers.pricing import Override

ROWS_TTL_S = 5.0
MOST_ORGANIZATIONS = 5_000
MOST_END_USERS = 10_000
BASE, BYOK = "base", "byok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One provider. `problem` says why it cannot be used at all (its key does not decrypt).

    `previous`: the key before this one, which stands by until `previous_until`. `is_previous`: this is that one.
    """

    name: str
    category: str
    credential: Credential
    provider_id: str | None = None
    tool_mode: str = ""
    problem: str = ""
    previous: Credential | None = None
    previous_until: datetime | None = None
    is_previous: bool = False

    def standing_by(self) -> Entry | None:
        """The same provider with the key before this one, while that one may still be used."""
        if self.previous is None or self.previous_until is None or self.previous_until <= now():
            return None
        return replace(self, credential=self.previous, previous=None, is_previous=True, problem="")


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a provider is looked for."""

    organization_id: str
    project_id: str = ""
    identity_id: str = ""


@dataclass(frozen=True, slots=True)
class _Own:
    """An organization's rows, as read at `at`; `entries` and `rules` by project, "" for all of them."""

    entries: dict[str, dict[str, Entry]]
    rules: dict[str, str]
    has_end_users: bool
    at: float


_own: dict[str, _Own] = {}
_end_users: dict[tuple[str, str], tuple[dict[str, Entry], float]] = {}
_overrides: dict[str, tuple[tuple[Override, ...], float]] = {}
_write = threading.Lock()


def _base_entry(raw: dict[str, Any]) -> Entry:
    credential = Credential(
        provider_type=raw["provider_type"],
        api_key=raw.get("api_key") or "",
        access_key=raw.get("access_key") or "",
        base_url=raw.get("base_url") or None,
        region=raw.get("region") or None,
        project=raw.get("project") or None,
        api_version=raw.get("api_version") or None,
        dialect=raw.get("dialect") or None,
        headers=tuple(sorted((raw.get("headers") or {}).items())),
    )
    return Entry(name=raw["name"], category=BASE, credential=credential, tool_mode=raw.get("tool_mode") or "")


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


def base_id(name: str) -> str:
    """The id that one of the installation's providers is shown by: it has no row, and stays the same by its name."""
    return f"provider-{uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)}"


def row_entry(row: Provider) -> Entry:
    problem = key = access_key = ""
    secret = cast("Secret | str | None", row.api_key)  # a str before it was ever read back
    try:
        key, access_key = _text(secret), _text(cast("Secret | str | None", row.access_key))
    except Undecryptable as error:
        problem = f"The key of provider '{row.name}' cannot be read. {error}"
    credential = Credential(
        provider_type=row.provider_type,
        api_key=key,
        access_key=access_key,
        base_url=row.base_url or None,
        region=row.region or None,
        api_version=row.api_version or None,
        public_only=True,
    )
    return Entry(
        name=row.name,
        category=BYOK,
        credential=credential,
        provider_id=str(row.id),
        tool_mode=row.tool_mode,
        problem=problem,
        previous=_previous(row, credential),
        previous_until=row.previous_until,
    )


def _text(secret: Secret | str | None) -> str:
    return secret.reveal() if isinstance(secret, Secret) else secret or ""


def _previous(row: Provider, credential: Credential) -> Credential | None:
    if row.previous_until is None or row.previous_key is None:
        return None
    try:
        return replace(credential, api_key=_text(cast("Secret | str | None", row.previous_key)))
    except Undecryptable:
        return None


def own_of(organization_id: str) -> _Own:
    found = _own.get(organization_id)
    if found is not None and time.monotonic() - found.at < ROWS_TTL_S:
        return found
    mine = Provider.objects.filter(organization_id=organization_id, enabled=True)
    an_end_user_s = mine.exclude(identity_id="").values("pk").order_by()[:1]
    entries: dict[str, dict[str, Entry]] = {}
    has_end_users = False
    for row in mine.filter(Q(identity_id="") | Q(pk__in=an_end_user_s)):
        if row.identity_id:
            has_end_users = True
        else:
            entries.setdefault(str(row.project_id or ""), {})[row.name] = row_entry(row)
    rules = KeyRule.objects.filter(organization_id=organization_id).values_list("project_id", "rule")
    found = _Own(entries, {str(project or ""): rule for project, rule in rules}, has_end_users, time.monotonic())
    with _write:
        if len(_own) >= MOST_ORGANIZATIONS:
            _own.clear()
        _own[organization_id] = found
    return found


def _of_end_user(asker: Asker) -> dict[str, Entry]:
    key = (asker.organization_id, asker.identity_id)
    found = _end_users.get(key)
    if found is not None and time.monotonic() - found[1] < ROWS_TTL_S:
        return found[0]
    rows = Provider.objects.filter(
        organization_id=asker.organization_id, identity_id=asker.identity_id, project__isnull=True, enabled=True
    )
    entries = {row.name: row_entry(row) for row in rows}
    with _write:
        if len(_end_users) >= MOST_END_USERS:
            _end_users.clear()
        _end_users[key] = (entries, time.monotonic())
    return entries


def own_entries(asker: Asker) -> list[dict[str, Entry]]:
    """The asker's own providers by name, the narrowest first: its end user's, its project's, its organization's."""
    own = own_of(asker.organization_id)
    found = [_of_end_user(asker)] if asker.identity_id and own.has_end_users else []
    if asker.project_id and (of_project := own.entries.get(asker.project_id)):
        found.append(of_project)
    if of_all := own.entries.get(""):
        found.append(of_all)
    return found


def rule_of(asker: Asker) -> str:
    """The project's rule, else the organization's; "" without any."""
    rules = own_of(asker.organization_id).rules
    return (asker.project_id and rules.get(asker.project_id)) or rules.get("", "")


def price_overrides(organization_id: str) -> Sequence[Override]:
    """The organization's own prices, at most five seconds old."""
    found = _overrides.get(organization_id)
    if found is not None and time.monotonic() - found[1] < ROWS_TTL_S:
        return found[0]
    rows = PriceOverride.objects.filter(organization_id=organization_id)
    overrides = tuple(row.as_override() for row in rows)
    with _write:
        if len(_overrides) >= MOST_ORGANIZATIONS:
            _overrides.clear()
        _overrides[organization_id] = (overrides, time.monotonic())
    return overrides


def forget(organization_id: str) -> None:
    """Read the organization's rows anew: one of them was changed."""
    with _write:
        _own.pop(organization_id, None)
        _overrides.pop(organization_id, None)
        for key in [key for key in _end_users if key[0] == organization_id]:
            del _end_users[key]


def forget_all() -> None:
    with _write:
        for kept in (_own, _end_users, _overrides):
            cast("dict[Any, Any]", kept).clear()


def merged(groups: Iterable[dict[str, Entry]]) -> dict[str, Entry]:
    """By name, the first of a name."""
    found: dict[str, Entry] = {}
    for group in groups:
        found = {**group, **found}
    return found
