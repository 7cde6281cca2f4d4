"""Whether organizations' own keys still work: asked on a schedule, each key seldom, one that fails more often.

One asking is the cheapest call that needs the key, the list of models. A key is asked once in `PROVIDER_CHECK_HOURS`
and up to 30 % later, so that keys entered together drift apart; one that fails after 15 minutes, then twice that, and
so on up to the usual time. A call that was refused in use, or answered, counts as well (`providers.use`).
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from providers.models import Provider

FIRST_RETRY_S = 15 * 60
JITTER = 0.3
CLAIM = timedelta(minutes=10)
MOST_FAILURES = 20


def next_check(failures: int, at: datetime) -> datetime | None:
    """None where the operator has turned checks off."""
    usual = settings.PROVIDER_CHECK_HOURS * 3600
    if not usual:
        return None
    pause = min(usual, FIRST_RETRY_S * 2 ** (min(failures, MOST_FAILURES) - 1)) if failures else usual
    return at + timedelta(seconds=pause * random.uniform(1, 1 + JITTER))  # noqa: S311 - no secret


def checked(row: Provider, error: str) -> set[str]:
    """Set on a row what a check found; the names of what was set, to be written."""
    at = timezone.now()
    row.checked_at = at
    row.failed_checks = min(row.failed_checks + 1, MOST_FAILURES) if error else 0
    row.failing_since = (row.failing_since or at) if error else None
    row.next_check_at = next_check(row.failed_checks, at)
    if error:
        row.last_error_at = at
    row.last_error = error[:2000]
    return {"checked_at", "failed_checks", "failing_since", "next_check_at", "last_error_at", "last_error"}


def claim_due(most: int) -> list[str]:
    """The keys whose time has come; nobody else gets them for ten minutes."""
    if not settings.PROVIDER_CHECK_HOURS:
        return []
    at = timezone.now()
    due = Provider.objects.filter(enabled=True, next_check_at__lte=at).order_by("next_check_at")
    with transaction.atomic():
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:most])
        Provider.objects.filter(pk__in=ids).update(next_check_at=at + CLAIM)
    return ids
