"""The one door from a key or a log-in to what its holder may do."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, Membership, Role, Scope, User, hash_key
from core.errors import PermissionDenied, Unauthenticated

PICKED = "console_organization"  # of a session: the organization that its user stands on
TOUCH_SECONDS = 60
_last_touch: dict[str, float] = {}

WRITING_ROLES: frozenset[str] = frozenset({Role.OWNER, Role.ADMIN, Role.OPERATOR})
ADMIN_ROLES: frozenset[str] = frozenset({Role.OWNER, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as the rooms need to know: every query is scoped by `organization_id`.

    `agent_id`: that of an agent whose tool calls, which is in place of a user then; `depth` as in `ToolKey`.
    """

    organization_id: str
    user_id: str
    scopes: frozenset[str]
    api_key_id: str = ""
    project_id: str | None = None
    agent_id: str = ""
    depth: int = 0

    @property
    def actor_id(self) -> str:
        """Whose deed it is: of the agent, of the key, or of the user who has none."""
        return self.agent_id or self.api_key_id or self.user_id

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise PermissionDenied(f"This key lacks the scope “{scope}”: use a key that has it.")


def caller_of_key(secret: str) -> Caller:
    """The caller that a bearer key stands for. Raises Unauthenticated."""
    parts = secret.split("_", 2)
    if len(parts) != 3 or parts[0] != "pn":
        raise Unauthenticated("The API key is not of the form pn_<prefix>_<secret>: copy it whole.")
    columns = ("id", "hash", "organization_id", "user_id", "project_id", "scopes", "expires_at", "revoked_at")
    rows = ApiKey.objects.filter(prefix=parts[1], user__is_active=True).order_by().values_list(*columns)
    row = next(iter(rows), None)
    if row is None or not hmac.compare_digest(row[1], hash_key(secret)):
        raise Unauthenticated("No such API key: create one in the admin under API keys.")
    key_id, _, organization_id, user_id, project_id, scopes, expires_at, revoked_at = row
    if revoked_at is not None:
        raise Unauthenticated("This API key was revoked: create a new one in the admin.")
    if expires_at is not None and expires_at <= timezone.now():
        raise Unauthenticated(f"This API key expired at {expires_at.isoformat()}: create a new one in the admin.")
    _touch(key_id)
    return Caller(organization_id, user_id, frozenset(scopes), key_id, project_id)


def still_holds(api_key_id: str) -> bool:
    """Whether what was begun with this key may go on: it was not revoked, has not expired, and its user is active."""
    live = ApiKey.objects.filter(pk=api_key_id, user__is_active=True, revoked_at=None)
    return live.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now())).exists()


def caller_of_member(user_id: str, organization_id: str) -> Caller:
    """The caller that a logged-in member stands for. Raises PermissionDenied."""
    membership = Membership.objects.filter(
        user_id=user_id, organization_id=organization_id, user__is_active=True
    ).first()
    if membership is None:
        raise PermissionDenied("You are not a member of this organization.")
    scopes = {Scope.READ.value} | ({Scope.WRITE.value} if membership.role in WRITING_ROLES else set())
    return Caller(organization_id, user_id, frozenset(scopes))


def is_admin(user_id: str, organization_id: str) -> bool:
    """An owner or admin of the organization, or a superuser."""
    roles = Membership.objects.filter(organization_id=organization_id, user_id=user_id)
    return roles.filter(role__in=ADMIN_ROLES).exists() or User.objects.filter(pk=user_id, is_superuser=True).exists()


def require_admin(caller: Caller, what: str) -> Caller:
    """Whoever may change `what`: an owner or admin. A key acts in its user's name, so that no operator's key can free
    itself of its own limits. Raises PermissionDenied."""
    if caller.agent_id or not is_admin(caller.user_id, caller.organization_id):
        raise PermissionDenied(f"{what} are changed by owners and admins of the organization alone.")
    return caller


def _touch(key_id: str) -> None:
    """Note the use of a key, at most once a minute and process."""
    now = time.monotonic()
    if now - _last_touch.get(key_id, -TOUCH_SECONDS) < TOUCH_SECONDS:
        return
    _last_touch[key_id] = now
    stale = timezone.now() - timedelta(seconds=TOUCH_SECONDS)
    ApiKey.objects.filter(Q(last_used_at__lt=stale) | Q(last_used_at=None), pk=key_id).update(
        last_used_at=timezone.now()
    )
