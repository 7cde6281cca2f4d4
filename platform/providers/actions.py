"""What is done to an organization's providers: each action one function, for the API, the admin and commands alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone

from core.errors import BadInput, Conflict
from providers import entries, listing
from providers.catalog import ModelInfo, preset_of, presets
from providers.clients.base import Credential, client_for, dialect_of, masked
from providers.errors import AuthenticationFailed, ProviderError
from providers.models import NAME, NAME_RULE, Provider

_KEY = re.compile(r"[\x21-\x7e]*")
_CHANGEABLE = ("name", "api_key", "base_url", "region", "api_version", "tool_mode", "enabled")
_CHECKED = ("api_key", "base_url", "api_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDraft:
    """A provider as somebody wants it."""

    name: str
    provider_type: str
    api_key: str = ""
    base_url: str = ""
    region: str = ""
    api_version: str = ""
    tool_mode: str = ""
    enabled: bool = True


def _credential(draft: ProviderDraft) -> Credential:
    return Credential(
        provider_type=draft.provider_type,
        api_key=draft.api_key,
        base_url=draft.base_url or None,
        region=draft.region or None,
        api_version=draft.api_version or None,
    )


def _cleaned(draft: ProviderDraft) -> ProviderDraft:
    key, url = draft.api_key.strip(), draft.base_url.strip()
    if not re.match(NAME, draft.name):
        raise BadInput(f"'{draft.name}' cannot be a provider's name. {NAME_RULE}")
    if not presets().get(draft.provider_type):
        raise BadInput(f"Unknown provider_type '{draft.provider_type}'. Known: {', '.join(sorted(presets()))}.")
    if not _KEY.fullmatch(key):
        raise BadInput("The key holds a blank or a character that no key has: copy it anew.")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        raise BadInput(f"base_url '{url}' must begin with http:// or https:// and name a host.")
    preset = preset_of(draft.provider_type)
    if not url and not preset.base_url and not preset.local:
        raise BadInput(f"A provider of type '{draft.provider_type}' needs its base_url.")
    return ProviderDraft(
        name=draft.name,
        provider_type=draft.provider_type,
        api_key=key,
        base_url=url,
        region=draft.region.strip(),
        api_version=draft.api_version.strip(),
        tool_mode=draft.tool_mode,
        enabled=draft.enabled,
    )


def check_credential(credential: Credential) -> list[ModelInfo]:
    """Ask the provider for its models: the cheapest call that needs the key. Raises BadInput with the mend."""
    try:
        dialect_of(credential)
        return client_for(credential).list_models()
    except AuthenticationFailed as error:
        raise BadInput(f"The provider refused the key {credential.fingerprint}: {error.message}") from None
    except ProviderError as error:
        if error.upstream_status == 404:  # the server has no list of models; the key cannot be told from it
            return []
        raise BadInput(f"The provider could not be asked for its models: {error.message}") from None


def check_draft(draft: ProviderDraft) -> list[ModelInfo]:
    """The models that a provider would offer, before anything is stored."""
    return check_credential(_credential(_cleaned(draft)))


def create_provider(organization_id: str, draft: ProviderDraft, *, check: bool = True) -> Provider:
    """Store a provider once its key has been seen to work."""
    draft = _cleaned(draft)
    if draft.name in entries.base_entries():
        raise BadInput(f"'{draft.name}' is the name of a provider of this installation: choose another.")
    if check:
        check_credential(_credential(draft))
    try:
        with transaction.atomic():
            row = Provider.objects.create(
                organization_id=organization_id,
                name=draft.name,
                provider_type=draft.provider_type,
                api_key=draft.api_key,
                base_url=draft.base_url,
                region=draft.region,
                api_version=draft.api_version,
                tool_mode=draft.tool_mode,
                enabled=draft.enabled,
                fingerprint=masked(draft.api_key),
                checked_at=timezone.now() if check else None,
            )
    except IntegrityError:
        raise Conflict(f"There is already a provider named '{draft.name}'.") from None
    entries.forget(organization_id)
    return row


def _draft_of(row: Provider) -> ProviderDraft:
    entry = entries.row_entry(row)
    return ProviderDraft(
        name=row.name,
        provider_type=row.provider_type,
        api_key=entry.credential.api_key,
        base_url=row.base_url,
        region=row.region,
        api_version=row.api_version,
        tool_mode=row.tool_mode,
        enabled=row.enabled,
    )


def update_provider(row: Provider, changes: Mapping[str, Any]) -> Provider:
    """Change some of a provider's fields; a changed key or address is checked first. The type stays what it is."""
    unknown = sorted(set(changes) - set(_CHANGEABLE))
    if unknown:
        raise BadInput(f"A provider's {', '.join(unknown)} cannot be changed.")
    old = _draft_of(row)
    new = _cleaned(ProviderDraft(provider_type=row.provider_type, **{**_fields(old), **changes}))
    if new.name != row.name and new.name in entries.base_entries():
        raise BadInput(f"'{new.name}' is the name of a provider of this installation: choose another.")
    if any(name in changes for name in _CHECKED):
        check_credential(_credential(new))
        row.checked_at, row.last_error = timezone.now(), ""
    for name, value in _fields(new).items():
        if name != "api_key":
            setattr(row, name, value)
    if "api_key" in changes:
        row.api_key, row.fingerprint = new.api_key, masked(new.api_key)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise Conflict(f"There is already a provider named '{new.name}'.") from None
    _forget(row)
    return row


def _fields(draft: ProviderDraft) -> dict[str, Any]:
    return {name: getattr(draft, name) for name in _CHANGEABLE}


def delete_provider(row: Provider) -> None:
    _forget(row)
    row.delete()


def check_provider(row: Provider) -> list[ModelInfo]:
    """Ask again whether the key works, and keep the answer. Raises BadInput with the mend."""
    entry = entries.row_entry(row)
    try:
        if entry.problem:
            raise BadInput(f"{entry.problem} Enter the key anew.")
        models = check_credential(entry.credential)
    except BadInput as error:
        _keep_check(row, error.message)
        raise
    _keep_check(row, "")
    return models


def refresh_models(row: Provider) -> list[ModelInfo]:
    """List a provider's models anew."""
    _forget(row)
    return check_provider(row)


def _keep_check(row: Provider, error: str) -> None:
    row.checked_at, row.last_error = timezone.now(), error[:2000]
    Provider.objects.filter(pk=row.pk).update(checked_at=row.checked_at, last_error=row.last_error)


def _forget(row: Provider) -> None:
    entries.forget(str(row.organization_id))
    listing.forget(entries.row_entry(row).credential)
