"""Taking an encryption key out of use: every secret moves to the new one, and none is lost on the way."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Organization
from config.management.commands import reencrypt as command
from core.fields import EncryptedTextField
from core.secrets import Secret, encrypt
from providers.models import Provider
from tests.support.elsewhere import elsewhere

OLD, NEW = "old:0123456789abcdef", "new:fedcba9876543210"


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="Ours")


def provider(organization: Organization, name: str) -> Provider:
    return Provider.objects.create(organization=organization, name=name, provider_type="openai", api_key=f"sk-{name}")


def reencrypt(**options: Any) -> str:
    out = StringIO()
    call_command("reencrypt", stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def keys() -> dict[str, str]:
    rows: Any = Provider.objects.all()
    found: dict[str, str] = {row.name: row.api_key.reveal() for row in rows}
    return found


def test_secrets_move_to_the_first_key_and_the_old_one_can_go(settings: Any, organization: Organization) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    provider(organization, "a")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    provider(organization, "b")
    assert reencrypt().startswith("1 secret")
    assert reencrypt().startswith("0 secret")
    settings.ENCRYPTION_KEYS = [NEW]
    assert keys() == {"a": "sk-a", "b": "sk-b"}


def test_what_no_key_opens_is_named_and_the_rest_moves(settings: Any, organization: Organization) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    lost: Any = provider(organization, "lost")
    kept: Any = provider(organization, "kept")
    Provider.objects.filter(pk=lost.pk).update(api_key=Secret(stored="v1:gone:AAAA"))
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match=f"providers.Provider {lost.pk}"):
        reencrypt()
    settings.ENCRYPTION_KEYS = [NEW]
    kept.refresh_from_db()
    assert kept.api_key.reveal() == "sk-kept"


def test_it_says_what_is_left_and_when_a_key_may_go(settings: Any, organization: Organization) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    provider(organization, "a")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert "Key “old”: 1 secrets left" in reencrypt(check=True)
    assert "Key “old”: nothing left. It may be taken out" in reencrypt()
    settings.ENCRYPTION_KEYS = ["third:0011223344556677"]
    said = reencrypt(check=True)
    assert "Key “new”: 1 secrets, but it is not in ENCRYPTION_KEYS: put it back." in said


def test_it_finds_every_encrypted_column_of_the_project() -> None:
    found = {f"{model._meta.label}.{column.name}" for model, column in command.columns()}
    assert {"providers.Provider.api_key", "providers.Provider.previous_key"} <= found
    assert all(isinstance(column, EncryptedTextField) for _, column in command.columns())


def test_one_that_is_killed_loses_a_batch_at_most_and_the_next_goes_on(
    settings: Any, organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENCRYPTION_KEYS = [OLD]
    for number in range(10):
        provider(organization, f"p{number}")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    left = iter(range(7))

    def dies(text: str) -> str:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return encrypt(text)

    monkeypatch.setattr(command, "encrypt", dies)
    with pytest.raises(KeyboardInterrupt):
        reencrypt(batch=2)
    monkeypatch.undo()
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert reencrypt().startswith("4 secrets")
    settings.ENCRYPTION_KEYS = [NEW]
    assert keys() == {f"p{number}": f"sk-p{number}" for number in range(10)}


@pytest.mark.django_db(transaction=True)
def test_no_key_that_is_entered_meanwhile_is_ever_overwritten(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Organization.objects.create(name="Ours")
    settings.ENCRYPTION_KEYS = [OLD]
    for number in range(12):
        provider(ours, f"p{number}")
    stale = {row.name: row for row in Provider.objects.all()}
    settings.ENCRYPTION_KEYS = [NEW, OLD]

    def enter(name: str) -> None:
        """Another process, between the command's reading of the row and its writing."""
        if name in ("p1", "p4", "p7"):
            Provider.objects.filter(name=name).update(api_key=f"sk-entered-{name}")
        elif name in ("p2", "p5"):  # a whole row that was read before: its old ciphertext comes back
            stale[name].base_url = "https://changed.example"
            stale[name].save()

    def seal(text: str) -> str:
        elsewhere(lambda: enter(text.removeprefix("sk-")))
        return encrypt(text)

    monkeypatch.setattr(command, "encrypt", seal)
    reencrypt(batch=3)
    monkeypatch.undo()
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    entered = {name: f"sk-entered-{name}" for name in ("p1", "p4", "p7")}
    expected = {f"p{number}": f"sk-p{number}" for number in range(12)} | entered
    assert keys() == expected
    reencrypt()
    settings.ENCRYPTION_KEYS = [NEW]
    assert keys() == expected
    assert Provider.objects.filter(base_url="https://changed.example").count() == 2
