"""From an HTTP request's bearer key to its caller."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpRequest
from ninja.security.http import HttpAuthBase

from accounts.access import Caller, caller_of_key
from accounts.models import Project, Scope
from accounts.tool_keys import PREFIX, caller_of_tool_key
from core.errors import NotFound, PermissionDenied, Unauthenticated
from core.ids import is_id

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class ApiRequest(HttpRequest):
    """An authenticated request. `project_id`: what the header X-Project-Id named, else None."""

    caller: Caller
    project_id: str | None


class BearerKey(HttpAuthBase):
    """Auth of the API's routes. `scope`: what the route needs, where the HTTP method does not say it.

    It queries the database, so it is synchronous; Ninja calls it in a thread where the view is asynchronous.
    """

    openapi_scheme = "bearer"

    def __init__(self, scope: Scope | None = None) -> None:
        self.scope = scope
        super().__init__()

    def __call__(self, request: HttpRequest) -> Caller:
        caller = authenticate(request)
        caller.require(self.scope or (Scope.READ if request.method in _READING else Scope.WRITE))
        return caller


def authenticate(request: HttpRequest) -> Caller:
    """The caller, also put on the request. Raises Unauthenticated, PermissionDenied, NotFound (its project)."""
    kind, _, key = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not key.strip():
        raise Unauthenticated("Send an API key in the header “Authorization: Bearer pn_…”.")
    key = key.strip()
    caller = caller_of_tool_key(key) if key.startswith(PREFIX) else caller_of_key(key)
    project_id = request.headers.get("X-Project-Id") or None
    if project_id:
        caller = _within_project(caller, project_id)
    request.caller, request.project_id = caller, project_id  # type: ignore[attr-defined]
    return caller


def _within_project(caller: Caller, project_id: str) -> Caller:
    if caller.project_id == project_id:
        return caller
    known = is_id("project", project_id) and (
        Project.objects.filter(pk=project_id, organization_id=caller.organization_id).exists()
    )
    if not known:
        raise NotFound(f"Project with ID {project_id} not found (header X-Project-Id).")
    if caller.project_id:
        raise PermissionDenied("This key belongs to another project than the header X-Project-Id names.")
    return replace(caller, project_id=project_id)
