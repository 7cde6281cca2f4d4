"""`/v1/providers`: own keys go in by the old API too, never come out, and only admins change them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Membership
from core.errors import BadInput
from providers import entries, listing
from providers.clients.base import close_all
from providers.models import Provider
from providers.rotation import rotate
from tests.providers.fake_server import Reply
from tests.support.api import Api, Tenant
from tests.support.vendor import NEW, OLD, Vendor, running_vendor

BASE = ("minilm", "scripted")
FIELDS = {"id", "name", "provider_type", "provider_category", "api_key", "base_url", "access_key", "region"}
FIELDS |= {"api_version", "updated_at", "last_synced", "api_key_enc", "access_key_enc"}


@pytest.fixture
def vendor(db: None, settings: Any) -> Iterator[Vendor]:
    settings.BASE_PROVIDERS = [
        {"name": name, "provider_type": name, "api_key": "sk-operators-own", "base_url": "/nowhere"} for name in BASE
    ]
    entries.forget_all()
    listing._listings.clear()
    with running_vendor() as found:
        found.keys = {OLD: 200, NEW: 200}
        yield found
        close_all()
    listing._listings.clear()


def draft(vendor: Vendor, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "provider_type": "openai", "api_key": OLD, "base_url": vendor.url, **more}


def test_a_provider_is_made_listed_changed_refreshed_and_deleted(vendor: Vendor, api: Api) -> None:
    made = api.post("/providers/", draft(vendor)).ok()
    assert set(made) >= FIELDS
    assert (made["api_key"], made["api_key_enc"], made["provider_category"]) == ("sk-…aaaa", None, "byok")
    one = f"/providers/{made['id']}"
    assert [model["handle"] for model in api.get("/models/", provider_name="mine").ok()] == ["mine/gpt-4o-mini"]
    assert api.get("/models/embedding").ok()[-1]["handle"] == "mine/text-embedding-3-small"
    assert api.post(f"{one}/check").ok() is None
    changed = api.patch(one, {"api_key": NEW}).ok()
    assert (changed["api_key"], changed["base_url"]) == ("sk-…bbbb", vendor.url)
    before = len(vendor.asked_with)
    assert api.patch(f"{one}/refresh").ok()["last_synced"] > changed["last_synced"]
    assert vendor.asked_with[before:] == [NEW]
    assert OLD not in str(api.get("/providers/").json)
    assert api.delete(one).status == 200
    assert api.get(one).status == 404


def test_a_key_that_the_vendor_refuses_is_not_stored(vendor: Vendor, api: Api) -> None:
    bad = draft(vendor, api_key="sk-bad-key-0000")
    refused = api.post("/providers/", bad)
    assert (refused.status, "refused the key" in refused.detail) == (400, True)
    assert api.post("/providers/check", bad).status == 400
    assert api.post("/providers/check", draft(vendor)).ok() is None
    assert "Unknown provider_type" in api.post("/providers/", draft(vendor, provider_type="nope")).detail
    assert not Provider.objects.exists()


def test_the_installations_providers_follow_an_organizations_own_and_stay_as_they_are(vendor: Vendor, api: Api) -> None:
    made = [api.post("/providers/", draft(vendor, name=name)).ok() for name in ("one", "two")]
    whole = api.get("/providers/").ok()
    assert [row["name"] for row in whole] == ["two", "one", *BASE]
    assert [row["name"] for row in api.get("/providers/", order="asc").ok()] == ["one", "two", *BASE]
    ids = [row["id"] for row in whole]
    for count in (1, 2, 3):
        walked: list[str] = []
        while len(walked) < 4:
            more: dict[str, Any] = {"after": walked[-1]} if walked else {}
            walked += [row["id"] for row in api.get("/providers/", limit=count, **more).ok()]
        assert walked == ids
        back = [row["id"] for row in api.get("/providers/", limit=count, before=ids[3]).ok()]
        assert back == ids[3 - count : 3]
    assert [row["id"] for row in api.get("/providers/", provider_type="openai").ok()] == ids[:2]
    assert [row["id"] for row in api.get("/providers/", name="minilm").ok()] == ids[2:3]
    assert api.get(f"/providers/{ids[2]}").ok() == whole[2]
    for answer in (api.patch(f"/providers/{ids[2]}", {"api_key": NEW}), api.delete(f"/providers/{ids[2]}")):
        assert (answer.status, "installation's" in answer.detail) == (403, True)
    assert "operators" not in str(whole)
    assert made[0]["id"] == ids[1]


def test_a_key_of_two_parts_is_kept_whole_and_shown_by_its_id(vendor: Vendor, api: Api) -> None:
    vendor.server.decide = lambda path, body: Reply({"modelSummaries": [], "inferenceProfileSummaries": []})
    keyed = {
        "provider_type": "bedrock",
        "name": "aws",
        "api_key": "aws-secret-1234567",
        "access_key": "AKIDEXAMPLE1234",
    }
    url = vendor.server.url
    assert "needs its region" in api.post("/providers/", keyed).detail
    assert "no region" in api.post("/providers/", {**keyed, "region": "x.evil/"}).detail
    made = api.post("/providers/", {**keyed, "region": "us-east-1", "base_url": url}).ok()
    assert (made["api_key"], made["region"]) == ("AKI…1234", "us-east-1")
    row = Provider.objects.get(pk=made["id"])
    assert entries.row_entry(row).credential.secrets == ("aws-secret-1234567", "AKIDEXAMPLE1234")
    moved = api.patch(f"/providers/{made['id']}", {"access_key": "AKIDOTHER123456"}).ok()
    assert (moved["api_key"], "AKIDOTHER123456" in vendor.server.headers[-1]["authorization"]) == ("AKI…3456", True)
    row.refresh_from_db()
    with pytest.raises(BadInput, match="two parts"):
        rotate(row, "another-secret-12345")
    wrong = {"provider_type": "google_vertex", "name": "g", "region": "global", "api_key": "not JSON"}
    assert "as the JSON" in api.post("/providers/", wrong).detail
    assert "ChatGPT" in api.post("/providers/", {**wrong, "provider_type": "chatgpt_oauth", "api_key": "x"}).detail


def test_only_owners_and_admins_change_them(vendor: Vendor, api: Api, tenant: Tenant) -> None:
    made = api.post("/providers/", draft(vendor)).ok()
    Membership.objects.filter(user=tenant.user).update(role="operator")
    one = f"/providers/{made['id']}"
    tries = [api.patch(one, {"api_key": NEW}), api.delete(one), api.post(f"{one}/check"), api.patch(f"{one}/refresh")]
    tries += [api.post("/providers/", draft(vendor, name="x")), api.post("/providers/check", draft(vendor))]
    assert [answer.status for answer in tries] == [403] * 6
    assert api.get(one).ok() == made
