"""Taking an encryption key out of use: every secret moves to the new one, and none is lost on the way."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Organization
from core.secrets import Secret
from providers.models import Provider

OLD, NEW = "old:0123456789abcdef", "new:fedcba9876543210"


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="Ours")


def provider(organization: Organization, name: str) -> Provider:
    return Provider.objects.create(organization=organization, name=name, provider_type="openai", api_key=f"sk-{name}")


def reencrypt() -> str:
    out = StringIO()
    call_command("reencrypt", stdout=out)
    return out.getvalue()


def test_secrets_move_to_the_first_key_and_the_old_one_can_go(settings: Any, organization: Organization) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    provider(organization, "a")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    provider(organization, "b")
    assert reencrypt().startswith("1 secret")
    assert reencrypt().startswith("0 secret")
    settings.ENCRYPTION_KEYS = [NEW]
    assert {row.name: row.api_key.reveal() for row in Provider.objects.all()} == {"a": "sk-a", "b": "sk-b"}


def test_what_no_key_opens_is_named_and_the_rest_moves(settings: Any, organization: Organization) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    lost, kept = provider(organization, "lost"), provider(organization, "kept")
    Provider.objects.filter(pk=lost.pk).update(api_key=Secret(stored="v1:gone:AAAA"))
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match=f"providers.Provider {lost.pk}"):
        reencrypt()
    settings.ENCRYPTION_KEYS = [NEW]
    kept.refresh_from_db()
    assert kept.api_key.reveal() == "sk-kept"
