"""What is done to accounts: each action one function, called by the admin, commands and tests alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from accounts.models import ApiKey, Membership, Organization, Project, Role, User, all_scopes


@dataclass(frozen=True, slots=True)
class NewKey:
    name: str
    scopes: list[str] = field(default_factory=all_scopes)
    project: Project | None = None
    expires_at: datetime | None = None


@transaction.atomic
def create_organization(name: str, owner: User | None = None) -> Organization:
    organization = Organization.objects.create(name=name)
    if owner is not None:
        Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
    return organization


OrganizationGoes = Callable[[str, str], None]
_before_organization_goes: list[OrganizationGoes] = []


def before_organization_goes(tell: OrganizationGoes) -> None:
    """Register what a room above has to do first; it is called with the organization's id and the actor's."""
    if tell not in _before_organization_goes:
        _before_organization_goes.append(tell)


@transaction.atomic
def delete_organization(organization: Organization, actor_id: str = "") -> None:
    """With all that belongs to it; what lies outside the database is queued by those who keep it."""
    for tell in _before_organization_goes:
        tell(str(organization.pk), actor_id)
    organization.delete()


def create_api_key(organization: Organization, user: User, new: NewKey) -> tuple[ApiKey, str]:
    """The key's row, and its secret: the only time that anybody sees it."""
    secret, prefix, digest = ApiKey.generate()
    key = ApiKey.objects.create(
        organization=organization,
        user=user,
        name=new.name,
        scopes=new.scopes,
        project=new.project,
        expires_at=new.expires_at,
        prefix=prefix,
        hash=digest,
    )
    return key, secret


def revoke_api_key(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())


@dataclass(frozen=True, slots=True)
class NewMember:
    """`password` is used where no user has the email yet."""

    email: str
    role: str = Role.VIEWER
    name: str = ""
    password: str | None = None


@transaction.atomic
def add_member(organization: Organization, new: NewMember) -> tuple[Membership, bool]:
    """The membership, and whether the user was made for it. An existing member gets the new role."""
    email = new.email.strip().lower()
    user = User.objects.filter(email__iexact=email).first()
    created = user is None
    if user is None:
        user = User.objects.create_user(email, new.password, name=new.name, is_staff=True)
    membership, _ = Membership.objects.update_or_create(
        organization=organization, user=user, defaults={"role": new.role}
    )
    return membership, created
