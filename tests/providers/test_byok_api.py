"""`/api/providers` and `/api/key-rules`: keys go in and never come out, and only admins change them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.actions import NewKey, create_api_key
from accounts.models import AuditEntry, Membership, Project, User
from core.secrets import Secret
from providers.models import KeyRule, Provider
from tests.support.api import Tenant
from tests.support.vendor import NEW, OLD, Vendor


class Rest:
    """Keeps all that it was answered."""

    def __init__(self, key: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {key}"})
        self.heard = ""

    def __call__(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        send = getattr(self.client, method)
        response = (
            send(f"/api/{path}", body, content_type="application/json") if body is not None else send(f"/api/{path}")
        )
        self.heard += response.content.decode()
        assert response.status_code == status, response.content
        return response.json() if response.content else None


@pytest.fixture
def rest(tenant: Tenant) -> Rest:
    return Rest(tenant.key)


def draft(vendor: Vendor, **more: Any) -> dict[str, Any]:
    return {"name": "openai", "provider_type": "openai", "api_key": OLD, "base_url": vendor.url, **more}


def test_a_key_is_stored_listed_checked_rotated_changed_and_deleted_and_never_told(vendor: Vendor, rest: Rest) -> None:
    made = rest("post", "providers", draft(vendor), status=201)
    assert (made["state"], made["fingerprint"]) == ("ok", "sk-…aaaa")
    one = f"providers/{made['id']}"
    assert rest("get", "providers")["items"] == [rest("get", one)]
    assert rest("post", f"{one}/check", {})["models"] == 2
    rotated = rest("post", f"{one}/rotate", {"api_key": NEW, "overlap_hours": 2})
    assert (rotated["fingerprint"], rotated["previous_fingerprint"]) == ("sk-…bbbb", "sk-…aaaa")
    assert rest("patch", one, {"enabled": False})["state"] == "off"
    assert OLD not in rest.heard
    assert NEW not in rest.heard
    rest("delete", one, status=204)
    rest("get", one, status=404)
    assert AuditEntry.objects.filter(target=made["id"], actor_id__startswith="key-").count() == 4


def test_what_cannot_be_stored_says_why(vendor: Vendor, rest: Rest, settings: Any) -> None:
    assert "refused the key" in rest("post", "providers", draft(vendor, api_key="sk-bad-key-0000"), 400)["detail"]
    assert rest("post", "providers", {"name": "x"}, 422)["fields"]["provider_type"]
    assert "no such project" in rest("post", "providers", draft(vendor, project_id="nope"), 400)["detail"]
    settings.PROVIDER_ALLOWED_HOSTS = []
    assert "private network" in rest("post", "providers", draft(vendor), 400)["detail"]
    assert "sk-bad-key-0000" not in rest.heard


def test_keys_of_projects_and_end_users_are_told_apart(vendor: Vendor, rest: Rest, tenant: Tenant) -> None:
    project = Project.objects.create(organization=tenant.organization, name="One")
    rest("post", "providers", draft(vendor), 201)
    rest("post", "providers", draft(vendor, project_id=project.pk), 201)
    rest("post", "providers", draft(vendor, identity_id="ada"), 201)
    rest("post", "providers", draft(vendor, identity_id="ada"), 409)
    assert len(rest("get", "providers")["items"]) == 3
    [of_ada] = rest("get", "providers?identity_id=ada")["items"]
    [of_project] = rest("get", f"providers?project_id={project.pk}")["items"]
    assert (of_ada["identity_id"], of_project["project_id"]) == ("ada", project.pk)
    _, secret = create_api_key(tenant.organization, tenant.user, NewKey(name="of one", project=project))
    narrow = Rest(secret)
    assert [item["id"] for item in narrow("get", "providers")["items"]] == [of_project["id"]]
    narrow("delete", f"providers/{of_ada['id']}", status=404)


def test_operators_see_keys_and_change_none_and_strangers_see_nothing(
    vendor: Vendor, rest: Rest, tenant: Tenant, stranger: Tenant
) -> None:
    made = rest("post", "providers", draft(vendor), status=201)
    user = User.objects.create_user(email="operator@example.test", password=None)
    Membership.objects.create(organization=tenant.organization, user=user, role="operator")
    operator = Rest(create_api_key(tenant.organization, user, NewKey(name="operator's"))[1])
    one = f"providers/{made['id']}"
    assert operator("get", one)["name"] == "openai"
    for method, path, body in (
        ("post", "providers", draft(vendor, name="x")),
        ("patch", one, {"enabled": False}),
        ("post", f"{one}/check", {}),
        ("post", f"{one}/rotate", {"api_key": NEW}),
        ("put", "key-rules", {"rule": "byok_only"}),
        ("delete", one, None),
    ):
        operator(method, path, body, 403)
    theirs = Rest(stranger.key)
    assert theirs("get", "providers")["items"] == []
    for method, path in (("get", one), ("patch", one), ("post", f"{one}/rotate"), ("delete", one)):
        theirs(method, path, {"api_key": NEW} if method != "get" else None, 404)
    assert Provider.objects.get().enabled


def test_rules_are_set_shown_and_taken_away(rest: Rest, tenant: Tenant) -> None:
    assert rest("put", "key-rules", {"rule": "byok_only"})["rule"] == "byok_only"
    rest("put", "key-rules", {"rule": "byok_first"})
    assert [item["rule"] for item in rest("get", "key-rules")["items"]] == ["byok_first"]
    assert "byok_only" in rest("put", "key-rules", {"rule": "mine"}, 422)["detail"]
    rest("put", "key-rules", {"rule": ""}, 204)
    assert not KeyRule.objects.exists()


def test_a_key_that_cannot_be_read_is_shown_as_such(vendor: Vendor, rest: Rest) -> None:
    made = rest("post", "providers", draft(vendor), status=201)
    Provider.objects.update(api_key=Secret(stored="v1:gone:AAAA"))
    assert [item["state"] for item in rest("get", "providers")["items"]] == ["unreadable"]
    assert "Enter the key anew" in rest("post", f"providers/{made['id']}/check", {}, 400)["detail"]
    assert rest("patch", f"providers/{made['id']}", {"api_key": NEW})["state"] == "ok"
