"""Keys of tools that call this server while they run: made with the call, gone with it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError
from django.utils import timezone

from accounts.access import Caller, still_holds
from accounts.models import ToolKey, all_scopes, hash_key
from core.errors import Unauthenticated

log = logging.getLogger(__name__)

PREFIX = "pt_"


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The agent whose tool it is; the rest as in `ToolKey`."""

    organization_id: str
    agent_id: str
    project_id: str = ""
    api_key_id: str = ""
    depth: int = 0


@contextmanager
def held(holder: Holder, seconds: float) -> Iterator[str]:
    """A key for as long as this lasts; no longer than `seconds`, should this process die."""
    secret = PREFIX + secrets.token_urlsafe(32)
    ToolKey.objects.filter(expires_at__lt=timezone.now()).delete()  # of processes that have died
    row = ToolKey.objects.create(
        organization_id=holder.organization_id,
        hash=hash_key(secret),
        project_id=holder.project_id or None,
        agent_id=holder.agent_id,
        api_key_id=holder.api_key_id,
        depth=holder.depth,
        expires_at=timezone.now() + timedelta(seconds=seconds),
    )
    try:
        yield secret
    finally:
        try:
            row.delete()
        except DatabaseError as error:  # it expires; what the tool gave is not lost for it
            log.warning("%s of %s lives until it expires: %s", row.pk, holder.agent_id, error)


def caller_of_tool_key(secret: str) -> Caller:
    """The agent whose tool calls. It is no user, so whatever needs an admin is refused. Raises Unauthenticated."""
    row = ToolKey.objects.filter(hash=hash_key(secret), expires_at__gt=timezone.now()).first()
    if row is None or (row.api_key_id and not still_holds(row.api_key_id)):
        raise Unauthenticated("This key was of a tool's call, which has ended, or whose sender's key has.")
    return Caller(
        organization_id=row.organization_id,
        user_id=row.agent_id,
        scopes=frozenset(all_scopes()),
        api_key_id=row.api_key_id,
        project_id=row.project_id,
        agent_id=row.agent_id,
        depth=row.depth,
    )
