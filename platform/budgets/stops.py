"""The kill switch: stop an agent, a key, anything that a rule can be about, and lift it again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction

from accounts import audit
from accounts.audit import Deed
from budgets import rules
from budgets.models import Stop
from core.errors import Conflict
from core.time import now

log = logging.getLogger(__name__)

# Other processes read the rules anew within RULES_TTL_S; what they let pass until then is cancelled by the sweep.
SWEEP_S = 60.0

Canceller = Callable[[Stop], int]
_cancellers: list[Canceller] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStop:
    organization_id: str
    scope: str
    target: str = ""
    reason: str


def register_canceller(canceller: Canceller) -> None:
    """Told of a stop, it cancels what runs for its target, and says how many."""
    if canceller not in _cancellers:
        _cancellers.append(canceller)


def stop(new: NewStop, actor_id: str) -> tuple[Stop, int]:
    """The stop, and how many runs it cancelled. Raises Conflict where one stands already, ValidationError."""
    row = Stop(
        organization_id=new.organization_id,
        scope=new.scope,
        target=new.target,
        reason=new.reason.strip(),
        stopped_by_id=actor_id,
        created_by_id=actor_id,
    )
    row.full_clean(exclude=["organization"], validate_constraints=False)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            told = {"scope": row.scope, "target": row.target}
            audit.note(
                row.organization_id, actor_id, Deed(action="stop.set", target=row.pk, after=told, reason=row.reason)
            )
    except IntegrityError:
        raise Conflict(f"{row} stands already: lift it, or leave it as it is.") from None
    rules.forget(row.organization_id)
    return row, cancel_for(row)


def lift(row: Stop, actor_id: str, reason: str = "") -> bool:
    """False where it was lifted before."""
    with transaction.atomic():
        standing = Stop.objects.filter(pk=row.pk, lifted_at=None)
        if not standing.update(lifted_at=now(), lifted_by_id=actor_id, lift_reason=reason, updated_at=now()):
            return False
        told = {"scope": row.scope, "target": row.target}
        audit.note(row.organization_id, actor_id, Deed(action="stop.lift", target=row.pk, before=told, reason=reason))
    rules.forget(row.organization_id)
    return True


def standing(organization_id: str, scope: str, target: str) -> Stop | None:
    mine = Stop.objects.filter(organization_id=organization_id, scope=scope, target=target)
    return mine.filter(lifted_at=None).first()


def cancel_for(row: Stop) -> int:
    cancelled = sum(canceller(row) for canceller in _cancellers)
    if cancelled:
        log.warning("%s (%s): %d runs cancelled", row, row.pk, cancelled)
    return cancelled


def sweep() -> int:
    """Cancel what was let through while a new stop had not reached every process."""
    fresh = Stop.objects.filter(lifted_at=None, created_at__gte=now() - timedelta(seconds=SWEEP_S))
    return sum(cancel_for(row) for row in fresh)
