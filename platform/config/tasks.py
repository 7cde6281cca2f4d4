"""Periodic jobs that join rooms which do not know each other."""

from __future__ import annotations

from celery import shared_task

from config.announcements import tell_of_failing_keys as tell


@shared_task(name="config.tell_of_failing_keys", ignore_result=True, expires=300)
def tell_of_failing_keys() -> int:
    """How many channels are told, or were before."""
    return tell()
