"""Secrets go in and never come out: an API key is shown once, a provider's key not at all."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from accounts.access import caller_of_key
from accounts.models import ApiKey
from core.secrets import Secret, encrypt
from providers.models import Provider
from tests.support import admin_pages
from tests.support.seed import Seeded

SECRET = "sk-proj-0123456789abcdefSECRET"


def make_key(client: Client, world: Seeded) -> tuple[ApiKey, str]:
    sent = {"organization": world.organization.pk, "name": "New key", "scopes": ["read"], "project": world.project.pk}
    response = client.post(reverse("admin:accounts_apikey_add"), sent)
    key = ApiKey.objects.get(name="New key")
    assert response.headers["Location"] == reverse("admin:accounts_apikey_created", args=[key.pk])
    return key, response.headers["Location"]


def test_a_new_key_is_shown_once_and_works(browser: Any, world: Seeded) -> None:
    client = browser("admin")
    key, url = make_key(client, world)
    for session in Session.objects.all():
        assert f"pn_{key.prefix}_" not in str(session.get_decoded())  # until shown it is kept encrypted
    first = client.get(url)
    found = re.search(rf"pn_{key.prefix}_[\w-]{{40,}}", first.content.decode())
    assert found
    assert "no-store" in first.headers["Cache-Control"]
    caller = caller_of_key(found[0])
    assert (caller.organization_id, caller.project_id) == (world.organization.pk, world.project.pk)
    assert caller.scopes == {"read"}
    again = client.get(url, follow=True)
    assert found[0] not in again.content.decode()
    assert "shown only once" in again.content.decode()
    for page in [*admin_pages.lists(), admin_pages.change(key)]:
        assert found[0] not in client.get(page).content.decode()


def test_another_person_never_sees_the_new_key(browser: Any, world: Seeded) -> None:
    key, url = make_key(browser("admin"), world)
    html = browser("owner").get(url, follow=True).content.decode()
    assert not re.search(rf"pn_{key.prefix}_[\w-]{{40,}}", html)


def test_a_key_that_expires_in_the_past_is_refused(browser: Any, world: Seeded) -> None:
    sent = {
        "organization": world.organization.pk,
        "name": "New key",
        "scopes": ["read"],
        "expires_at_0": "2020-01-01",
        "expires_at_1": "00:00",
    }
    response = browser("admin").post(reverse("admin:accounts_apikey_add"), sent)
    assert b"This is in the past" in response.content
    assert not ApiKey.objects.filter(name="New key").exists()


def provider_form(world: Seeded, **changes: Any) -> dict[str, Any]:
    return {
        "organization": world.organization.pk,
        "provider_type": "openai",
        "name": "our-openai",
        "key": SECRET,
        "enabled": "on",
        **changes,
    }


def test_a_provider_s_key_is_kept_encrypted_and_never_shown(browser: Any, world: Seeded) -> None:
    client = browser("admin")
    response = client.post(reverse("admin:providers_provider_add"), provider_form(world))
    assert response.status_code == 302, response.content.decode()
    row: Any = Provider.objects.get(name="our-openai")
    assert row.api_key.reveal() == SECRET
    assert SECRET not in row.api_key.stored
    for page in [*admin_pages.lists(), admin_pages.change(row)]:
        html = client.get(page).content.decode()
        assert SECRET not in html
        assert row.api_key.stored not in html
    assert row.fingerprint in client.get(admin_pages.change(row)).content.decode()


def test_an_empty_key_field_keeps_the_stored_key(browser: Any, world: Seeded) -> None:
    row: Any = admin_pages.provider_of(world)
    sent = {"name": "renamed", "key": "", "enabled": "on"}
    response = browser("admin").post(admin_pages.change(row), sent)
    assert response.status_code == 302, response.content.decode()
    row = Provider.objects.get(pk=row.pk)
    assert (row.name, row.api_key.reveal()) == ("renamed", "sk-secret-of-Northwind")


def test_a_key_that_the_provider_does_not_take_is_refused_beside_its_field(browser: Any, world: Seeded) -> None:
    sent = provider_form(world, check="on", base_url="http://127.0.0.1:9/v1")
    response = browser("admin").post(reverse("admin:providers_provider_add"), sent)
    html = response.content.decode()
    assert response.status_code == 200
    assert "could not be asked for its models" in html
    assert SECRET not in html
    assert not Provider.objects.exists()


def test_a_key_that_cannot_be_decrypted_is_shown_as_such_and_can_be_entered_anew(
    browser: Any, world: Seeded, settings: Any
) -> None:
    row: Any = admin_pages.provider_of(world)
    stored = encrypt("sk-lost").replace(f":{settings.ENCRYPTION_KEYS[0].partition(':')[0]}:", ":gone:")
    Provider.objects.filter(pk=row.pk).update(api_key=Secret(stored=stored))
    client = browser("admin")
    assert "cannot be decrypted" in client.get(reverse("admin:providers_provider_changelist")).content.decode()
    html = client.get(admin_pages.change(row)).content.decode()
    assert "The stored key cannot be decrypted." in html
    response = client.post(reverse("admin:providers_provider_check", args=[row.pk]), follow=True)
    assert "Enter the key anew" in response.content.decode()


def test_a_revoked_key_is_refused_from_then_on(browser: Any, world: Seeded) -> None:
    client = browser("admin")
    assert caller_of_key(world.secret)
    client.post(reverse("admin:accounts_apikey_revoke", args=[world.key.pk]))
    world.key.refresh_from_db()
    assert world.key.revoked_at is not None
    assert b"revoked" in client.get(reverse("admin:accounts_apikey_changelist")).content


def test_no_secret_of_the_installation_stands_in_any_page(browser: Any, world: Seeded) -> None:
    client = browser("superuser")
    kept = [settings.SECRET_KEY, settings.ENCRYPTION_KEYS[0].partition(":")[2], world.secret, world.key.hash]
    kept += [world.owner.password, "sk-secret-of-Northwind"]
    for url in ["/admin/", *admin_pages.lists(), *admin_pages.details(world)]:
        html = client.get(url).content.decode()
        assert not [secret for secret in kept if secret in html], url
