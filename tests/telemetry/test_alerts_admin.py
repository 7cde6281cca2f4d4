"""Alert rules and channels in the admin: forms, scoping, a secret shown once, a test with its result, the home panel."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Membership, User
from core.time import now
from telemetry.models import AlertChannel, AlertDelivery, AlertEvent, AlertRule, AlertState

LISTS = ("telemetry_alertrule", "telemetry_alertchannel")

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(tenant):
    """Of a member of `tenant` with that role, or of a superuser."""

    def open_as(role):
        email = f"{role}@example.test"
        user = User.objects.filter(email=email).first()
        if user is None:
            user = User.objects.create_user(email, is_staff=True, is_superuser=role == "superuser")
            if role != "superuser":
                Membership.objects.create(organization=tenant.organization, user=user, role=role)
        client = Client()
        client.force_login(user)
        return client

    return open_as


@pytest.fixture
def make_channel(tenant):
    def make(**given):
        known = {
            "organization": tenant.organization, "name": "ops", "kind": "slack", "address": "https://example.com/x/t0ken",
            "shown": "https://example.com/x/…",
        }  # fmt: skip
        return AlertChannel.objects.create(**{**known, **given})

    return make


@pytest.fixture
def make_rule(tenant):
    def make(**given):
        return AlertRule.objects.create(
            **{"organization": tenant.organization, "name": "Spend", "metric": "cost_usd", "alert": 10, **given}
        )

    return make


def sent(**given):
    return {
        "name": "Dear models", "kind": "threshold", "metric": "cost_usd", "window_minutes": "60", "operator": "gt",
        "warning": "5", "alert": "10", "spread": "times", "minimum_calls": "0", "no_data": "keep", "group_by": "model",
        "reminder_minutes": "0", "tell_recovery": "on", "enabled": "on", **given,
    }  # fmt: skip


def change(row):
    return reverse(f"admin:telemetry_{row._meta.model_name}_change", args=[row.pk])


def add(name):
    return reverse(f"admin:telemetry_{name}_add")


def errors(response):
    assert response.status_code == 200
    form = response.context["adminform"].form
    return {name: list(found) for name, found in form.errors.items()}


def test_an_operator_makes_a_rule_and_sees_what_it_would_have_said(clickhouse, browser, tenant, make_channel):
    client, channel = browser("operator"), make_channel()
    form = sent(
        organization=tenant.organization.pk,
        channels=[channel.pk],
        only_agent="~none",
        only_is_byok="true",
        only_model=" m ",
    )
    response = client.post(add("alertrule"), form)
    assert response.status_code == 302, errors(response)
    rule = AlertRule.objects.get()
    assert response.headers["Location"] == reverse("admin:telemetry_alertrule_preview", args=[rule.pk])
    assert rule.filters == {"agent": "", "is_byok": "true", "model": "m"}
    assert (rule.group_by, rule.alert, list(rule.channels.all())) == ("model", 10, [channel])
    assert rule.created_by_id
    page = client.get(response.headers["Location"]).content.decode()
    assert "No call fits this rule yet" in page
    assert AuditEntry.objects.get().after["says"] == "Cost per model above $10.00 within 1 hour"
    html = client.get(change(rule)).content.decode()
    assert 'value="~none"' in html
    assert re.search(r'name="alert" value="10"', html)


def test_the_preview_draws_windows_limits_and_their_table(clickhouse, browser, tenant, make_rule):
    from tests.support.seed import Size, seed

    world = seed("Northwind", size=Size(agents=2, turns=4, days=1), clickhouse_url=clickhouse)
    rule = make_rule(
        organization=world.organization, metric="calls", warning=1, alert=2, window_minutes=360, name="Calls"
    )
    client = browser("superuser")
    html = client.get(reverse("admin:telemetry_alertrule_preview", args=[rule.pk])).content.decode()
    assert "pn-line-path" in html
    assert html.count('<tr><th scope="row">') >= 4
    assert "above 2" in html
    assert "messages over the last 24 windows" in html


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"warning": "", "alert": ""}, "alert", "nothing is ever said"),
        ({"warning": "20"}, "alert", "exchange the two"),
        ({"operator": "lt"}, "alert", "exchange the two"),
        ({"metric": "weather"}, "metric", "weather"),
        ({"group_by": "organization"}, "group_by", "take the organization out"),
        ({"kind": "anomaly", "minimum_value": ""}, "minimum_value", "nothing is an anomaly"),
        ({"kind": "anomaly", "minimum_value": "1", "window_minutes": "10080"}, "window_minutes", "1 day at most"),
        ({"kind": "anomaly", "minimum_value": "1", "warning": "0.5"}, "warning", "1 or more"),
        ({"organization": ""}, "organization", "required"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_with_the_mend(browser, tenant, changes, field, words):
    form = sent(**{"organization": tenant.organization.pk, **changes})
    assert words in " ".join(errors(browser("operator").post(add("alertrule"), form))[field])
    assert not AlertRule.objects.exists()


def test_a_rule_tells_channels_of_its_own_organization_alone(browser, tenant, stranger, make_channel):
    theirs = make_channel(organization=stranger.organization)
    whole = make_channel(organization=None)
    for channel in (theirs, whole):
        form = sent(organization=tenant.organization.pk, channels=[channel.pk])
        assert "channels" in errors(browser("operator").post(add("alertrule"), form))
        assert "channels" in errors(browser("superuser").post(add("alertrule"), form))
    assert not AlertRule.objects.exists()


def test_members_see_neither_other_organizations_rules_nor_those_of_the_installation(
    clickhouse, browser, stranger, make_rule, make_channel
):
    hidden = [
        make_rule(organization=stranger.organization, name="their secret rule"),
        make_rule(organization=None, name="whole secret rule"),
        make_channel(organization=stranger.organization, name="their secret channel"),
        make_channel(organization=None, name="whole secret channel"),
    ]
    AlertRule.objects.update(state="alert")
    AlertChannel.objects.update(enabled=False, disabled_at=now())
    own = make_rule(name="own rule", state="alert")
    client = browser("owner")
    for url in ["/admin/", *(reverse(f"admin:{name}_changelist") for name in LISTS), add("alertrule"), change(own)]:
        html = client.get(url).content.decode()
        assert "secret" not in html.replace("New secret", ""), url
    for row in hidden:
        assert client.get(change(row)).status_code in (302, 403, 404)
    for row, tab in ((hidden[0], "preview"), (hidden[0], "events"), (hidden[1], "preview"), (hidden[1], "events")):
        assert client.get(reverse(f"admin:telemetry_alertrule_{tab}", args=[row.pk])).status_code == 404
    for row in hidden[2:]:
        for deed in ("test", "secret"):
            assert client.post(reverse(f"admin:telemetry_alertchannel_{deed}", args=[row.pk])).status_code == 404
    html = browser("superuser").get("/admin/").content.decode()
    assert "whole secret rule" in html
    assert "own rule" in html


def test_a_viewer_looks_and_changes_nothing(browser, tenant, make_rule, make_channel):
    rule, channel = make_rule(filters={"model": "m"}), make_channel()
    client = browser("viewer")
    for url in (change(rule), change(channel), *(reverse(f"admin:{name}_changelist") for name in LISTS)):
        html = client.get(url).content.decode()
        assert "t0ken" not in html
    assert client.post(change(rule), sent()).status_code == 403
    assert client.post(add("alertrule"), sent(organization=tenant.organization.pk)).status_code == 403
    assert client.post(reverse("admin:telemetry_alertchannel_test", args=[channel.pk])).status_code == 403
    operator = browser("operator")
    assert operator.get(add("alertchannel")).status_code == 403  # channels hold secrets: admins make them


def test_a_change_writes_the_changed_fields_alone_and_begins_anew_where_the_meaning_changed(browser, make_rule):
    rule = make_rule(state="alert", raised=1, claim=7, warning=5, group_by="model", name="Dear models")
    AlertState.objects.create(rule=rule, group="m", state="alert", changed_at=now())
    client = browser("operator")
    assert client.post(change(rule), sent(alert="12")).status_code == 302
    rule.refresh_from_db()
    assert (rule.alert, rule.state, rule.claim, rule.states.count()) == (Decimal(12), "alert", 8, 1)
    assert client.post(change(rule), sent(alert="12", only_model="gpt")).status_code == 302
    rule.refresh_from_db()
    assert (rule.filters, rule.state, rule.claim, rule.states.count()) == ({"model": "gpt"}, "unknown", 9, 0)
    html = client.get(reverse("admin:telemetry_alertrule_events", args=[rule.pk])).content.decode()
    assert "The rule was changed: it begins anew." in html


def test_a_webhook_s_secret_is_shown_once(browser, tenant):
    client = browser("admin")
    form = {
        "organization": tenant.organization.pk, "name": "hook", "kind": "webhook", "enabled": "on",
        "sends_to": "https://example.com/h/t0ken", "topics": ["budget"],
    }  # fmt: skip
    response = client.post(add("alertchannel"), form)
    assert response.status_code == 302, errors(response)
    channel = AlertChannel.objects.get()
    assert (channel.topics, channel.shown, channel.address.reveal()) == (
        ["budget"], "https://example.com/h/…", "https://example.com/h/t0ken",
    )  # fmt: skip
    for session in Session.objects.all():
        assert "whsec_" not in str(session.get_decoded())
    page = client.get(response.headers["Location"])
    [first] = re.findall(r"whsec_[\w-]{40,}", page.content.decode())
    assert first == channel.secret.reveal()
    assert "no-store" in page.headers["Cache-Control"]
    assert "whsec_" not in client.get(response.headers["Location"], follow=True).content.decode()
    again = client.post(reverse("admin:telemetry_alertchannel_secret", args=[channel.pk]), follow=True)
    [second] = re.findall(r"whsec_[\w-]{40,}", again.content.decode())
    assert second != first
    assert second == AlertChannel.objects.get().secret.reveal()
    assert "t0ken" not in client.get(change(channel)).content.decode()


def test_an_empty_address_keeps_the_stored_one_and_switching_on_starts_anew(browser, make_channel):
    channel = make_channel(enabled=False, failures=5, disabled_at=now(), last_error="answered 500")
    client = browser("admin")
    assert "switched off" in client.get(change(channel)).content.decode()
    response = client.post(change(channel), {"name": "renamed", "sends_to": "", "enabled": "on"})
    assert response.status_code == 302, errors(response)
    channel = AlertChannel.objects.get()
    assert (channel.name, channel.address.reveal()) == ("renamed", "https://example.com/x/t0ken")
    assert (channel.enabled, channel.failures, channel.disabled_at) == (True, 0, None)
    response = client.post(change(channel), {"name": "renamed", "sends_to": "http://10.0.0.1/", "enabled": "on"})
    assert "begins with https://" in errors(response)["sends_to"][0]


def test_the_test_button_sends_a_message_and_says_what_came_of_it(browser, make_channel, settings, mailoutbox):
    channel = make_channel(kind="email", address="ops@example.test")
    client = browser("admin")
    url = reverse("admin:telemetry_alertchannel_test", args=[channel.pk])
    assert client.get(url).status_code == 405
    assert "give EMAIL_URL" in client.post(url, follow=True).content.decode()
    settings.EMAIL_URL = "smtp://mail.example.test"
    assert "The test was sent: taken by the mail server" in client.post(url, follow=True).content.decode()
    assert mailoutbox[0].subject == "[Perennial] Test: this channel works"
    channel.refresh_from_db()
    assert (channel.last_error, channel.last_sent_at is not None) == ("", True)


def test_pages_with_history_hold_their_queries_and_open(
    browser, make_rule, make_channel, django_assert_max_num_queries
):
    rule, channel = make_rule(group_by="agent", problem="ClickHouse did not answer", problem_at=now()), make_channel()
    rule.channels.add(channel)
    for number in range(30):
        at = now() - timedelta(minutes=number)
        AlertState.objects.create(rule=rule, group=f"agent-{number}", state="warning", changed_at=at)
        event = AlertEvent.objects.create(rule=rule, at=at, group=f"agent-{number}", before="ok", after="warning")
        AlertDelivery.objects.create(channel=channel, rule=rule, event=event, message={"title": f"message {number}"})
        make_rule(name=f"more {number}")
        make_channel(name=f"more {number}")
    client = browser("admin")
    pages = [change(rule), change(channel), reverse("admin:telemetry_alertrule_events", args=[rule.pk])]
    for url in [*pages, *(reverse(f"admin:{name}_changelist") for name in LISTS)]:
        with django_assert_max_num_queries(11):
            response = client.get(url)
        assert response.status_code == 200
    html = client.get(change(rule)).content.decode()
    assert "It cannot be evaluated" in html
    assert client.get(change(channel)).content.decode().count("message ") >= 20


def test_a_superuser_watches_the_whole_installation(clickhouse, browser, make_channel):
    channel = make_channel(organization=None)
    form = sent(group_by="organization", channels=[channel.pk])
    client = browser("superuser")
    response = client.post(add("alertrule"), form)
    assert response.status_code == 302, errors(response)
    rule = AlertRule.objects.get()
    assert rule.organization is None
    assert client.get(change(rule)).status_code == 200
    assert client.post(change(rule), sent(group_by="organization", name="renamed")).status_code == 302
    assert client.post(reverse("admin:telemetry_alertrule_delete", args=[rule.pk]), {"post": "yes"}).status_code == 302
    assert not AlertRule.objects.exists()
