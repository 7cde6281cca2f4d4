"""Deleting traces: asked for once, done in pieces that survive any death, and believed only when nothing is left.

`advance` does as much as fits into one short turn, and may be called by anybody at any time: a lease lets one do it.
The pieces are written down before they are deleted, so the receipt knows them whoever was killed in between.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.audit import Deed, note
from accounts.models import Organization, User
from core.errors import Conflict, Invalid
from core.ids import is_id
from core.time import now
from telemetry.client import TelemetryUnavailable
from telemetry.ledger import ERASED
from telemetry.models.deletion import PENDING, DeletionState, Scope, TraceDeletion
from telemetry.spool_state import waits_for
from telemetry.stores import Piece, Store, Wanted, not_reached, stores

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=20)
TURN_S = 20.0
LOOK_AGAIN = timedelta(seconds=20)
LONGEST_PAUSE = timedelta(minutes=5)
# So long spools are waited for; then the receipt says which ones were not known to be empty.
PATIENCE = timedelta(days=7)
# A worker may still be at it when its organization is deleted.
AFTERMATH = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`target_id`: an agent's or an end user's id; "" for all of the organization."""

    organization_id: str
    scope: str
    target_id: str = ""
    reason: str = ""
    requested_by_id: str = ""
    leaving: bool = False  # the organization itself is being deleted


def request_deletion(asked: Request) -> TraceDeletion:
    """Queue it, with everything that was called until now. Raises Invalid, Conflict."""
    if asked.scope not in Scope.values or bool(asked.target_id) == (asked.scope == Scope.ORGANIZATION):
        raise Invalid("Name an agent or an end user, or nobody for all of the organization.")
    known = is_id("org", asked.organization_id)
    organization = Organization.objects.filter(pk=asked.organization_id).first() if known else None
    if organization is None:
        raise Invalid("There is no such organization.")
    same = {"organization_id": asked.organization_id, "scope": asked.scope, "target_id": asked.target_id}
    if not asked.leaving and TraceDeletion.objects.filter(state__in=PENDING, **same).exists():
        raise Conflict("The same is being deleted already: wait for it, see “Trace deletions”.")
    user_id = asked.requested_by_id
    user = User.objects.filter(pk=user_id).first() if is_id("user", user_id) else None
    at = now()
    with transaction.atomic():
        row = TraceDeletion.objects.create(
            **same,
            organization_name=organization.name,
            reason=asked.reason,
            requested_by_id=asked.requested_by_id,
            requested_by=user.email if user else "",
            created_at=at,
            cut_off=at + AFTERMATH if asked.leaving else at,
        )
        after = {"deletion": row.pk, "scope": asked.scope, "cut_off": row.cut_off.isoformat()}
        deed = Deed(action="traces.delete", target=asked.target_id or row.pk, after=after, reason=asked.reason)
        note(asked.organization_id, asked.requested_by_id, deed)
    return row


def preview(asked: Request) -> list[tuple[str, str, int]]:
    """What would go now: back end, table, rows. Raises TelemetryUnavailable."""
    wanted = Wanted(
        organization_id=asked.organization_id, scope=asked.scope, target_id=asked.target_id, cut_off=timezone.now()
    )
    counted: dict[tuple[str, str], int] = {}
    for store in stores():
        for piece in store.plan(wanted):
            counted[store.name, piece.table] = counted.get((store.name, piece.table), 0) + piece.found
    return [(store, table, rows) for (store, table), rows in counted.items()]


def due(limit: int = 20) -> list[str]:
    """Ids of what should go on now."""
    at = now()
    free = Q(lease_until=None) | Q(lease_until__lt=at)
    rows = TraceDeletion.objects.filter(free, state__in=PENDING, try_at__lte=at).order_by("try_at")
    return [str(pk) for pk in rows.values_list("pk", flat=True)[:limit]]


def again(deletion_id: str) -> None:
    """What has failed is tried once more."""
    fresh = {"state": DeletionState.QUEUED, "tries": 0, "try_at": now(), "lease_until": None, "waits_for": ""}
    TraceDeletion.objects.filter(pk=deletion_id, state=DeletionState.FAILED).update(**fresh)


def advance(deletion_id: str, turn_s: float = TURN_S) -> bool:
    """One turn. True: there is more to do now; False: it is finished, waits, or is somebody else's."""
    row = _claim(deletion_id)
    if row is None:
        return False
    try:
        more = _turn(row, time.monotonic() + turn_s)
    except TelemetryUnavailable as error:
        pause = min(timedelta(seconds=5) * 2 ** min(row.tries, 10), LONGEST_PAUSE)
        _release(row, tries=row.tries + 1, waits_for=error.message[:300], try_at=now() + pause)
        return False
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:300]
        _release(row, state=DeletionState.FAILED, waits_for=said)
        raise
    if row.state in PENDING:
        _release(row, tries=0, try_at=now() if more else now() + LOOK_AGAIN)
    return more


def _claim(deletion_id: str) -> TraceDeletion | None:
    """One of an organization at a time: an agent's and an end user's would move the same sums."""
    at = now()
    asked = TraceDeletion.objects.filter(pk=deletion_id, state__in=PENDING)
    with transaction.atomic():
        same = TraceDeletion.objects.filter(organization_id__in=asked.values("organization_id"), state__in=PENDING)
        waiting = {str(row.pk): row for row in same.order_by("pk").select_for_update()}
        row = waiting.get(deletion_id)
        if row is None or any(one.lease_until and one.lease_until >= at for one in waiting.values()):
            return None
        _save(row, lease_until=at + LEASE, state=DeletionState.RUNNING)
    if row.started_at is None:
        _save(row, started_at=at)
    return row


def _release(row: TraceDeletion, **changes: Any) -> None:
    _save(row, lease_until=None, **changes)


def _save(row: TraceDeletion, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(update_fields=[*changes, "updated_at"])


def _turn(row: TraceDeletion, until: float) -> bool:
    wanted = Wanted(
        organization_id=str(row.organization_id), scope=row.scope, target_id=row.target_id, cut_off=row.cut_off
    )
    found = {store.name: store for store in stores()}
    if all(piece["done"] for piece in row.pieces):
        # The spool first: what it holds no more when we ask has arrived when we look.
        waiting = _waiting(row)
        new = [piece for store in found.values() for piece in store.plan(wanted)]
        if not new:
            return _end(row, wanted, found, waiting)
        written = [{**asdict(piece), "done": False, "pass": row.passes + 1} for piece in new]
        _save(row, pieces=row.pieces + written, passes=row.passes + 1, waits_for="", lease_until=now() + LEASE)
    for entry in row.pieces:
        if entry["done"]:
            continue
        if time.monotonic() >= until:
            return True
        _store_of(found, entry["backend"]).delete(wanted, _piece(entry))
        entry["done"] = True
        _save(row, pieces=row.pieces, lease_until=now() + LEASE)
    return True


def _store_of(found: dict[str, Store], name: str) -> Store:
    if name not in found:
        raise TelemetryUnavailable(f"The back end {name} is set no longer, and traces were found there: set it again.")
    return found[name]


def _piece(entry: dict[str, Any]) -> Piece:
    return Piece(**{name: entry[name] for name in ("backend", "table", "partition", "found", "ids")})


def _waiting(row: TraceDeletion) -> str:
    if row.cut_off > now():
        return "the time until which calls of the organization may still end"
    return waits_for(row.cut_off)


def _end(row: TraceDeletion, wanted: Wanted, found: dict[str, Store], waiting: str) -> bool:
    """Nothing is there. Is it known that nothing comes, it is over."""
    if waiting and now() < row.cut_off + PATIENCE:
        _save(row, left=0, waits_for=waiting[:300])
        return False
    pieces = [_piece(entry) for entry in row.pieces]
    left = sum(store.finish(wanted, pieces) for store in found.values())
    if left:
        _save(row, left=left)
        return True
    receipt = _receipt(row, waiting)
    digest = hashlib.sha256(canonical(receipt)).hexdigest()
    with transaction.atomic():
        _save(
            row,
            state=DeletionState.DONE,
            finished_at=now(),
            lease_until=None,
            left=0,
            waits_for="",
            receipt=receipt,
            receipt_sha256=digest,
        )
        if Organization.objects.filter(pk=row.organization_id).exists():
            after = {"deletion": row.pk, "rows": row.deleted, "sha256": digest}
            note(
                str(row.organization_id), "", Deed(action="traces.deleted", target=row.target_id or row.pk, after=after)
            )
    log.info("%s: %d rows are deleted, none is left", row.pk, row.deleted)
    return False


def _receipt(row: TraceDeletion, waiting: str) -> dict[str, Any]:
    """JSON that says what was deleted, for whom, and what was not reached."""
    totals: dict[str, int] = {}
    for entry in row.pieces:
        name = f"{entry['backend']}.{entry['table']}"
        totals[name] = totals.get(name, 0) + entry["found"]
    return {
        "deletion": row.pk,
        "organization_id": str(row.organization_id),
        "organization_name": row.organization_name,
        "scope": row.scope,
        "target_id": row.target_id,
        "reason": row.reason,
        "requested_by": row.requested_by or row.requested_by_id,
        "requested_at": row.created_at.isoformat(),
        "called_before": row.cut_off.isoformat(),
        "verified_at": now().isoformat(),
        "rows_left": 0,
        "rows_deleted": totals,
        "pieces": [{k: v for k, v in entry.items() if k != "done"} for entry in row.pieces],
        "sums": "deleted" if row.scope == Scope.ORGANIZATION else f"kept as amounts, without the id: under {ERASED}",
        "handed_on_and_not_reached": not_reached(),
        "spools_not_known_to_be_empty": waiting,
    }


def canonical(receipt: dict[str, Any]) -> bytes:
    """Keys sorted, no spaces: what the digest of a receipt is made of."""
    return orjson.dumps(receipt, option=orjson.OPT_SORT_KEYS)


def organization_is_leaving(organization_id: str, actor_id: str) -> None:
    """Called before an organization is deleted: its traces go too."""
    asked = Request(organization_id=organization_id, scope=Scope.ORGANIZATION, requested_by_id=actor_id, leaving=True)
    request_deletion(replace(asked, reason="The organization was deleted."))
