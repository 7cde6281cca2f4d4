"""Keeps what was done: one row a deed, written with it or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accounts.models import AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """`action` reads noun.verb. `before` and `after` are JSON values without any secret."""

    action: str
    target: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    reason: str = ""


def note(organization_id: str, actor_id: str, deed: Deed) -> AuditEntry:
    """Call it in the transaction of the deed. `actor_id`: a user or an API key, "" for a scheduled job."""
    return AuditEntry.objects.create(
        organization_id=organization_id,
        actor_id=actor_id,
        action=deed.action,
        target=deed.target,
        before=None if deed.before is None else dict(deed.before),
        after=None if deed.after is None else dict(deed.after),
        reason=deed.reason,
    )
