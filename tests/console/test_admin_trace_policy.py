"""The trace policy's form and the deletion of traces, as an operator meets them."""

import hashlib

import pytest
from django.urls import reverse

from accounts.actions import create_organization
from accounts.models import AuditEntry
from telemetry import content
from telemetry.deletion import advance
from telemetry.models import TraceDeletion, TracePolicy

pytestmark = pytest.mark.usefixtures("clickhouse")
ADD_POLICY = "admin:telemetry_tracepolicy_add"
DELETE = "admin:telemetry_tracedeletion_add"


def policy_form(organization, **given):
    known = {
        "organization": organization.pk,
        "content": "masked",
        "masked_kinds": ["secret", "email"],
        "rules": "case = CASE-[0-9]+\nname = (?:Ada|Bob)",
        "trace_days": "",
        "payload_days": "7",
    }
    return known | given


def test_a_policy_is_set_acts_at_once_and_is_noted(browser, world):
    client = browser("admin")
    assert content.policy_of(world.organization.pk).content == "full"
    response = client.post(reverse(ADD_POLICY), policy_form(world.organization))
    assert response.status_code == 302, response.context["adminform"].errors
    row = TracePolicy.objects.get()
    assert row.custom_rules == [{"name": "case", "pattern": "CASE-[0-9]+"}, {"name": "name", "pattern": "(?:Ada|Bob)"}]
    assert (row.masked_kinds, row.payload_days, row.trace_days) == (["secret", "email"], 7, None)
    assert content.policy_of(world.organization.pk).content == "masked"
    page = reverse("admin:telemetry_tracepolicy_change", args=[row.pk])
    html = client.get(page).content.decode()
    assert "name = (?:Ada|Bob)" in html
    client.post(page, policy_form(world.organization, content="metadata"))
    assert content.policy_of(world.organization.pk).content == "metadata"
    [changed, set_] = AuditEntry.objects.filter(action="trace_policy.change").order_by("-created_at")
    assert (set_.before, changed.before["content"], changed.after["content"]) == (None, "masked", "metadata")
    content.forget(world.organization.pk)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rules": "bad = ("}, "no regular expression"),
        ({"rules": "no equals sign"}, "no name"),
        ({"payload_days": "31"}, "Between 1 and 30"),
        ({"use_analyzer": "on"}, "TRACE_ANALYZER"),
    ],
)
def test_a_wrong_policy_is_refused_with_the_mend_beside_the_field(browser, world, settings, given, said):
    settings.PAYLOAD_RETENTION_DAYS = 30
    response = browser("admin").post(reverse(ADD_POLICY), policy_form(world.organization, **given))
    assert response.status_code == 200
    assert said in response.content.decode()
    assert not TracePolicy.objects.exists()


def test_an_organization_has_one_policy(browser, world):
    TracePolicy.objects.create(organization=world.organization)
    response = browser("admin").post(reverse(ADD_POLICY), policy_form(world.organization))
    assert response.status_code == 200
    assert TracePolicy.objects.count() == 1


def deletion_form(world, **given):
    known = {"organization": world.organization.pk, "scope": "agent", "target_id": world.agents[0].pk, "reason": "GDPR"}
    return known | given


def test_traces_are_counted_confirmed_by_typing_and_deleted_with_a_receipt(browser, world, settings, tmp_path):
    settings.TELEMETRY_SPOOL_DIR = tmp_path / "spool"
    client, url = browser("admin"), reverse(DELETE)
    assert "Count what would go" in client.get(url).content.decode()
    counted = client.post(url, deletion_form(world)).content.decode()
    assert "llm_traces" in counted
    assert f"<code>{world.agents[0].pk}</code>" in counted
    mistyped = client.post(url, deletion_form(world, confirm="yes")).content.decode()
    assert "nothing was" in mistyped
    assert not TraceDeletion.objects.exists()
    response = client.post(url, deletion_form(world, confirm=world.agents[0].pk))
    row = TraceDeletion.objects.get()
    page = reverse("admin:telemetry_tracedeletion_change", args=[row.pk])
    assert response.headers["Location"] == page
    assert "Waiting for a worker" in client.get(page).content.decode()
    assert client.get(reverse("admin:telemetry_tracedeletion_receipt", args=[row.pk])).status_code == 404
    while advance(str(row.pk)):
        pass
    row.refresh_from_db()
    html = client.get(page).content.decode()
    assert row.receipt_sha256 in html
    receipt = client.get(reverse("admin:telemetry_tracedeletion_receipt", args=[row.pk]))
    assert hashlib.sha256(receipt.content).hexdigest() == row.receipt_sha256
    assert receipt.json()["rows_deleted"]["clickhouse.llm_traces"] > 0
    again = client.post(url, deletion_form(world)).content.decode()
    assert "Nothing is there now" in again


def test_who_may_not_delete_is_refused_and_strangers_see_nothing(browser, world):
    viewer = browser("viewer")
    assert viewer.get(reverse(DELETE)).status_code == 403
    assert viewer.post(reverse(DELETE), deletion_form(world, confirm=world.agents[0].pk)).status_code == 403
    everything = deletion_form(world, scope="organization", target_id="", confirm=world.organization.name)
    client = browser("admin")
    html = client.post(reverse(DELETE), everything).content.decode()
    assert "Only an owner" in html
    theirs = TraceDeletion.objects.create(
        organization=create_organization("secret others"),
        organization_name="secret others",
        scope="organization",
        cut_off="2026-01-01T00:00:00Z",
    )
    assert client.get(reverse("admin:telemetry_tracedeletion_change", args=[theirs.pk])).status_code in (302, 404)
    assert "secret others" not in client.get(reverse("admin:telemetry_tracedeletion_changelist")).content.decode()
    assert TraceDeletion.objects.count() == 1


def test_a_receipt_is_read_after_its_organization_is_gone(browser, world):
    row = TraceDeletion.objects.create(
        organization_id="org-00000000-0000-4000-8000-000000000000",
        organization_name="gone",
        scope="organization",
        cut_off="2026-01-01T00:00:00Z",
        state="done",
        receipt={"rows_left": 0},
        receipt_sha256="0" * 64,
    )
    client = browser("superuser")
    assert "gone" in client.get(reverse("admin:telemetry_tracedeletion_changelist")).content.decode()
    assert "0" * 64 in client.get(reverse("admin:telemetry_tracedeletion_change", args=[row.pk])).content.decode()
