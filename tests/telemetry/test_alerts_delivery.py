"""The outbox and the channels: what is sent, how often, to whom; and what is never sent anywhere."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import AuditEntry
from core.errors import Invalid
from core.outbound import NotDelivered
from core.secrets import Secret
from telemetry.alerts import channels as kinds
from telemetry.alerts import notify
from telemetry.alerts.channels import channel_of
from telemetry.alerts.channels.webhook import WebhookChannel
from telemetry.alerts.deliver import deliver_due, prune, send, switch_on
from telemetry.alerts.messages import Message
from telemetry.models import AlertChannel, AlertDelivery
from tests.support.receiver import Receiver

AT = datetime(2026, 11, 18, 12, 0, tzinfo=UTC)
SECRET = "whsec_of_the_test"
MESSAGE = Message(
    "delivery-1", "rule", "alert", "Alert: <!channel> & co", "Cost: $3 <b>", "2026-11-18T12:00:00+00:00",
    "https://here/admin/", [["Metric", "Cost"]],
)  # fmt: skip

pytestmark = pytest.mark.django_db


@pytest.fixture
def receiver(settings):
    settings.ALERT_PRIVATE_ADDRESSES = True
    found = Receiver()
    yield found
    found.close()


@pytest.fixture
def make_channel(tenant):
    def make(address, kind="webhook", **given):
        known = {"organization": tenant.organization, "name": "ops", "kind": kind, "secret": SECRET}
        made = AlertChannel.objects.create(**{**known, "address": address, **given})
        return AlertChannel.objects.get(pk=made.pk)

    return make


def deliver(at=AT):
    """What the outbox holds is as old as the test says."""
    AlertDelivery.objects.filter(created_at__gt=at).update(created_at=at, next_attempt_at=at)
    return deliver_due(at)


def test_a_webhook_is_signed_so_that_its_receiver_can_tell(receiver, make_channel):
    assert send(make_channel(receiver.url), MESSAGE) == "answered 200"
    [(path, headers, body)] = receiver.got
    assert path == "/hooks/token?a=1"
    signed = hmac.new(SECRET.encode(), headers["X-Perennial-Timestamp"].encode() + b"." + body, hashlib.sha256)
    assert headers["X-Perennial-Signature"] == f"sha256={signed.hexdigest()}"
    assert abs(time.time() - int(headers["X-Perennial-Timestamp"])) < 300
    assert headers["X-Perennial-Delivery"] == "delivery-1"
    assert headers["Host"] == receiver.url.split("/")[2]
    assert json.loads(body)["title"] == "Alert: <!channel> & co"
    assert SECRET not in body.decode()


def test_slack_gets_names_that_call_nobody(receiver, make_channel):
    send(make_channel(receiver.url, "slack"), MESSAGE)
    [(_, _, body)] = receiver.got
    said = json.dumps(json.loads(body))
    assert "&lt;!channel&gt; &amp; co" in said
    assert "<!channel>" not in said
    assert "<https://here/admin/|Open in Perennial>" in said


def test_email_goes_to_every_address_by_the_server_of_the_settings(make_channel, settings, mailoutbox):
    channel = make_channel("a@example.test, b@example.test", "email")
    with pytest.raises(NotDelivered, match="give EMAIL_URL"):
        send(channel, MESSAGE)
    settings.EMAIL_URL = "smtp://mail.example.test"
    assert send(channel, MESSAGE) == "taken by the mail server, for 2 addresses"
    [mail] = mailoutbox
    assert (mail.to, mail.subject) == (["a@example.test", "b@example.test"], "[Perennial] Alert: <!channel> & co")
    assert "Cost: $3 <b>" in mail.body
    assert "Metric: Cost" in mail.body


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/h",
        "https://localhost/h",
        "https://10.1.2.3/h",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/h",
        "https://[::ffff:127.0.0.1]/h",
        "https://0.0.0.0/h",
    ],
)
def test_no_message_goes_into_a_private_network(make_channel, url):
    with pytest.raises(NotDelivered, match="private network"):
        send(make_channel(url), MESSAGE)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("webhook", "http://example.com/h"),
        ("webhook", "ftp://example.com/h"),
        ("webhook", "https:///h"),
        ("webhook", "https://user:p4ss@example.com/h"),
        ("webhook", "https://exa mple.com/h"),
        ("webhook", "https://example.com:99999/h"),
        ("slack", "javascript:alert(1)"),
        ("email", ""),
        ("email", "a@example.test, nobody"),
        ("email", "a@example.test\nBcc: b@example.test"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_repeating_a_password(kind, address):
    with pytest.raises(Invalid) as refused:
        channel_of(kind).clean(address)
    assert "p4ss" not in refused.value.message


def test_what_is_shown_of_a_url_is_not_its_token():
    shown = channel_of("slack").shown("https://hooks.slack.com/services/T0/B0/s3cret?x=s3cret")
    assert shown == "https://hooks.slack.com/services/…"


def test_a_redirect_is_not_followed_and_an_error_is_one(receiver, make_channel):
    channel = make_channel(receiver.url)
    receiver.status, receiver.headers = 302, {"Location": receiver.url}
    with pytest.raises(NotDelivered, match="302 and points elsewhere"):
        send(channel, MESSAGE)
    assert len(receiver.got) == 1
    receiver.status = 500
    with pytest.raises(NotDelivered, match="answered 500: what it thinks of it"):
        send(channel, MESSAGE)


def test_an_address_that_no_key_opens_is_said_so(make_channel):
    channel = make_channel("https://example.com/h")
    channel.address = Secret(stored="v1:gone:xxxx")
    with pytest.raises(NotDelivered, match="enter it anew"):
        send(channel, MESSAGE)


def test_an_announcement_reaches_who_listens_once(make_channel, tenant, stranger, receiver):
    listening = make_channel(receiver.url, topics=["budget"])
    make_channel(receiver.url, topics=["provider_key"])
    make_channel(receiver.url, topics=["budget"], enabled=False)
    make_channel(receiver.url, topics=["budget"], organization=stranger.organization)
    make_channel(receiver.url, topics=["budget"], organization=None)
    for _ in range(3):
        notify.announce(tenant.organization.pk, "budget", "80 % of “Team” are spent", "$80 of $100", "b:2026-11:80")
    assert [d.channel_id for d in AlertDelivery.objects.all()] == [listening.pk]
    assert deliver() == 1
    assert json.loads(receiver.got[0][2])["kind"] == "budget"
    assert notify.announce(None, "budget", "t", "b") == 1
    with pytest.raises(ValueError, match="No channel can listen"):
        notify.announce(tenant.organization.pk, "weather", "t", "b")


def test_a_message_that_was_sent_before_the_worker_died_is_repeated_and_never_lost(
    receiver, make_channel, tenant, monkeypatch
):
    class DiesAfterSending(WebhookChannel):
        def send(self, target, message):
            super().send(target, message)
            raise SystemExit("killed between the sending and the noting")

    make_channel(receiver.url, topics=["budget"])
    notify.announce(tenant.organization.pk, "budget", "t", "b")
    monkeypatch.setattr("telemetry.alerts.deliver.channel_of", lambda kind: DiesAfterSending())
    with pytest.raises(SystemExit):
        deliver()
    monkeypatch.undo()
    assert deliver_due(AT + timedelta(seconds=30)) == 0  # it may still be on its way
    assert deliver_due(AT + timedelta(seconds=61)) == 1
    assert deliver_due(AT + timedelta(hours=3)) == 0
    first, second = (headers["X-Perennial-Delivery"] for _, headers, _ in receiver.got)
    assert first == second == AlertDelivery.objects.get(progress="sent").pk


def test_a_channel_that_fails_is_asked_later_and_later_and_then_switched_off(
    receiver, make_channel, tenant, settings, mailoutbox
):
    settings.EMAIL_URL = "smtp://mail.example.test"
    other = Receiver()
    try:
        broken = make_channel(receiver.url, topics=["budget"], name="broken")
        sound = make_channel(other.url, topics=["budget"], name="sound")
        receiver.status = 503
        for number in range(3):
            notify.announce(tenant.organization.pk, "budget", f"t{number}", "b")
        assert deliver() == 3
    finally:
        other.close()
    assert len(receiver.got) == 1  # a round asks it once, not once a message
    at = AT
    for wait in (30, 120, 600, 3600):
        assert deliver_due(at + timedelta(seconds=wait - 1)) == 0
        at += timedelta(seconds=wait)
        deliver_due(at)
    assert len(receiver.got) == 5
    broken.refresh_from_db()
    sound.refresh_from_db()
    assert (broken.enabled, broken.failures, broken.disabled_at) == (False, 5, at)
    assert "answered 503" in broken.last_error
    assert (sound.enabled, sound.failures) == (True, 0)
    [mail] = mailoutbox
    assert mail.to == [tenant.user.email]
    assert "failed 5 times in a row and was switched off" in mail.body
    assert AuditEntry.objects.get(action="alert_channel.disable").target == broken.pk
    deliver_due(at + timedelta(hours=2))
    assert len(receiver.got) == 5

    receiver.status = 200
    switch_on(broken)
    AlertDelivery.objects.filter(progress="waiting").update(next_attempt_at=at)
    assert deliver_due(at) == 3  # what waited for it is not lost
    broken.refresh_from_db()
    assert (broken.enabled, broken.failures, broken.disabled_at, broken.last_error) == (True, 0, None, "")


def test_news_of_yesterday_is_given_up_and_forgotten_after_a_month(receiver, make_channel, tenant):
    make_channel(receiver.url, topics=["budget"])
    notify.announce(tenant.organization.pk, "budget", "t", "b")
    AlertDelivery.objects.update(created_at=AT - timedelta(days=2), next_attempt_at=AT)
    assert deliver_due(AT) == 0
    assert AlertDelivery.objects.get().progress == "given_up"
    prune(AT + timedelta(days=20))
    assert AlertDelivery.objects.count() == 1
    prune(AT + timedelta(days=31))
    assert AlertDelivery.objects.count() == 0


def test_every_kind_of_channel_is_found_by_its_path():
    assert set(kinds.PATHS) == {"email", "slack", "webhook"}
    assert {kind for kind in kinds.PATHS if channel_of(kind).signs} == {"webhook"}


def test_secrets_and_addresses_are_encrypted_at_rest(make_channel):
    from django.db import connection

    channel = make_channel("https://example.com/h/s3cret")
    with connection.cursor() as cursor:
        cursor.execute("SELECT address, secret FROM telemetry_alertchannel")
        [(address, secret)] = cursor.fetchall()
    assert "s3cret" not in address
    assert SECRET not in secret
    assert "s3cret" not in repr(AlertChannel.objects.get(pk=channel.pk).address)


def test_a_budget_that_runs_low_is_told_once_to_who_listens(make_channel, tenant, stranger):
    from budgets.models import Budget, BudgetEvent
    from config.announcements import tell_of_budget

    make_channel("https://example.com/h", topics=["budget"])
    make_channel("https://example.com/h", topics=["budget"], organization=stranger.organization)
    budget = Budget.objects.create(organization=tenant.organization, name="Team", amount=100)
    event = BudgetEvent.objects.create(
        organization=tenant.organization, budget=budget, kind="warning", window_start=AT, spent=80, limit=100
    )
    event.refresh_from_db()
    for _ in range(2):
        tell_of_budget(event, budget)
    message = AlertDelivery.objects.get().message
    assert message["title"] == "The budget “Team” is used to 80 %"
    assert message["body"] == "80 of 100 USD, since 2026-11-18 12:00 UTC."


def test_a_key_that_stops_working_is_told_once(make_channel, tenant):
    from config.announcements import tell_of_failing_keys
    from providers.models import Provider

    make_channel("https://example.com/h", topics=["provider_key"])
    known = {"organization": tenant.organization, "provider_type": "openai", "api_key": "k"}
    Provider.objects.create(**known, name="sound")
    since = datetime.now(UTC)
    row = Provider.objects.create(
        **known, name="gone", failed_checks=1, failing_since=since, last_error_at=since, last_error="401: no such key"
    )
    assert tell_of_failing_keys() == 0
    Provider.objects.filter(pk=row.pk).update(failed_checks=2)
    for _ in range(2):
        tell_of_failing_keys()
    message = AlertDelivery.objects.get().message
    assert message["title"] == "The provider key “gone” does not work"
    assert "401: no such key" in message["body"]
