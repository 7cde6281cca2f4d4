"""Who may do what: organizations, their people, projects and API keys."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models

from core.ids import PrefixedIdField
from core.models import OrganizationModel, TimeStamped


class Organization(TimeStamped):
    """A tenant: everything belongs to one, and nothing crosses between two."""

    id = PrefixedIdField(prefix="org", primary_key=True)
    name = models.CharField(max_length=100)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin, TimeStamped):
    """A person who logs in by email. A superuser operates the whole installation."""

    id = PrefixedIdField(prefix="user", primary_key=True)
    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True, help_text="Untick instead of deleting: what the user did stays.")
    is_staff = models.BooleanField("may log in to the admin", default=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ["email"]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return str(self)

    def clean(self) -> None:
        self.email = self.email.lower()


class Role(models.TextChoices):
    OWNER = "owner", "Owner: everything, members included"
    ADMIN = "admin", "Admin: everything but members"
    OPERATOR = "operator", "Operator: runs agents, edits memory"
    VIEWER = "viewer", "Viewer: looks only"


class Membership(OrganizationModel):
    id = PrefixedIdField(prefix="member", primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="one_membership_per_user")]

    def __str__(self) -> str:
        return f"{self.user} in {self.organization}"


class Project(OrganizationModel):
    """A part of an organization's work that is told apart in its cost."""

    id = PrefixedIdField(prefix="project", primary_key=True)
    name = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "name"], name="one_project_per_name")]

    def __str__(self) -> str:
        return self.name


class Scope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Write: create, change, delete, send messages"


def all_scopes() -> list[str]:
    return list(Scope.values)


class ApiKey(OrganizationModel):
    """A bearer key of `/v1` and `/ws`. The secret is shown once; kept are its prefix and its SHA-256.

    The secret has 256 random bits, so a plain hash is as safe as a slow one and costs nothing per request.
    """

    id = PrefixedIdField(prefix="key", primary_key=True)
    project = models.ForeignKey(Project, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_keys", help_text="Acts in this name.")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    hash = models.CharField(max_length=64, editable=False)
    scopes = models.JSONField(default=all_scopes)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["organization", "-created_at"])]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.masked})"

    @property
    def masked(self) -> str:
        return f"pn_{self.prefix}_…"

    @staticmethod
    def generate() -> tuple[str, str, str]:
        """(secret to show once, prefix, hash)."""
        prefix = secrets.token_hex(6)
        secret = f"pn_{prefix}_{secrets.token_urlsafe(32)}"
        return secret, prefix, hash_key(secret)


class ToolKey(OrganizationModel):
    """What the server calls its own API with for a tool, while that runs: in the name of the tool's agent.

    `api_key_id`: of the key that the tool's run was sent with; where it ends, this ends. `depth`: how many tools have
    sent a message between the first sender and this one.
    """

    id = PrefixedIdField(prefix="toolkey", primary_key=True)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, related_name="+", db_index=False)
    agent_id = models.CharField(max_length=60)
    api_key_id = models.CharField(max_length=60, blank=True)
    depth = models.PositiveSmallIntegerField(default=0)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"of {self.agent_id}"


def hash_key(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class AuditEntry(OrganizationModel):
    """What somebody did that others must be able to trust later: who, to what, from what to what. Never changed."""

    id = PrefixedIdField(prefix="audit", primary_key=True)
    actor_id = models.CharField(max_length=60, blank=True, help_text="A user or an API key; empty: a scheduled job.")
    action = models.CharField(max_length=60, help_text="noun.verb: budget.raise, prices.reprice …")
    target = models.CharField(max_length=200, blank=True, help_text="The id of what it was done to.")
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["organization", "-created_at", "id"], name="accounts_au_organiz_list"),
            models.Index(fields=["organization", "target", "-created_at"], name="accounts_au_organiz_target"),
        ]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.target}".strip()
