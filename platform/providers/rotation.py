"""Changing a key without a gap: the new one is tried first, the old one stands by until its time is up, then it goes.

Whoever changes a key at a vendor makes the new one, enters it here, and takes the old one back when nothing uses it.
Meanwhile a call whose new key is refused is made again with the old one (`agents.model_calls`), and that is said.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.audit import Deed
from core.errors import BadInput, Conflict, NotFound
from providers import entries, listing
from providers.actions import check_credential, cleaned_key
from providers.entries import row_entry
from providers.fingerprints import key_name, masked
from providers.models import Provider
from providers.validation import checked

OVERLAP = timedelta(hours=24)
LONGEST = timedelta(days=30)
MOST_WIPED = 500
_KEYS = ("api_key", "fingerprint", "previous_key", "previous_fingerprint", "previous_until", "rotated_at")


def rotate(provider: Provider, new_key: str, overlap: timedelta = OVERLAP, actor: str = "") -> Provider:
    """Make `new_key` the provider's key, once the provider has taken it. Raises BadInput with the mend.

    The old key stands by for `overlap`; none does where that is nothing, or where the old one cannot be read.
    """
    key = cleaned_key(new_key, provider.provider_type)
    if not key:
        raise BadInput("Enter the new key.")
    if not timedelta(0) <= overlap <= LONGEST:
        raise BadInput(f"The old key can stand by for {LONGEST.days} days at most.")
    seen = row_entry(provider)
    if seen.credential.access_key:
        raise BadInput("This key has two parts, which change together: edit the provider and enter both.")
    if not seen.problem and seen.credential.api_key == key:
        raise BadInput("This is the key already in use: enter another.")
    check_credential(replace(seen.credential, api_key=key))
    with transaction.atomic():
        row = Provider.objects.select_for_update().filter(pk=provider.pk).first()
        if row is None:
            raise NotFound("The provider was deleted meanwhile.")
        if row.rotated_at != provider.rotated_at or row.fingerprint != provider.fingerprint:
            raise Conflict("Somebody else has just changed this key: look at the page again.")
        before = {"fingerprint": row.fingerprint}
        _exchange(row, key, overlap)
        written = checked(row, "") | {*_KEYS, "stood_in_at", "updated_at"}
        row.save(update_fields=[*written])
        after = {"fingerprint": row.fingerprint, "old_key_until": row.previous_until and str(row.previous_until)}
        deed = Deed(action="provider.rotate", target=str(row.pk), before=before, after=after)
        audit.note(str(row.organization_id), actor, deed)
    entries.forget(str(row.organization_id))
    listing.forget(seen.credential)
    return row


def _exchange(row: Provider, key: str, overlap: timedelta) -> None:
    at = timezone.now()
    old: Any = row.api_key
    keeps = bool(overlap) and not row_entry(row).problem and bool(row_entry(row).credential.api_key)
    row.previous_key = old if keeps else None
    row.previous_fingerprint = row.fingerprint if keeps else ""
    row.previous_until = at + overlap if keeps else None
    row.api_key, row.fingerprint = key, masked(key_name(key), row.provider_type)
    row.rotated_at, row.stood_in_at = at, None


def end_overlap(provider: Provider, actor: str = "") -> None:
    """Wipe the old key now."""
    _wipe([str(provider.pk)], actor)


def wipe_old_keys() -> int:
    """Wipe the old keys whose time is up; how many."""
    due = Provider.objects.filter(previous_until__lte=timezone.now())
    return _wipe(list(due.values_list("pk", flat=True)[:MOST_WIPED]), "")


def _wipe(ids: list[str], actor: str) -> int:
    with transaction.atomic():
        rows = Provider.objects.select_for_update(skip_locked=True).filter(pk__in=ids, previous_until__isnull=False)
        found = list(rows.only("pk", "organization_id", "previous_fingerprint"))
        wiped = {"previous_key": None, "previous_fingerprint": "", "previous_until": None}
        Provider.objects.filter(pk__in=[row.pk for row in found]).update(**wiped)
        for row in found:
            before = {"fingerprint": row.previous_fingerprint}
            deed = Deed(action="provider.wipe_old_key", target=str(row.pk), before=before)
            audit.note(str(row.organization_id), actor, deed)
    for organization_id in {str(row.organization_id) for row in found}:
        entries.forget(organization_id)
    return len(found)
