"""Google Cloud's own ways: whose token a call carries, and the address of a project's models."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any

import google.auth
import httpx2
import orjson
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.oauth2 import service_account

from providers.addresses import ForbiddenAddress
from providers.clients.base import Credential
from providers.clients.transport import http_client
from providers.errors import AuthenticationFailed, BadRequest, ConnectionFailed

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
TOKEN_TIMEOUT_S = 15.0
_HOSTS = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
_PLACE = re.compile(r"[a-z0-9-]{1,60}")
_PROJECT = re.compile(r"[a-z0-9.:-]{1,100}")


class _Answer:
    """What google-auth reads of a response."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status, self.headers, self.data = response.status_code, response.headers, response.content


class Project:
    """One credential: a service account's key (JSON), or the machine's own account where there is none."""

    def __init__(self, credential: Credential) -> None:
        place = credential.region or ""
        if not _PLACE.fullmatch(place):
            raise BadRequest("Provider type 'google_vertex' needs its region, such as europe-west1 or global.")
        self.place = place
        self._http = http_client(public_only=credential.public_only)
        self._lock = threading.Lock()
        account, named = self._account(credential)
        self._account_of: Any = account
        project = credential.project or named or ""
        if not _PROJECT.fullmatch(project):
            raise BadRequest("The key names no project of Google Cloud.")
        self.project = project
        host = _HOSTS.get(place, f"{place}-aiplatform.googleapis.com")
        self.host = (credential.base_url or f"https://{host}").rstrip("/")
        self.publishers = f"{self.host}/v1/projects/{project}/locations/{place}/publishers"

    def _account(self, credential: Credential) -> tuple[Any, str | None]:
        try:
            if credential.api_key:
                info = orjson.loads(credential.api_key)
                made = service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
                return made, info.get("project_id")
            if credential.public_only:  # never the operator's account for an organization's own provider
                raise AuthenticationFailed("Enter the key of a service account, as JSON.")
            found: tuple[Any, str | None] = google.auth.default(scopes=SCOPES)
            return found
        except (ValueError, TypeError, AttributeError):
            raise AuthenticationFailed("The key is not the JSON key of a service account.") from None
        except DefaultCredentialsError as error:
            raise AuthenticationFailed(f"This machine has no account at Google Cloud: {error}") from None

    def headers(self) -> dict[str, str]:
        """With a token that holds for some minutes at least. Raises ProviderError."""
        with self._lock:
            if not self._account_of.valid:
                try:
                    self._account_of.refresh(self._ask)
                except ForbiddenAddress as error:
                    raise BadRequest(str(error)) from None
                except TransportError as error:
                    raise ConnectionFailed(f"Google's accounts cannot be reached: {error}") from None
                except GoogleAuthError as error:
                    raise AuthenticationFailed(f"Google refused the service account: {error}") from None
            return {"Authorization": f"Bearer {self._account_of.token}", "X-Goog-User-Project": self.project}

    def _ask(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> _Answer:
        """google-auth's way to the network: by our own client, so that a key's `token_uri` is guarded too."""
        try:
            response = self._http.request(
                method, url, content=body, headers=dict(headers or {}), timeout=TOKEN_TIMEOUT_S
            )
        except httpx2.HTTPError as error:
            raise TransportError(str(error) or type(error).__name__) from error
        return _Answer(response)

    def close(self) -> None:
        self._http.close()
