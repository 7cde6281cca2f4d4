"""POST to the address of a channel: guarded and never redirected, see `core.outbound`."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

from core import outbound
from core.outbound import Policy


def _policy() -> Policy:
    return Policy(settings.ALERT_PRIVATE_ADDRESSES, "ALERT_PRIVATE_ADDRESSES", "Perennial-Alerts/1")


def clean_url(url: str) -> str:
    """Raises Invalid."""
    return outbound.clean_url(url, _policy())


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status, which was one of success. Raises NotDelivered."""
    return outbound.post(url, body, headers, _policy())
