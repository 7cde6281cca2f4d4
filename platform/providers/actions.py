"""What is done to an organization's providers: each action one function, for the API, the admin and commands alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.audit import Deed
from accounts.models import Project
from core.errors import BadInput, Conflict
from core.ids import is_id
from providers import addresses, entries, listing
from providers.catalog import ModelInfo, preset_of, presets
from providers.clients.base import Credential, client_for, dialect_of
from providers.errors import AuthenticationFailed, ProviderError
from providers.models import NAME, NAME_RULE, KeyRule, Provider, Rule
from providers.validation import checked

_KEY = re.compile(r"[\x21-\x7e]*")
_CHANGEABLE = ("name", "api_key", "access_key", "base_url", "region", "api_version", "tool_mode", "enabled")
_CHECKED = ("api_key", "access_key", "base_url", "region", "api_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderDraft:
    """A provider as somebody wants it: for the whole organization, for a project, or for an end user."""

    name: str
    provider_type: str
    project_id: str = ""
    identity_id: str = ""
    api_key: str = ""
    access_key: str = ""
    base_url: str = ""
    region: str = ""
    api_version: str = ""
    tool_mode: str = ""
    enabled: bool = True


def _credential(draft: ProviderDraft) -> Credential:
    return Credential(
        provider_type=draft.provider_type,
        api_key=draft.api_key,
        access_key=draft.access_key,
        base_url=draft.base_url or None,
        region=draft.region or None,
        api_version=draft.api_version or None,
        public_only=True,
    )


def cleaned_key(key: str, provider_type: str = "") -> str:
    key = key.strip()
    if provider_type == "google_vertex" and key:
        return _service_account(key)
    if not _KEY.fullmatch(key):
        raise BadInput("The key holds a blank or a character that no key has: copy it anew.")
    return key


def _service_account(key: str) -> str:
    """The JSON of a Google service account, in one line."""
    try:
        found = orjson.loads(key)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("private_key"), str):
        raise BadInput("Enter the key of a service account as the JSON that Google Cloud gives out, whole.")
    return orjson.dumps(found).decode()


def _checked_url(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise BadInput(f"base_url '{url}' must begin with http:// or https:// and name a host.")
    try:
        addresses.refuse_private(url)
    except addresses.ForbiddenAddress as error:
        raise BadInput(f"base_url: {error}") from None


def _cleaned(draft: ProviderDraft) -> ProviderDraft:
    key, url = cleaned_key(draft.api_key, draft.provider_type), draft.base_url.strip()
    if not re.match(NAME, draft.name):
        raise BadInput(f"'{draft.name}' cannot be a provider's name. {NAME_RULE}")
    if not presets().get(draft.provider_type):
        raise BadInput(f"Unknown provider_type '{draft.provider_type}'. Known: {', '.join(sorted(presets()))}.")
    preset = preset_of(draft.provider_type)
    if preset.refused:
        raise BadInput(f"Provider type '{draft.provider_type}' cannot be used here. {preset.refused}")
    if draft.project_id and draft.identity_id:
        raise BadInput("A key is for a project or for an end user, not for both.")
    if url:
        _checked_url(url)
    if not re.fullmatch(r"[a-z0-9-]*", draft.region.strip()):
        raise BadInput(f"'{draft.region}' is no region: such are us-east-1, europe-west1 or global.")
    if preset.regional and not draft.region.strip():
        raise BadInput(f"A provider of type '{draft.provider_type}' needs its region.")
    if not url and not preset.regional and not preset.base_url and not preset.local:
        raise BadInput(f"A provider of type '{draft.provider_type}' needs its base_url.")
    return replace(
        draft,
        identity_id=draft.identity_id.strip(),
        api_key=key,
        access_key=cleaned_key(draft.access_key),
        base_url=url,
        region=draft.region.strip(),
        api_version=draft.api_version.strip(),
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
    """Ask the vendor whether it takes a key that is not stored. Raises BadInput with the mend."""
    return check_credential(_credential(_cleaned(draft)))


def create_provider(organization_id: str, draft: ProviderDraft, *, check: bool = True, actor: str = "") -> Provider:
    """Store a provider once its key has been seen to work. It may have the name of one of the installation."""
    draft = _cleaned(draft)
    _own_project(organization_id, draft.project_id)
    if check:
        check_credential(_credential(draft))
    row = Provider(
        organization_id=organization_id,
        name=draft.name,
        project_id=draft.project_id or None,
        identity_id=draft.identity_id,
        provider_type=draft.provider_type,
        api_key=draft.api_key,
        access_key=draft.access_key,
        base_url=draft.base_url,
        region=draft.region,
        api_version=draft.api_version,
        tool_mode=draft.tool_mode,
        enabled=draft.enabled,
        fingerprint=_credential(draft).fingerprint,
    )
    if check:
        checked(row, "")
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            _note(row, actor, "provider.create", after=shown(row))
    except IntegrityError:
        raise _taken(draft) from None
    entries.forget(organization_id)
    return row


def _own_project(organization_id: str, project_id: str) -> None:
    mine = Project.objects.filter(organization_id=organization_id)
    if project_id and not (is_id("project", project_id) and mine.filter(pk=project_id).exists()):
        raise BadInput("There is no such project in this organization.")


def _taken(draft: ProviderDraft) -> Conflict:
    whose = "this project" if draft.project_id else "this end user" if draft.identity_id else "the whole organization"
    return Conflict(f"There is already a provider named '{draft.name}' for {whose}.")


def shown(row: Provider) -> dict[str, Any]:
    """What may be said of a row in an audit entry: all but its keys."""
    names = ("name", "provider_type", "identity_id", "base_url", "region", "api_version", "enabled", "fingerprint")
    return {**{name: getattr(row, name) for name in names}, "project_id": row.project_id}


def _note(row: Provider, actor: str, action: str, **what: Any) -> None:
    audit.note(str(row.organization_id), actor, Deed(action=action, target=str(row.pk), **what))


def _draft_of(row: Provider) -> ProviderDraft:
    entry = entries.row_entry(row)
    return ProviderDraft(
        name=row.name,
        provider_type=row.provider_type,
        project_id=row.project_id or "",
        identity_id=row.identity_id,
        api_key=entry.credential.api_key,
        access_key=entry.credential.access_key,
        base_url=row.base_url,
        region=row.region,
        api_version=row.api_version,
        tool_mode=row.tool_mode,
        enabled=row.enabled,
    )


def update_provider(row: Provider, changes: Mapping[str, Any], *, actor: str = "") -> Provider:
    """Change some of a provider's fields; a changed key or address is checked first. Type and scope stay.

    A key changed here counts at once and alone: `rotation.rotate` leaves the old one standing by.
    """
    unknown = sorted(set(changes) - set(_CHANGEABLE))
    if unknown:
        raise BadInput(f"A provider's {', '.join(unknown)} cannot be changed.")
    before, old = shown(row), _draft_of(row)
    new = _cleaned(replace(old, **changes))
    _forget(row)
    written = {name for name in changes if name != "api_key"}
    if any(name in changes for name in _CHECKED):
        check_credential(_credential(new))
        written |= checked(row, "")
    for name in written & set(_CHANGEABLE):
        setattr(row, name, getattr(new, name))
    if "api_key" in changes or "access_key" in changes:
        row.api_key, row.fingerprint = new.api_key, _credential(new).fingerprint
        row.previous_key, row.previous_fingerprint, row.previous_until = None, "", None
        written |= {"api_key", "fingerprint", "previous_key", "previous_fingerprint", "previous_until"}
    try:
        with transaction.atomic():
            row.save(update_fields=[*written, "updated_at"])  # the others may have been encrypted anew meanwhile
            _note(row, actor, "provider.update", before=before, after=shown(row))
    except IntegrityError:
        raise _taken(new) from None
    _forget(row)
    return row


def delete_provider(row: Provider, *, actor: str = "") -> None:
    _forget(row)
    with transaction.atomic():
        _note(row, actor, "provider.delete", before=shown(row))
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
    """Forget what was listed and ask for the models anew. Raises BadInput with the mend."""
    _forget(row)
    return check_provider(row)


def _keep_check(row: Provider, error: str) -> None:
    fields = checked(row, error)
    same_key = Provider.objects.filter(pk=row.pk, fingerprint=row.fingerprint)  # it may have been changed meanwhile
    same_key.update(**{name: getattr(row, name) for name in fields})


def _forget(row: Provider) -> None:
    entries.forget(str(row.organization_id))
    listing.forget(entries.row_entry(row).credential)


def set_rule(organization_id: str, rule: str, *, project_id: str = "", actor: str = "") -> KeyRule | None:
    """Whose keys the organization's (or one project's) calls are made with; "" takes the rule away."""
    if rule and rule not in Rule.values:
        raise BadInput(f"Unknown rule '{rule}'. Known: {', '.join(Rule.values)}.")
    _own_project(organization_id, project_id)
    with transaction.atomic():
        rows = KeyRule.objects.select_for_update().filter(organization_id=organization_id)
        row = rows.filter(project_id=project_id).first() if project_id else rows.filter(project=None).first()
        before = {"rule": row.rule, "project_id": row.project_id} if row else None
        after = {"rule": rule, "project_id": project_id or None} if rule else None
        if row is None and rule:
            row = KeyRule.objects.create(organization_id=organization_id, project_id=project_id or None, rule=rule)
        elif row is not None and rule:
            row.rule = rule
            row.save(update_fields=["rule", "updated_at"])
        elif row is not None:
            row.delete()
            row = None
        target = project_id or organization_id
        audit.note(organization_id, actor, Deed(action="key_rule.set", target=target, before=before, after=after))
    entries.forget(organization_id)
    return row
