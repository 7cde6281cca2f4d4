"""Whose rows an operator sees in the admin, and what the role in each organization allows."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.access import ADMIN_ROLES, PICKED, WRITING_ROLES
from accounts.models import Membership, Role

Roles = frozenset[str]

READERS: Roles = frozenset(Role.values)
OPERATORS: Roles = WRITING_ROLES
ADMINS: Roles = ADMIN_ROLES
OWNERS: Roles = frozenset({Role.OWNER})
SUPERUSERS: Roles = frozenset()

_CACHE = "_console_roles"


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_superuser", False))


def roles_of(request: HttpRequest) -> dict[str, str]:
    """Organization id to role, of a user who is no superuser. Read once a request."""
    found: dict[str, str] | None = getattr(request, _CACHE, None)
    if found is None:
        if request.user.is_authenticated and request.user.is_active:
            rows = Membership.objects.filter(user_id=request.user.pk).values_list("organization_id", "role")
            found = {str(organization_id): role for organization_id, role in rows}
        else:
            found = {}
        setattr(request, _CACHE, found)
    return found


def organization_ids(request: HttpRequest, allowed: Roles = READERS) -> list[str] | None:
    """The organizations in which the user has one of these roles; None: all that there are."""
    if is_superuser(request):
        return None
    return [organization_id for organization_id, role in roles_of(request).items() if role in allowed]


def may(request: HttpRequest, allowed: Roles, organization_id: str | None = None) -> bool:
    """With no organization given: in any of them."""
    if is_superuser(request):
        return True
    roles = roles_of(request)
    if organization_id is not None:
        return roles.get(organization_id) in allowed
    return any(role in allowed for role in roles.values())


def picked(request: HttpRequest) -> str | None:
    """The organization that the picker stands on, if the user still belongs to it."""
    chosen: str | None = request.session.get(PICKED) if hasattr(request, "session") else None
    if chosen and (is_superuser(request) or chosen in roles_of(request)):
        return chosen
    return None


def shown_organization_ids(request: HttpRequest) -> list[str] | None:
    """What lists and figures are narrowed to: the picked organization, else all that the user may see."""
    chosen = picked(request)
    return [chosen] if chosen else organization_ids(request)


def figure_organizations(request: HttpRequest) -> list[str | None]:
    """What figures are asked for, one organization at a time; [None]: the whole installation at once."""
    ids = shown_organization_ids(request)
    return [None] if ids is None else list(ids)
