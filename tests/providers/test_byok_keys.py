"""An organization's own key over its life: where it may lead, how it is shown, checked, used and changed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Organization
from agents.model_calls import CallContext, ModelCall
from core.errors import BadInput, Conflict
from providers import actions, entries, rotation, tasks, use, validation
from providers.actions import ProviderDraft
from providers.clients.base import Credential, client_for, close_all
from providers.errors import BadRequest, InsufficientCredits, RateLimited
from providers.fingerprints import masked
from providers.headroom import headroom_of
from providers.models import Provider
from providers.resolve import resolve
from providers.types import Message, ModelRequest, TextPart
from tests.providers.fake_server import Reply
from tests.support.vendor import NEW, OLD, Vendor

HANDLE = "mine/gpt-4o-mini"
ASKED = ModelRequest(model="gpt-4o-mini", messages=(Message("user", (TextPart("Hello"),)),))


@pytest.fixture
def row(vendor: Vendor) -> Any:
    org = Organization.objects.create(name="Ours")
    draft = ProviderDraft(name="mine", provider_type="openai", api_key=OLD, base_url=vendor.url)
    actions.create_provider(org.id, draft)
    return Provider.objects.get()


def ask(row: Provider) -> str:
    """The key that answers in the end."""
    org = str(row.organization_id)
    call = ModelCall(resolve(org, HANDLE), ASKED, CallContext(organization_id=org, call_type="agent_step"))
    list(call.events())
    return call.target.credential.api_key


def deeds(row: Provider) -> list[str]:
    found = AuditEntry.objects.filter(target=row.pk).order_by("created_at", "id")
    return list(found.values_list("action", flat=True))


# Where it may lead


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/v1",
        "http://localhost:9",
        "http://[::1]:9/v1",
        "http://169.254.169.254/latest",
        "http://2130706433/",
    ],
)
def test_an_own_provider_in_a_private_network_is_refused_when_it_is_saved(db: None, settings: Any, url: str) -> None:
    settings.PROVIDER_ALLOWED_HOSTS = []
    org = Organization.objects.create(name="Ours")
    with pytest.raises(BadInput, match=r"base_url.*PROVIDER_ALLOWED_HOSTS"):
        actions.create_provider(
            org.id, ProviderDraft(name="x", provider_type="openai", api_key="sk-1", base_url=url), check=False
        )


def test_and_when_it_is_called_though_a_base_one_is_not(vendor: Vendor, settings: Any) -> None:
    credential = Credential(provider_type="openai", api_key=OLD, base_url=vendor.url, public_only=True)
    assert client_for(credential).list_models()
    close_all()
    asked = len(vendor.asked_with)
    settings.PROVIDER_ALLOWED_HOSTS = []
    with pytest.raises(BadRequest, match="private network"):
        client_for(credential).list_models()
    named = Credential(
        provider_type="openai", api_key=OLD, base_url=vendor.url.replace("127.0.0.1", "localhost"), public_only=True
    )
    with pytest.raises(BadRequest, match="private network"):
        client_for(named).list_models()
    anthropic = Credential(provider_type="anthropic", api_key=OLD, base_url=vendor.url, public_only=True)
    with pytest.raises(BadRequest, match="private network"):
        client_for(anthropic).list_models()
    assert len(vendor.asked_with) == asked
    settings.PROVIDER_ALLOWED_HOSTS = ["127.0.0.0/8"]
    assert client_for(named).list_models()
    settings.PROVIDER_ALLOWED_HOSTS = []
    assert client_for(Credential(provider_type="openai", api_key=OLD, base_url=vendor.url)).list_models()


def test_a_redirect_is_not_followed_with_the_key(vendor: Vendor, row: Any) -> None:
    vendor.server.decide = lambda path, body: Reply({}, 302, headers={"Location": f"{vendor.server.url}/inside"})
    with pytest.raises(BadInput):
        actions.check_provider(row)
    assert "/inside" not in vendor.server.paths


# How it is shown


@pytest.mark.parametrize(
    ("provider_type", "key", "shown"),
    [
        ("openai", "sk-abcdefghijklmnopqrstuvwx1234", "sk-…1234"),
        ("openai", "sk-proj-AbC-dEfGhIjKlMnOpQrStUvWx9876", "sk-proj-…9876"),
        ("anthropic", "sk-ant-api03-R2DxxxxxxxxxxxxxxxxxxxigAA", "sk-ant-api03-R2D…igAA"),
        ("google_ai", "AIzaSyA1234567890abcdefghijklmnop", "AIza…mnop"),
        ("openrouter", "sk-or-v1-0e6aaaaaaaaaaaaaaaaaaaaa1c96", "sk-or-v1-0e6…1c96"),
        ("groq", "gsk_abcdefghijklmnopqrstuvwxyz", "gsk_…wxyz"),
        ("azure", "0123456789abcdef0123456789abcdef", "012…cdef"),
        ("openai", "short", "…"),
        ("openai", "", ""),
    ],
)
def test_a_key_is_shown_as_its_vendor_shows_it(provider_type: str, key: str, shown: str) -> None:
    assert masked(key, provider_type) == shown


def test_what_is_left_of_the_limits_is_read_from_either_vendor_s_headers() -> None:
    openai = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "149984",
    }
    assert headroom_of(openai) == {
        "requests": {"remaining": 59, "limit": 60, "reset": "1s"},
        "tokens": {"remaining": 149984},
    }
    anthropic = {
        "anthropic-ratelimit-requests-remaining": "4",
        "anthropic-ratelimit-input-tokens-remaining": "1000",
        "anthropic-ratelimit-input-tokens-limit": "<script>",
    }
    assert headroom_of(anthropic) == {"requests": {"remaining": 4}, "input_tokens": {"remaining": 1000}}
    assert headroom_of({"x-ratelimit-remaining-requests": "many"}) == {}


def test_a_call_keeps_when_the_key_was_used_and_what_is_left_of_it_once_a_minute(vendor: Vendor, row: Any) -> None:
    vendor.limits = {"x-ratelimit-remaining-requests": "59", "x-ratelimit-limit-requests": "60"}
    ask(row)
    row.refresh_from_db()
    assert row.last_used_at is not None
    assert row.headroom["requests"] == {"remaining": 59, "limit": 60}
    vendor.limits["x-ratelimit-remaining-requests"] = "58"
    ask(row)
    used = row.last_used_at
    row.refresh_from_db()
    assert (row.last_used_at, row.headroom["requests"]["remaining"]) == (used, 59)


def test_a_key_fails_from_a_refusal_on_until_it_answers_again(row: Any) -> None:
    use.note_use(row.pk, RateLimited("slowly", upstream_status=429))
    row.refresh_from_db()
    assert (row.last_error, row.failing_since) == ("slowly", None)
    use.note_use(row.pk, InsufficientCredits("no money", upstream_status=402))
    row.refresh_from_db()
    assert row.failing_since is not None
    use.note_use(row.pk)
    row.refresh_from_db()
    assert (row.failing_since, row.last_error) == (None, "no money")


# Whether it still works


def test_keys_are_asked_when_their_time_has_come_and_failing_ones_more_often(vendor: Vendor, row: Any) -> None:
    assert validation.claim_due(10) == []
    hours = (row.next_check_at - row.checked_at) / timedelta(hours=1)
    assert 24 <= hours <= 24 * 1.3
    Provider.objects.update(next_check_at=timezone.now())
    assert validation.claim_due(10) == [row.pk]
    assert validation.claim_due(10) == []  # claimed: no other worker asks it too
    vendor.keys[OLD] = 401
    pauses = []
    for _ in range(3):
        tasks.check_key(row.pk)
        row.refresh_from_db()
        pauses.append((row.next_check_at - row.checked_at) / timedelta(minutes=1))
    assert [low <= pause <= 1.3 * low + 0.1 for pause, low in zip(pauses, (15, 30, 60), strict=True)] == [True] * 3
    assert row.failing_since < row.checked_at
    assert "refused the key" in row.last_error
    vendor.keys[OLD] = 200
    tasks.check_key(row.pk)
    row.refresh_from_db()
    assert (row.failing_since, row.failed_checks, row.last_error) == (None, 0, "")


def test_no_key_is_asked_where_checks_are_off_or_the_key_is(row: Any, settings: Any) -> None:
    Provider.objects.update(next_check_at=timezone.now())
    settings.PROVIDER_CHECK_HOURS = 0
    assert validation.claim_due(10) == []
    settings.PROVIDER_CHECK_HOURS = 24
    Provider.objects.update(enabled=False)
    assert validation.claim_due(10) == []
    assert validation.next_check(99, timezone.now()) is not None


# How it is changed


def test_a_new_key_is_tried_before_it_counts(vendor: Vendor, row: Any) -> None:
    with pytest.raises(BadInput, match="refused the key"):
        rotation.rotate(row, "sk-never-made-at-all")
    with pytest.raises(BadInput, match="already in use"):
        rotation.rotate(row, OLD)
    row.refresh_from_db()
    assert (row.api_key.reveal(), row.previous_key) == (OLD, None)


def test_a_new_key_is_used_and_the_old_one_stands_by_until_its_time_is_up(
    vendor: Vendor, row: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rotation.rotate(row, NEW, actor="user-1")
    assert ask(row) == NEW
    vendor.keys[NEW] = 401  # revoked by mistake, or not known everywhere yet
    assert ask(row) == OLD
    assert "its new key was refused" in caplog.text
    row.refresh_from_db()
    assert row.stood_in_at is not None
    assert row.failing_since is not None
    assert deeds(row) == ["provider.create", "provider.rotate", "provider.old_key_stood_in"]
    assert OLD not in caplog.text
    assert NEW not in caplog.text
    Provider.objects.update(previous_until=timezone.now())
    tasks.tend_keys()
    row.refresh_from_db()
    assert (row.previous_key, row.previous_until, row.api_key.reveal()) == (None, None, NEW)
    assert deeds(row)[-1] == "provider.wipe_old_key"


def test_the_old_key_goes_at_its_time_also_where_nobody_wiped_it_yet(vendor: Vendor, row: Any) -> None:
    rotation.rotate(row, NEW)
    found = entries.row_entry(Provider.objects.get())
    assert found.standing_by() is not None
    Provider.objects.update(previous_until=timezone.now())
    assert entries.row_entry(Provider.objects.get()).standing_by() is None


def test_without_an_overlap_nothing_of_the_old_key_is_kept(vendor: Vendor, row: Any) -> None:
    rotation.rotate(row, NEW, timedelta(0))
    row.refresh_from_db()
    assert (row.previous_key, row.previous_fingerprint) == (None, "")
    with pytest.raises(BadInput, match="30 days"):
        rotation.rotate(row, OLD, timedelta(days=31))


def test_two_changes_at_once_do_not_lose_a_key(vendor: Vendor, row: Any) -> None:
    vendor.keys["sk-a-third-key-cccc"] = 200
    rotation.rotate(row, NEW)
    with pytest.raises(Conflict, match="Somebody else"):
        rotation.rotate(row, "sk-a-third-key-cccc")


def test_the_audit_tells_fingerprints_and_never_keys(vendor: Vendor, row: Any) -> None:
    rotation.rotate(row, NEW, actor="user-1")
    actions.update_provider(Provider.objects.get(), {"enabled": False}, actor="user-1")
    actions.delete_provider(Provider.objects.get(), actor="user-1")
    kept = [(entry.action, str(entry.before) + str(entry.after)) for entry in AuditEntry.objects.all()]
    assert {"provider.create", "provider.rotate", "provider.update", "provider.delete"} == {deed for deed, _ in kept}
    assert not [text for _, text in kept if OLD in text or NEW in text]
    assert masked(NEW, "openai") in dict(kept)["provider.rotate"]
