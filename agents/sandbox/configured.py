"""The sandbox that the settings name: one in a server process."""

from __future__ import annotations

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from agents.sandbox.base import Limits, Sandbox
from agents.sandbox.local import Policy
from core.network import addresses_of, is_public

WEB_PORTS = frozenset({80, 443, 8080, 8443})


@cache
def sandbox() -> Sandbox:
    """A back end is made with the `Policy` of this server."""
    limits = Limits(wall_s=settings.SANDBOX_TIMEOUT_S, memory_mb=settings.SANDBOX_MEMORY_MB)
    found: Sandbox = import_string(settings.SANDBOX_BACKEND)(
        Policy(settings.SANDBOX_DIR, limits, settings.SANDBOX_POOL, settings.SANDBOX_ALLOW_UNISOLATED, public_addresses)
    )
    return found


def public_addresses(host: str, port: int) -> list[str]:
    """Where tools may go: those of the host that lie in the internet. Raises OSError, UnicodeError."""
    if port not in WEB_PORTS:
        return []
    return [str(address) for address in addresses_of(host, port) if is_public(address)]
