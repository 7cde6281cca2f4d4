"""Two organizations, a key for each, and a client that speaks JSON to `/v1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from django.test import Client

from accounts.access import Caller, caller_of_key
from accounts.actions import NewKey, create_api_key, create_organization
from accounts.models import Organization, User


@dataclass(frozen=True)
class Tenant:
    """An organization with its owner and a key that may do everything."""

    organization: Organization
    user: User
    key: str

    @property
    def caller(self) -> Caller:
        return caller_of_key(self.key)


def make_tenant(name: str) -> Tenant:
    user = User.objects.create_user(email=f"{name}@example.test", password=None, name=name)
    organization = create_organization(name, user)
    _, key = create_api_key(organization, user, NewKey(name=f"{name}'s key"))
    return Tenant(organization, user, key)


class Answer:
    def __init__(self, response: Any) -> None:
        self.response = response
        self.status = response.status_code

    @property
    def json(self) -> Any:
        return orjson.loads(self.response.content)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])

    def ok(self) -> Any:
        assert self.status == 200, f"{self.status}: {self.response.content[:2000]!r}"
        return self.json


class Api:
    """`/v1` as one key sees it. Paths are given without `/v1`."""

    def __init__(self, key: str | None) -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def get(self, path: str, headers: dict[str, str] | None = None, **query: Any) -> Answer:
        return Answer(self.client.get(f"/v1{path}", query, headers=self.headers | (headers or {})))

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self._send("post", path, body, headers)

    def patch(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self._send("patch", path, body, headers)

    def put(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        return self._send("put", path, body, headers)

    def delete(self, path: str) -> Answer:
        return Answer(self.client.delete(f"/v1{path}", headers=self.headers))

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        call = getattr(self.client, method)
        return Answer(call(f"/v1{path}", data, content_type="application/json", headers=self.headers | (headers or {})))
