"""Who calls a route of `/api`: a bearer key, or an operator logged in to the admin; and what they may do.

    class Budgets(APIView):  # or DRF's generics
        def get(self, request): rows = Budget.objects.filter(organization_id=caller_of(request).organization_id)

`caller_of` gives the organization to read and write in; `organization_of` may also be None, the whole installation,
for a superuser who stands on no organization. GET wants the scope “read”, the other methods “write”, but for a view
with `only_reads = True`. A key of one project has no more than that project: `rows_of` and `own_project` narrow to it,
`of_organization` keeps it from what no project has (decision 0032).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import Model, Q, QuerySet
from django.utils.functional import SimpleLazyObject
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from accounts.access import PICKED, Caller, caller_of_member, require_admin
from accounts.http import authenticate as authenticate_key
from accounts.models import Membership, Organization, Scope, User
from core.errors import BadInput, NotFound, PermissionDenied, Unauthenticated
from core.ids import is_id

M = TypeVar("M", bound=Model)
CHOICE = "X-Organization-Id"
_PICK = f"pick one in the admin, or name it in the header {CHOICE}."


class BearerKey(BaseAuthentication):
    """`Authorization: Bearer pn_…`, as on `/v1`; `X-Project-Id` narrows to a project."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        if "Authorization" not in request.headers:
            return None
        caller = authenticate_key(request._request)
        if request.headers.get(CHOICE, caller.organization_id) != caller.organization_id:
            raise PermissionDenied(f"This key belongs to another organization than the header {CHOICE} names.")
        return SimpleLazyObject(lambda: User.objects.get(pk=caller.user_id)), caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class AdminSession(SessionAuthentication):
    """Staff's log-in to the admin. Writing wants the CSRF token, as everywhere in the admin."""

    def authenticate(self, request: Request) -> tuple[Any, Caller | None] | None:
        found = super().authenticate(request)
        if found is None or not found[0].is_staff:
            return None
        return found[0], _caller_of_session(request, found[0])


def _caller_of_session(request: Request, user: User) -> Caller | None:
    """None: a superuser who stands on no organization. Raises NotFound, BadInput."""
    wanted = request.headers.get(CHOICE) or request._request.session.get(PICKED) or ""
    if user.is_superuser:
        if not wanted:
            return None
        if not is_id("org", wanted) or not Organization.objects.filter(pk=wanted).exists():
            raise NotFound(f"Organization with ID {wanted[:60]} not found.")
        return Caller(wanted, str(user.pk), frozenset(Scope.values))
    if not wanted:
        ids = list(Membership.objects.filter(user_id=user.pk).values_list("organization_id", flat=True)[:2])
        if len(ids) != 1:
            raise BadInput(f"You belong to several organizations: {_PICK}" if ids else "You belong to no organization.")
        wanted = str(ids[0])
    if not is_id("org", wanted):
        raise NotFound(f"Organization with ID {wanted[:60]} not found.")
    try:
        return caller_of_member(str(user.pk), wanted)
    except PermissionDenied:
        raise NotFound(f"Organization with ID {wanted} not found.") from None


class ScopeNeeded(BasePermission):
    """Reading wants the scope “read”, everything else “write”, but where the view says that it only reads."""

    def has_permission(self, request: Request, view: Any) -> bool:
        reads = request.method in SAFE_METHODS or getattr(view, "only_reads", False)
        if isinstance(request.auth, Caller):
            request.auth.require(Scope.READ if reads else Scope.WRITE)
        elif not request.user.is_authenticated:
            raise Unauthenticated("Send an API key in the header “Authorization: Bearer pn_…”, or log in to the admin.")
        return True


def caller_of(request: Request) -> Caller:
    """Raises BadInput for a superuser who stands on no organization."""
    if not isinstance(request.auth, Caller):
        raise BadInput(f"This belongs to one organization: {_PICK}")
    return request.auth


def admin_of(request: Request, what: str) -> Caller:
    """Whoever may change `what`. Raises PermissionDenied, BadInput."""
    return require_admin(caller_of(request), what)


def organization_of(request: Request) -> str | None:
    """What to narrow reading to; None, the whole installation, for superusers alone."""
    if isinstance(request.auth, Caller):
        return request.auth.organization_id
    if not request.user.is_superuser:
        raise PermissionDenied("The whole installation is for superusers.")
    return None


def _by_column(project_id: str) -> Q:
    return Q(project_id=project_id)


def rows_of(request: Request, model: type[M], in_project: Callable[[str], Q] = _by_column) -> QuerySet[M]:
    """Those that reading is narrowed to. `in_project`: which of the model's rows are a project's."""
    organization_id, project_id = organization_of(request), project_of(request)
    rows: QuerySet[M] = model._default_manager.all()
    if organization_id is not None:
        rows = rows.filter(organization_id=organization_id)
    return rows.filter(in_project(project_id)) if project_id else rows


def find(rows: QuerySet[M], prefix: str, pk: str) -> M:
    """The one row of that id. Raises NotFound."""
    row = rows.filter(pk=pk).first() if is_id(prefix, pk) else None
    if row is None:
        raise NotFound(f"There is no {prefix} with ID {pk[:60]}.")
    return row


def project_of(request: Request) -> str:
    """The one that a key is narrowed to, by itself or by `X-Project-Id`; else ""."""
    return (request.auth.project_id or "") if isinstance(request.auth, Caller) else ""


def own_project(request: Request, asked: str = "") -> str:
    """The one that was asked for, or the key's own; "" for all. Raises PermissionDenied for another than the key's."""
    own = project_of(request)
    if own and asked not in ("", own):
        raise PermissionDenied(f"This key, or its header X-Project-Id, is of another project than {asked[:60]}.")
    return own or asked


def of_organization(request: Request, what: str) -> None:
    """Let pass who asks for `what`, which no project has. Raises PermissionDenied for a key of one project."""
    if project_of(request):
        raise PermissionDenied(f"{what}: use a key of no project, and leave X-Project-Id out.")


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = BearerKey
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An API key, pn_…"}


class SessionScheme(OpenApiAuthenticationExtension):
    target_class = AdminSession
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
