"""Callbacks of runs that have ended: signed, repeated until they are taken, and never sent into our own network."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, Membership, Organization, User
from conversations import callbacks, doorbell
from conversations.actions import cancel_run
from conversations.callbacks import HELD, PAUSES, send_due
from conversations.models import Conversation, Run, RunStatus, WebhookSecret
from core import outbound
from core.outbound import NotDelivered, Policy
from core.time import now
from tests.support.api import Api, Tenant
from tests.support.factories import make_agent, make_run
from tests.support.receiver import Receiver
from tests.support.turns import fresh, needs_approval, thinker, work

pytestmark = pytest.mark.usefixtures("redis")
HOUR = timedelta(hours=1)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    found = Receiver()
    yield found
    found.close()


def sent_async(api: Api, conversation: Conversation, url: str, text: str = "[[say Hi]]", **more: Any) -> Run:
    body = {"input": text, "callback_url": url} | more
    found = api.post(f"/agents/{conversation.agent_id}/messages/async", body).ok()
    return Run.objects.get(pk=found["id"])


def due_run(organization: Organization, url: str, **fields: Any) -> Run:
    """One that has ended, and nobody was told."""
    agent = make_agent(organization)
    known = {"callback_url": url, "callback_due_at": now() - HOUR}
    return make_run(fresh(agent), **known | fields)


def test_a_run_that_has_ended_is_told_of_signed_and_with_its_result(
    tenant: Tenant, api: Api, receiver: Receiver, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    run = sent_async(api, thinker(tenant), receiver.url)
    assert send_due() == 0, "it goes on"
    with django_capture_on_commit_callbacks() as after_commit:
        work(run)
    assert doorbell.ring_callbacks in after_commit
    assert receiver.got == [], "nobody waits for the receiver where a run ends"
    assert send_due() == 1
    [(path, headers, body)] = receiver.got
    assert path == "/hooks/token?a=1"
    told = json.loads(body)
    assert set(told) == {"run_id", "status", "completed_at", "metadata"}
    shown = api.get(f"/runs/{run.pk}").ok()
    assert (told["run_id"], told["status"], told["completed_at"]) == (run.pk, "completed", shown["completed_at"])
    result = told["metadata"]["result"]
    assert [(m["message_type"], m["content"]) for m in result["messages"]] == [("assistant_message", "Hi")]
    assert result["stop_reason"]["stop_reason"] == "end_turn"
    secret: Any = WebhookSecret.objects.get(organization=tenant.organization).secret
    stamp = headers["X-Perennial-Timestamp"]
    signed = hmac.new(secret.reveal().encode(), stamp.encode() + b"." + body, hashlib.sha256)
    assert headers["X-Perennial-Signature"] == f"sha256={signed.hexdigest()}"
    assert abs(time.time() - int(stamp)) < 300
    assert headers["X-Perennial-Delivery"] == f"delivery-{run.pk.removeprefix('run-')}"
    assert (shown["callback_url"], shown["callback_status_code"], shown["callback_error"]) == (receiver.url, 200, None)
    assert shown["callback_sent_at"] is not None
    assert send_due(now() + HOUR) == 0, "once is enough"


def test_every_way_of_ending_is_told_of_and_a_pause_too(tenant: Tenant, api: Api, receiver: Receiver) -> None:
    cancelled = sent_async(api, thinker(tenant), receiver.url)
    assert cancel_run(cancelled)
    failed = sent_async(api, thinker(tenant), receiver.url, "[[error 401]]")
    work(failed)
    waits = thinker(tenant, name="Asks")
    needs_approval(waits, "memory_insert")
    paused = sent_async(
        api, waits, receiver.url, '[[tool memory_insert {"label": "human", "new_string": "x"} then say Done]]'
    )
    assert work(paused).status == RunStatus.WAITING_APPROVAL
    assert send_due() == 3
    told = {body["run_id"]: body for body in (json.loads(body) for _, _, body in receiver.got)}
    assert [told[run.pk]["status"] for run in (cancelled, failed, paused)] == ["cancelled", "failed", "completed"]
    assert told[cancelled.pk]["metadata"]["result"]["stop_reason"]["stop_reason"] == "cancelled"
    assert told[failed.pk]["metadata"]["error"]["type"]
    assert "result" not in told[failed.pk]["metadata"]
    assert told[paused.pk]["metadata"]["result"]["stop_reason"]["stop_reason"] == "requires_approval"
    assert cancel_run(paused)
    assert send_due() == 0, "that it was cancelled later is no second end"


def test_who_dies_between_the_sending_and_the_noting_leaves_it_to_be_sent_again_with_the_same_id(
    tenant: Tenant, receiver: Receiver
) -> None:
    run, at = due_run(tenant.organization, receiver.url), now()
    taken = callbacks.OUTBOX.take(at)
    assert taken is not None
    callbacks.OUTBOX.send(taken)  # and here the worker dies
    assert send_due(at + HELD / 2) == 0, "it may still be at it"
    assert send_due(at + HELD) == 1
    first, second = (headers["X-Perennial-Delivery"] for _, headers, _ in receiver.got)
    assert first == second == callbacks.delivery_id(run)
    callbacks.OUTBOX.failed(taken, NotDelivered("late word of one that was thought dead"), at)
    run.refresh_from_db()
    assert (callbacks.state_of(run), run.callback_error, run.callback_attempts) == ("sent", None, 2)


def test_a_callback_that_is_not_taken_is_repeated_later_and_later_and_then_given_up(
    tenant: Tenant, receiver: Receiver
) -> None:
    run, at, receiver.status = due_run(tenant.organization, receiver.url), now(), 500
    for tries, pause in enumerate(PAUSES, 1):
        assert send_due(at) == 0
        run.refresh_from_db()
        assert (run.callback_due_at, run.callback_attempts, run.callback_status_code) == (at + pause, tries, 500)
        at += pause
    assert "answered 500: what it thinks of it" in (run.callback_error or "")
    send_due(at)
    run.refresh_from_db()
    assert (callbacks.state_of(run), len(receiver.got)) == ("given_up", len(PAUSES) + 1)
    receiver.status = 204
    callbacks.send_again(run, "user-1")
    assert send_due() == 1
    assert len({headers["X-Perennial-Delivery"] for _, headers, _ in receiver.got}) == 1
    assert AuditEntry.objects.filter(action="callback.send_again", target=run.pk).count() == 1


def test_redirects_are_not_followed(tenant: Tenant, receiver: Receiver) -> None:
    run, receiver.status, receiver.headers = due_run(tenant.organization, receiver.url), 302, {"Location": "/else"}
    assert send_due() == 0
    run.refresh_from_db()
    assert len(receiver.got) == 1
    assert "points elsewhere" in (run.callback_error or "")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "169.254.169.254", "[::1]:1", "10.1.2.3"])
def test_our_own_network_is_refused_once_and_for_all(tenant: Tenant, host: str) -> None:
    run = due_run(tenant.organization, f"https://{host}/hook")
    assert send_due() == 0
    run.refresh_from_db()
    assert callbacks.state_of(run) == "given_up"
    assert "private network: give a public address, or set WEBHOOK_PRIVATE_ADDRESSES=true" in (run.callback_error or "")


@pytest.mark.parametrize(
    "url", ["http://example.com/x", "ftp://example.com", "https://", "https://u:p@example.com/", "x"]
)
def test_an_address_that_cannot_be_told_is_refused_when_it_is_sent(tenant: Tenant, api: Api, url: str) -> None:
    conversation = thinker(tenant)
    refused = api.post(f"/agents/{conversation.agent_id}/messages/async", {"input": "Hi", "callback_url": url})
    assert refused.status == 422
    assert not Run.objects.filter(conversation=conversation).exists()


def test_a_receiver_that_drips_is_cut_off(receiver: Receiver) -> None:
    receiver.drips = True
    policy = Policy(private=True, setting="X", agent="x", whole_s=0.3)
    begun = time.monotonic()
    with pytest.raises(NotDelivered, match=r"had not answered whole after 0\.3 seconds"):
        outbound.post(receiver.url, b"{}", {}, policy)
    assert time.monotonic() - begun < policy.timeout_s


def test_one_organizations_slow_receivers_hold_up_nobody_else(
    tenant: Tenant, stranger: Tenant, receiver: Receiver
) -> None:
    busy = {"callback_held_until": now() + HELD}
    for _ in range(callbacks.MOST_OF_ONE):
        due_run(tenant.organization, receiver.url, **busy)
    waiting = due_run(tenant.organization, receiver.url, callback_due_at=now() - 2 * HOUR)
    other = due_run(stranger.organization, receiver.url)
    assert send_due() == 1
    assert [json.loads(body)["run_id"] for _, _, body in receiver.got] == [other.pk]
    waiting.refresh_from_db()
    assert waiting.callback_attempts == 0


# /api and the admin


def rest(tenant: Tenant) -> Client:
    return Client(headers={"Authorization": f"Bearer {tenant.key}"})


def test_api_lists_callbacks_sends_them_again_and_keeps_others_out(
    tenant: Tenant, stranger: Tenant, receiver: Receiver
) -> None:
    run, plain = due_run(tenant.organization, receiver.url), make_run(fresh(make_agent(tenant.organization)))
    send_due()
    listed = rest(tenant).get("/api/webhooks").json()
    [item] = listed["items"]
    assert (item["run_id"], item["state"], item["attempts"], item["status_code"]) == (run.pk, "sent", 1, 200)
    assert item["url"].endswith("/hooks/…"), "the token at its end stays out"
    assert rest(stranger).get("/api/webhooks").json() == {"items": [], "next": None}
    assert rest(stranger).post(f"/api/webhooks/{run.pk}/send").status_code == 404
    assert rest(tenant).post(f"/api/webhooks/{plain.pk}/send").status_code == 404
    assert rest(tenant).post(f"/api/webhooks/{run.pk}/send").json()["state"] == "waiting"
    assert (send_due(), len(receiver.got)) == (1, 2)


def test_the_secret_is_shown_once_to_admins_and_kept_encrypted(tenant: Tenant) -> None:
    client = rest(tenant)
    assert client.get("/api/webhooks/secret").json() == {"made_at": None}
    made = client.post("/api/webhooks/secret")
    secret = made.json()["secret"]
    assert (made.status_code, secret[:6], made.headers["Cache-Control"]) == (201, "whsec_", "no-store")
    assert secret not in client.get("/api/webhooks/secret").content.decode()
    kept: Any = WebhookSecret.objects.get(organization=tenant.organization).secret
    assert kept.reveal() == secret
    assert secret not in kept.stored
    assert callbacks.secret_of(tenant.organization.pk) == secret
    assert client.post("/api/webhooks/secret").json()["secret"] != secret
    assert AuditEntry.objects.filter(action="webhook_secret.new").count() == 2
    Membership.objects.filter(user=tenant.user).update(role="operator")
    assert client.post("/api/webhooks/secret").status_code == 403


def test_the_admin_shows_callbacks_and_makes_secrets(tenant: Tenant, stranger: Tenant) -> None:
    mine = due_run(tenant.organization, "https://10.1.1.1/hooks/1", callback_error="It was asleep.")
    theirs = due_run(stranger.organization, "https://10.2.2.2/hooks/1")
    User.objects.update(is_staff=True)
    client, page = Client(), "/admin/conversations/webhooks/"
    client.force_login(tenant.user)
    html = client.get(page).content.decode()
    assert "10.1.1.1" in html
    assert "It was asleep." in html
    assert "10.2.2.2" not in html
    asked = client.post(page, {"organization": tenant.organization.pk}, follow=True)
    assert "whsec_" in asked.content.decode()
    assert "no-store" in asked.headers["Cache-Control"]
    again = asked.redirect_chain[0][0]
    assert "whsec_" not in client.get(again).content.decode(), "it is shown once"
    assert "whsec_" not in client.post(page, {"organization": stranger.organization.pk}, follow=True).content.decode()
    assert not WebhookSecret.objects.filter(organization=stranger.organization).exists()
    of_run = f"/admin/conversations/run/{mine.pk}"
    assert "It was asleep." in client.get(f"{of_run}/change/").content.decode()
    callbacks.send_due()
    assert client.post(f"{of_run}/callback/").status_code == 302
    mine.refresh_from_db()
    assert (mine.callback_attempts, callbacks.state_of(mine)) == (0, "waiting")
    assert client.post(f"/admin/conversations/run/{theirs.pk}/callback/").status_code == 404
    Membership.objects.filter(user=tenant.user).update(role="viewer")
    assert client.post(page, {"organization": tenant.organization.pk}).status_code == 403
    assert client.post(f"{of_run}/callback/").status_code == 403
