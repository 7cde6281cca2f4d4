"""From a websocket's handshake to its caller: a bearer key, or a log-in to the admin on a page of this site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest

from accounts.access import Caller, caller_of_key, caller_of_member
from accounts.models import User, all_scopes
from core.errors import PermissionDenied, Unauthenticated

SUBPROTOCOL = "bearer"


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a handshake brought: one of the two."""

    key: str = ""
    session_key: str = ""


def credentials_of(scope: Mapping[str, Any]) -> Credentials:
    """`Authorization: Bearer …`; for browsers, which cannot set it, the subprotocols `bearer, <key>`; or the session.

    A browser sends its session to every site's pages, so that one counts from this site's own pages alone. Raises
    Unauthenticated, PermissionDenied.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and key.strip():
        return Credentials(key=key.strip())
    offered = list(scope.get("subprotocols") or ())
    if len(offered) >= 2 and offered[0].lower() == SUBPROTOCOL:
        return Credentials(key=offered[1])
    session_key = _session_key(headers.get("cookie", ""))
    if not session_key:
        raise Unauthenticated(
            "Send an API key: the header “Authorization: Bearer pn_…”, or the subprotocols “bearer, pn_…”."
        )
    if not _is_own_page(headers.get("origin", ""), headers.get("host", "")):
        raise PermissionDenied("A log-in counts from this site's own pages alone; elsewhere use an API key.")
    return Credentials(session_key=session_key)


def caller_of(credentials: Credentials, organization_id: str) -> Caller:
    """The caller, asked anew each time. A key has an organization of its own; a log-in acts in the one given.

    Raises Unauthenticated, PermissionDenied.
    """
    if credentials.key:
        return caller_of_key(credentials.key)
    user = _user_of(credentials.session_key)
    if user.is_superuser:
        return Caller(organization_id, str(user.pk), frozenset(all_scopes()))
    return caller_of_member(str(user.pk), organization_id)


def _user_of(session_key: str) -> User:
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    user = get_user(request)
    if not user.is_authenticated or not user.is_active or not user.is_staff:
        raise Unauthenticated("The log-in has ended: log in again.")
    return user


def _session_key(cookies: str) -> str:
    try:
        found = SimpleCookie(cookies).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return found.value if found else ""


def _is_own_page(origin: str, host: str) -> bool:
    return bool(origin) and (urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS)
