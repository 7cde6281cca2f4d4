"""Handles, keys and prices of an organization: what resolves, what is refused, and what the refusal says."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization
from core.errors import BadInput, Conflict
from providers import actions, entries, listing, use
from providers.actions import ProviderDraft
from providers.models import PriceOverride, Provider
from providers.pricing import Purchase, price
from providers.resolve import list_embedding_models, list_models, price_overrides, resolve
from providers.usage import Usage

KEY = "sk-own-1234567890abcd"


@pytest.fixture(autouse=True)
def _fresh_caches() -> None:
    entries.forget_all()
    listing._listings.clear()
    use.forget_touches()


@pytest.fixture
def base(settings: Any, vendor_url: str) -> str:
    settings.BASE_PROVIDERS = [
        {"name": "openai", "provider_type": "openai", "api_key": "sk-base-1234567", "base_url": f"{vendor_url}/v1"},
        {"name": "scripted", "provider_type": "scripted", "api_key": "", "base_url": ""},
    ]
    return vendor_url


@pytest.fixture
def org(db: None) -> Organization:
    return Organization.objects.create(name="Ours")


@pytest.fixture
def draft(vendor_url: str) -> ProviderDraft:
    return ProviderDraft(name="mine", provider_type="openai", api_key=KEY, base_url=vendor_url)


def test_a_base_model_resolves_without_a_query_once_the_organization_is_known(base: str, org: Organization) -> None:
    resolve(org.id, "openai/gpt-4o")
    with CaptureQueriesContext(connection) as queries:
        found = resolve(org.id, "openai/gpt-4o-mini")
    assert len(queries) == 0
    assert (found.model, found.category, found.provider_id) == ("gpt-4o-mini", "base", None)
    assert found.info.handle == "openai/gpt-4o-mini"
    assert found.info.context_window == 128_000
    assert found.credential.base_url == f"{base}/v1"


def test_an_own_provider_resolves_with_its_key_and_costs_a_query_once(
    base: str, org: Organization, draft: ProviderDraft
) -> None:
    row = actions.create_provider(org.id, draft)
    found = resolve(org.id, "mine/gpt-4.1")
    assert (found.credential.api_key, found.provider_id, found.category) == (KEY, row.id, "byok")
    with CaptureQueriesContext(connection) as queries:
        resolve(org.id, "mine/gpt-4.1")
    assert len(queries) == 0


def test_another_organization_does_not_see_it(base: str, org: Organization, draft: ProviderDraft) -> None:
    actions.create_provider(org.id, draft)
    other = Organization.objects.create(name="Theirs")
    with pytest.raises(BadInput, match="There is no provider 'mine'"):
        resolve(other.id, "mine/gpt-4.1")
    assert not any(model.provider_name == "mine" for model in list_models(other.id))


def test_an_unknown_model_is_refused_with_those_that_exist(base: str, org: Organization) -> None:
    with pytest.raises(BadInput, match=r"has no model 'gpt-nope'.*openai/gpt-4o-mini") as caught:
        resolve(org.id, "openai/gpt-nope")
    assert caught.value.status == 400


def test_at_most_twenty_models_are_named(org: Organization, settings: Any, vendor_url: str) -> None:
    settings.BASE_PROVIDERS = [
        {"name": f"p{n}", "provider_type": "openai", "api_key": f"k{n}", "base_url": vendor_url} for n in range(4)
    ]
    with pytest.raises(BadInput) as caught:
        resolve(org.id, "nobody/gpt-4o")
    assert caught.value.message.count("/gpt-") + caught.value.message.count("/o") == 20
    assert "and 20 more" in caught.value.message


@pytest.mark.parametrize("handle", ["gpt-4o", "/gpt-4o", "openai/", ""])
def test_what_is_no_handle_is_refused(base: str, org: Organization, handle: str) -> None:
    with pytest.raises(BadInput, match="provider/model"):
        resolve(org.id, handle)


def test_a_missing_provider_says_which_key_to_set(org: Organization, settings: Any) -> None:
    settings.BASE_PROVIDERS = []
    with pytest.raises(BadInput, match="ANTHROPIC_API_KEY"):
        resolve(org.id, "anthropic/claude-sonnet-4-5")


def test_a_variant_of_a_listed_model_and_a_fine_tune_of_a_silent_server_resolve(
    base: str, org: Organization, settings: Any
) -> None:
    assert resolve(org.id, "openai/gpt-4o:extended").model == "gpt-4o:extended"
    settings.BASE_PROVIDERS = [
        {"name": "down", "provider_type": "vllm", "api_key": "", "base_url": "http://127.0.0.1:9"}
    ]
    assert resolve(org.id, "down/meta-llama/Llama-3.1-8B").model == "meta-llama/Llama-3.1-8B"


def test_models_are_listed_by_kind_and_a_provider_that_is_down_hides_none_of_the_others(
    base: str, org: Organization, settings: Any
) -> None:
    settings.BASE_PROVIDERS = [
        *settings.BASE_PROVIDERS,
        {"name": "down", "provider_type": "vllm", "api_key": "", "base_url": "http://127.0.0.1:9"},
    ]
    assert {"openai/gpt-4o", "scripted/demo"} <= {model.handle for model in list_models(org.id)}
    embedding = {model.handle: model.embedding_dim for model in list_embedding_models(org.id)}
    assert embedding["openai/text-embedding-3-small"] == 1536
    assert "openai/text-embedding-3-small" not in {model.handle for model in list_models(org.id)}


def test_a_key_is_checked_when_it_is_saved(org: Organization, vendor_url: str) -> None:
    bad = ProviderDraft(name="bad", provider_type="openai", api_key="sk-bad", base_url=vendor_url)
    with pytest.raises(BadInput, match="refused the key"):
        actions.create_provider(org.id, bad)
    assert not Provider.objects.exists()


def test_a_key_is_stored_encrypted_and_shown_masked(org: Organization, draft: ProviderDraft) -> None:
    row = actions.create_provider(org.id, draft)
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM providers_provider")
        stored = cursor.fetchone()[0]
    assert KEY not in stored
    assert stored.startswith("v1:")
    assert row.fingerprint == "sk-own-…abcd"
    assert KEY not in repr(resolve(org.id, "mine/gpt-4o"))


def test_a_name_is_taken_once(base: str, org: Organization, draft: ProviderDraft) -> None:
    actions.create_provider(org.id, draft)
    with pytest.raises(Conflict):
        actions.create_provider(org.id, draft)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "a/b"}, "provider's name"),
        ({"provider_type": "nope"}, "Unknown provider_type"),
        ({"api_key": "sk-\nhidden"}, "copy it anew"),
        ({"base_url": "ftp://x"}, "http"),
        ({"provider_type": "azure", "base_url": ""}, "needs its base_url"),
    ],
)
def test_a_draft_with_a_mistake_says_the_mend(org: Organization, fields: dict[str, str], says: str) -> None:
    good = {"name": "mine", "provider_type": "openai", "api_key": KEY}
    with pytest.raises(BadInput, match=says):
        actions.create_provider(org.id, ProviderDraft(**{**good, **fields}))


def test_a_changed_key_is_checked_and_counts_at_once(org: Organization, draft: ProviderDraft) -> None:
    row = actions.create_provider(org.id, draft)
    resolve(org.id, "mine/gpt-4o")
    with pytest.raises(BadInput, match="refused"):
        actions.update_provider(row, {"api_key": "sk-bad"})
    actions.update_provider(Provider.objects.get(), {"api_key": "sk-own-0000000000wxyz"})
    assert resolve(org.id, "mine/gpt-4o").credential.api_key == "sk-own-0000000000wxyz"
    assert Provider.objects.get().fingerprint == "sk-own-…wxyz"


def test_a_deleted_or_disabled_provider_is_gone_at_once(org: Organization, draft: ProviderDraft) -> None:
    row = actions.create_provider(org.id, draft)
    actions.update_provider(row, {"enabled": False})
    with pytest.raises(BadInput):
        resolve(org.id, "mine/gpt-4o")
    actions.update_provider(row, {"enabled": True})
    assert resolve(org.id, "mine/gpt-4o")
    actions.delete_provider(row)
    with pytest.raises(BadInput):
        resolve(org.id, "mine/gpt-4o")


def test_a_key_that_no_longer_decrypts_is_said_and_breaks_nothing_else(
    base: str, org: Organization, draft: ProviderDraft, settings: Any
) -> None:
    actions.create_provider(org.id, draft)
    settings.ENCRYPTION_KEYS = ["other:fedcba9876543210fedcba9876543210"]
    entries.forget(org.id)
    with pytest.raises(BadInput, match="anew"):
        resolve(org.id, "mine/gpt-4o")
    assert list_models(org.id)
    with pytest.raises(BadInput):
        actions.check_provider(Provider.objects.get())
    assert "cannot be read" in Provider.objects.get().last_error


def test_an_override_of_the_organization_prices_its_calls(base: str, org: Organization) -> None:
    PriceOverride.objects.create(organization=org, provider_type="openai", model="gpt-4o", input=1, output=2)
    entries.forget(org.id)
    bought = Purchase(provider_type="openai", model="gpt-4o", at=datetime.now(UTC))
    found = price(Usage(input=1_000_000, output=1_000_000), bought, price_overrides(org.id))
    assert (found.cost_usd, found.source) == (Decimal(3), "override")


def test_use_is_noted_and_a_failure_kept(org: Organization, draft: ProviderDraft) -> None:
    row = actions.create_provider(org.id, draft)
    use.note_use(row.id)
    use.note_use(row.id, "Rate limit reached")
    use.note_use(None, "a base provider has no row")
    row.refresh_from_db()
    assert row.last_used_at is not None
    assert row.last_error == "Rate limit reached"
