"""Periodic work on organizations' own keys: asked whether they work, and old ones wiped."""

from __future__ import annotations

from celery import shared_task

from core.errors import BadInput
from providers import rotation, validation
from providers.actions import check_provider
from providers.models import Provider

MOST_A_MINUTE = 30


@shared_task(name="providers.tend_keys")
def tend_keys() -> None:
    """Every minute: rings for each key that is due; a few short statements."""
    rotation.wipe_old_keys()
    for provider_id in validation.claim_due(MOST_A_MINUTE):
        check_key.delay(provider_id)


@shared_task(name="providers.check_key")
def check_key(provider_id: str) -> None:
    """One call to the vendor, 15 seconds at most."""
    row = Provider.objects.filter(pk=provider_id, enabled=True).first()
    if row is None:
        return
    try:
        check_provider(row)
    except BadInput:
        return  # kept on the row, where the pages show it
