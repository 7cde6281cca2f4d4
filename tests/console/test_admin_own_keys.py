"""Own keys in the admin: their state, what they cost, a change without a gap, and the rules about them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.models import Project
from core.errors import Unavailable
from providers.admin import spend
from providers.admin.spend import KeySpend
from providers.clients.base import close_all
from providers.models import KeyRule, Provider
from tests.support import admin_pages
from tests.support.seed import Seeded
from tests.support.vendor import Vendor, running_vendor

NEW = "sk-proj-a-new-key-of-ours-bbbb"
LIST = "/admin/providers/provider/"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with running_vendor() as vendor:
        vendor.keys = {NEW: 200}
        yield vendor
        close_all()


@pytest.fixture
def row(world: Seeded, vendor: Vendor) -> Any:
    row = admin_pages.provider_of(world)
    Provider.objects.filter(pk=row.pk).update(base_url=vendor.url)
    return Provider.objects.get()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, KeySpend]:
    answers: dict[str, KeySpend] = {}
    monkeypatch.setattr(spend, "_sources", [lambda ids: answers])
    return answers


def test_a_key_is_changed_without_a_gap_and_the_old_one_wiped(browser: Any, row: Any) -> None:
    client = browser("admin")
    rotate = reverse("admin:providers_provider_rotate", args=[row.pk])
    page = client.post(rotate, {"key": NEW, "hours": "24"}, follow=True).content.decode()
    assert "has a new key, sk-proj-…bbbb." in page
    assert "stands by until" in page
    assert NEW not in page
    page = client.post(reverse("admin:providers_provider_wipe", args=[row.pk]), follow=True).content.decode()
    assert "The old key is wiped." in page
    row.refresh_from_db()
    assert (row.api_key.reveal(), row.previous_key) == (NEW, None)
    for sent, says in (
        ({"key": "sk-bad", "hours": "1"}, "refused the key"),
        ({"key": NEW, "hours": "x"}, "Choose how"),
    ):
        assert says in client.post(rotate, sent, follow=True).content.decode()


def test_a_viewer_sees_a_key_and_changes_nothing(browser: Any, row: Any) -> None:
    client = browser("viewer")
    page = client.get(admin_pages.change(row)).content.decode()
    assert "Change the key without a gap" not in page
    assert client.post(reverse("admin:providers_provider_rotate", args=[row.pk]), {"key": NEW}).status_code == 403
    assert client.post(reverse("admin:providers_provider_wipe", args=[row.pk])).status_code == 403


def test_the_list_tells_state_spend_and_limits_of_each_key(browser: Any, row: Any, told: dict[str, KeySpend]) -> None:
    told[row.pk] = KeySpend(calls=1234, errors=5, cost_usd=Decimal("12.34"))
    limits = {"requests": {"remaining": 30, "limit": 60}}
    Provider.objects.update(failing_since=timezone.now(), last_error="Incorrect API key", headroom=limits)
    client = browser("admin")
    page = client.get(LIST).content.decode()
    for words in ("failing since", "$12.34", "1,234 (5)", "50 % requests"):
        assert words in page
    page = client.get(admin_pages.change(row)).content.decode()
    for words in ("This key fails since", "Incorrect API key", "$12.34", "30 of 60"):
        assert words in page


def test_what_a_key_cost_is_unknown_while_the_traces_cannot_be_asked(
    browser: Any, row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(ids: Any) -> Any:
        raise Unavailable("ClickHouse does not answer.")

    monkeypatch.setattr(spend, "_sources", [away])
    client = browser("admin")
    assert client.get(LIST).status_code == 200
    assert "ClickHouse does not answer." in client.get(admin_pages.change(row)).content.decode()


def test_a_rule_is_set_changed_and_taken_away(browser: Any, world: Seeded) -> None:
    client = browser("admin")
    add = reverse("admin:providers_keyrule_add")
    sent = {"organization": world.organization.pk, "project": world.project.pk, "rule": "byok_only"}
    assert client.post(add, sent).status_code == 302
    assert "There is a rule for this already" in client.post(add, sent).content.decode()
    rule = KeyRule.objects.get()
    assert client.post(admin_pages.change(rule), {"rule": "byok_first"}).status_code == 302
    rule.refresh_from_db()
    assert (rule.rule, rule.project) == ("byok_first", Project.objects.get(pk=world.project.pk))
    client.post(reverse("admin:providers_keyrule_delete", args=[rule.pk]), {"post": "yes"})
    assert not KeyRule.objects.exists()


def test_a_key_is_added_for_a_project(browser: Any, world: Seeded, vendor: Vendor) -> None:
    sent = {
        "organization": world.organization.pk,
        "provider_type": "openai",
        "name": "openai",
        "key": NEW,
        "project": world.project.pk,
        "base_url": vendor.url,
        "check": "on",
        "enabled": "on",
    }
    client = browser("admin")
    response = client.post(reverse("admin:providers_provider_add"), sent)
    assert response.status_code == 302, response.content.decode()
    made = Provider.objects.get()
    assert (made.project_id, made.fingerprint) == (world.project.pk, "sk-proj-…bbbb")
    assert f"project {world.project.name}" in client.get(LIST).content.decode()
