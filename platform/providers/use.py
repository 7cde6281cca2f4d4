"""What is kept of an organization's own key while it is used: when last, what failed, what is left of its limits.

Written at most once a minute and key by each process, failures once in five seconds; base providers have no row.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, F, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import audit
from accounts.audit import Deed
from providers.errors import AuthenticationFailed, InsufficientCredits, ProviderError
from providers.headroom import seen_by
from providers.models import Provider

log = logging.getLogger(__name__)
TOUCH_S = 60.0
ERROR_S = 5.0
MOST_KEYS = 10_000
_FAILING = (AuthenticationFailed, InsufficientCredits)
_lock = threading.Lock()
_touched: dict[tuple[str, str], float] = {}


def note_use(
    provider_id: str | None,
    error: ProviderError | str | None = None,
    client: object = None,
    *,
    is_previous: bool = False,
) -> None:
    """After each attempt. `error` None or "": it answered; `client`: whose last answer tells the limits.

    `is_previous`: it was made with the key before the present one, so it says nothing about that one.
    """
    if provider_id is None:
        return
    kind = "" if not error else error.error_type if isinstance(error, ProviderError) else "error"
    if not _is_due(provider_id, f"old {kind}" if is_previous else kind):
        return
    at = timezone.now()
    changes: dict[str, Any] = {"last_used_at": at}
    if error:
        message = error.message if isinstance(error, ProviderError) else error
        changes |= {"last_error": message[:2000], "last_error_at": at}
        if isinstance(error, _FAILING) and not is_previous:
            changes["failing_since"] = Coalesce(F("failing_since"), Value(at, output_field=DateTimeField()))
    elif not is_previous:
        changes |= {"failing_since": None, "failed_checks": 0}
    if left := seen_by(client):
        changes["headroom"] = {"at": at.isoformat(), **left}
    Provider.objects.filter(id=provider_id).update(**changes)


def note_stand_in(provider_id: str, error: ProviderError) -> None:
    """The new key was refused and the one before it is used: said loudly, and kept in the audit once a change."""
    log.error("Provider %s: its new key was refused, the key before it is used (%s)", provider_id, error.message)
    if not _is_due(provider_id, "stand_in"):
        return
    with transaction.atomic():
        row = Provider.objects.filter(id=provider_id).only("id", "organization_id", "stood_in_at").first()
        if row is None:
            return
        if row.stood_in_at is None:
            deed = Deed(action="provider.old_key_stood_in", target=provider_id, reason=error.message[:500])
            audit.note(str(row.organization_id), "", deed)
        Provider.objects.filter(id=provider_id).update(stood_in_at=timezone.now())


def _is_due(provider_id: str, kind: str) -> bool:
    clock = time.monotonic()
    pause = ERROR_S if kind else TOUCH_S
    key = (provider_id, kind)
    with _lock:
        if clock - _touched.get(key, -pause) < pause:
            return False
        if len(_touched) >= MOST_KEYS:
            _touched.clear()
        _touched[key] = clock
        if kind:
            _touched.pop((provider_id, ""), None)  # the next answer says at once that it works again
    return True


def forget_touches() -> None:
    with _lock:
        _touched.clear()
