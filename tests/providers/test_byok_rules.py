"""Whose key a call is made with: the narrowest own one, by the organization's rule, and what stands in when it fails."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization, Project
from agents import model_calls
from agents.model_calls import CallContext, ModelCall, embed_texts
from core.errors import BadInput
from core.secrets import Secret
from providers import actions, entries, listing, use
from providers.actions import ProviderDraft
from providers.clients.base import close_all
from providers.errors import AuthenticationFailed, Overloaded, ProviderError
from providers.events import TextDelta
from providers.models import Provider, Rule
from providers.resolve import ResolvedModel, list_models, resolve
from providers.types import Message, ModelRequest, TextPart
from tests.support.turns import traces
from tests.support.vendor import Vendor, running_vendor

HANDLE = "openai/gpt-4o-mini"
ASKED = ModelRequest(model="gpt-4o-mini", messages=(Message("user", (TextPart("Hello"),)),))
BASE = "sk-base-0000000000"


@pytest.fixture
def vendor(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.setattr(model_calls, "BACKOFF_S", 0.001)
    entries.forget_all()
    listing._listings.clear()
    use.forget_touches()
    with running_vendor() as vendor:
        vendor.keys = {BASE: 200}
        settings.BASE_PROVIDERS = [
            {"name": "openai", "provider_type": "openai", "api_key": BASE, "base_url": vendor.url},
            {"name": "scripted", "provider_type": "scripted", "api_key": "", "base_url": ""},
        ]
        yield vendor
        close_all()


@pytest.fixture
def org(db: None) -> Organization:
    return Organization.objects.create(name="Ours")


@pytest.fixture
def project(org: Organization) -> Project:
    return Project.objects.create(organization=org, name="One")


def key_of(vendor: Vendor, org: Organization, key: str, status: int = 200, **draft: Any) -> Provider:
    """An own key at the vendor, which is answered with `status`."""
    vendor.keys[key] = status
    known = {"name": "openai", "provider_type": "openai", "base_url": vendor.url}
    return actions.create_provider(org.id, ProviderDraft(**{**known, "api_key": key, **draft}), check=False)


def found(org: Organization, *whose: str, handle: str = HANDLE) -> str:
    return resolve(org.id, handle, *whose).credential.api_key


class Asking:
    def __init__(self, org: Organization, target: ResolvedModel | None = None) -> None:
        self.run_id = f"run-{uuid.uuid4()}"
        context = CallContext(organization_id=org.id, call_type="agent_step", run_id=self.run_id)
        self.call = ModelCall(target or resolve(org.id, HANDLE), ASKED, context)

    def text(self) -> str:
        return "".join(event.text for event in self.call.events() if isinstance(event, TextDelta))

    def told(self) -> list[tuple[Any, ...]]:
        """Of each attempt: its number, whether with an own key, which, and how it ended."""
        names = ("attempt", "is_byok", "provider_key_id", "error_type")
        return [tuple(row[name] for name in names) for row in traces(self.run_id)]


def test_the_narrowest_own_key_of_a_name_is_taken(vendor: Vendor, org: Organization, project: Project) -> None:
    assert found(org) == BASE
    key_of(vendor, org, "sk-of-organization")
    key_of(vendor, org, "sk-of-project-one", project_id=project.pk)
    key_of(vendor, org, "sk-of-end-user-ada", identity_id="ada")
    assert found(org) == "sk-of-organization"
    assert found(org, project.pk) == "sk-of-project-one"
    assert found(org, project.pk, "ada") == "sk-of-end-user-ada"
    assert found(org, project.pk, "bob") == "sk-of-project-one"
    assert found(org, "", "bob") == "sk-of-organization"
    other = Organization.objects.create(name="Theirs")
    assert found(other, project.pk, "ada") == BASE


def test_scopes_cost_no_query_per_call_and_nothing_where_no_end_user_has_a_key(
    vendor: Vendor, org: Organization, project: Project
) -> None:
    key_of(vendor, org, "sk-of-project-one", project_id=project.pk)
    found(org, project.pk)
    with CaptureQueriesContext(connection) as queries:
        for number in range(20):
            found(org, project.pk, f"user-{number}")
    assert len(queries) == 0
    key_of(vendor, org, "sk-of-end-user-ada", identity_id="ada")
    found(org, project.pk, "ada")
    with CaptureQueriesContext(connection) as queries:
        assert found(org, project.pk, "ada") == found(org, project.pk, "ada") == "sk-of-end-user-ada"
    assert len(queries) == 0


def test_what_is_remembered_of_end_users_is_bounded(
    vendor: Vendor, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_END_USERS", 5)
    monkeypatch.setattr(listing, "MOST", 3)
    for number in range(12):
        key_of(vendor, org, f"sk-of-end-user-{number}", identity_id=f"user-{number}")
    for number in range(12):
        assert found(org, "", f"user-{number}") == f"sk-of-end-user-{number}"
    assert len(entries._end_users) <= 5
    assert len(listing._listings) <= 3


def test_a_key_is_for_a_project_or_an_end_user_and_of_the_same_organization(
    vendor: Vendor, org: Organization, project: Project
) -> None:
    with pytest.raises(BadInput, match="not for both"):
        key_of(vendor, org, "sk-0000000000", project_id=project.pk, identity_id="ada")
    with pytest.raises(BadInput, match="no such project"):
        key_of(vendor, Organization.objects.create(name="Theirs"), "sk-0000000000", project_id=project.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        Provider.objects.create(organization=org, name="x", provider_type="openai", project=project, identity_id="ada")


def test_own_keys_only_never_takes_the_installation_s(vendor: Vendor, org: Organization) -> None:
    actions.set_rule(org.id, Rule.BYOK_ONLY)
    with pytest.raises(BadInput, match=r"no own key for provider 'openai'.*Add one in the admin"):
        resolve(org.id, HANDLE)
    assert {info.handle for info in list_models(org.id)} == {"scripted/demo"}  # runs here, with no key at all
    row = key_of(vendor, org, "sk-our-own-one", 401, name="mine")
    target = resolve(org.id, HANDLE)  # the same vendor at the same address: agents keep their handle
    assert (target.provider_id, target.info.handle) == (row.pk, "mine/gpt-4o-mini")
    asking = Asking(org, target)
    with pytest.raises(AuthenticationFailed):
        asking.text()
    assert BASE not in vendor.asked_with


def test_the_installation_s_only_ignores_own_keys_and_says_so(vendor: Vendor, org: Organization) -> None:
    key_of(vendor, org, "sk-our-own-one")
    key_of(vendor, org, "sk-our-own-two", name="mine")
    actions.set_rule(org.id, Rule.BASE_ONLY)
    assert found(org) == BASE
    with pytest.raises(BadInput, match="'mine' is an own key, and the key rule here"):
        found(org, handle="mine/gpt-4o-mini")


def test_a_project_s_rule_goes_before_the_organization_s(vendor: Vendor, org: Organization, project: Project) -> None:
    key_of(vendor, org, "sk-our-own-one")
    actions.set_rule(org.id, Rule.BYOK_ONLY)
    actions.set_rule(org.id, Rule.BASE_ONLY, project_id=project.pk)
    assert (found(org), found(org, project.pk)) == ("sk-our-own-one", BASE)
    actions.set_rule(org.id, "", project_id=project.pk)
    assert found(org, project.pk) == "sk-our-own-one"


@pytest.mark.parametrize(
    ("status", "attempts", "error"),
    [(401, 1, "llm_authentication"), (402, 1, "llm_insufficient_credits"), (429, 3, "llm_rate_limit")],
)
def test_own_first_goes_on_with_the_installation_s_key_and_traces_each_attempt(
    vendor: Vendor, org: Organization, status: int, attempts: int, error: str
) -> None:
    row = key_of(vendor, org, "sk-our-own-one", status)
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    asking = Asking(org)
    assert asking.text() == "Hello"
    failed = [(number, 1, row.pk, error) for number in range(1, attempts + 1)]
    assert asking.told() == [*failed, (attempts + 1, 0, "", "")]
    assert asking.call.target.category == "base"
    row.refresh_from_db()
    assert row.last_error
    assert (row.failing_since is not None) == (status != 429)


def test_own_first_shows_other_failures_and_what_failed_without_a_rule(vendor: Vendor, org: Organization) -> None:
    key_of(vendor, org, "sk-our-own-one", 500)
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    with pytest.raises(Overloaded):
        Asking(org).text()
    actions.set_rule(org.id, "")
    vendor.keys["sk-our-own-one"] = 401
    with pytest.raises(AuthenticationFailed):
        Asking(org).text()
    assert BASE not in [key for key, path in zip(vendor.asked_with, vendor.server.paths, strict=True) if "chat" in path]


def test_a_limit_of_ours_is_no_reason_to_take_another_key(vendor: Vendor, org: Organization) -> None:
    from providers.errors import RateLimited

    key_of(vendor, org, "sk-our-own-one")
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    target = resolve(org.id, HANDLE)
    assert model_calls.next_key(target, RateLimited("our own limit")) is None
    assert model_calls.next_key(target, RateLimited("the vendor's", upstream_status=429)) is not None


def test_embeddings_fall_back_as_well(vendor: Vendor, org: Organization) -> None:
    key_of(vendor, org, "sk-our-own-one", 401)
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    run_id = f"run-{uuid.uuid4()}"
    context = CallContext(organization_id=org.id, call_type="embedding", run_id=run_id)
    assert embed_texts(["a"], handle="openai/text-embedding-3-small", context=context) == [[1.0, 0.0]]
    assert [row["is_byok"] for row in traces(run_id)] == [1, 0]


def test_a_key_that_cannot_be_read_fails_alone(vendor: Vendor, org: Organization) -> None:
    row = key_of(vendor, org, "sk-our-own-one")
    key_of(vendor, org, "sk-our-own-two", name="mine")
    Provider.objects.filter(pk=row.pk).update(api_key=Secret(stored="v1:gone:AAAA"))
    entries.forget(org.id)
    with pytest.raises(BadInput, match="Enter the key of provider 'openai' anew"):
        resolve(org.id, HANDLE)
    assert found(org, handle="mine/gpt-4o-mini") == "sk-our-own-two"
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    assert found(org) == BASE


def test_no_key_is_told_by_a_trace_or_an_error(vendor: Vendor, org: Organization) -> None:
    key_of(vendor, org, "sk-our-own-one", 401)
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    asking = Asking(org)
    asking.text()
    kept = json.dumps(traces(asking.run_id), default=str) + repr(asking.call.target)
    assert "sk-our-own-one" not in kept
    assert BASE not in kept


def test_a_stand_in_whose_server_lacks_the_model_is_passed_over(vendor: Vendor, org: Organization) -> None:
    key_of(vendor, org, "sk-our-own-one", 401)
    actions.set_rule(org.id, Rule.BYOK_FIRST)
    target = replace(resolve(org.id, HANDLE), model="a-fine-tune-of-ours")
    refused: ProviderError = AuthenticationFailed("no", upstream_status=401)
    assert model_calls.next_key(target, refused) is None
