"""Sends given in bulk: made of runs as there is room, counted, told of, and never in anybody's way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
import pytest

from accounts.models import ApiKey
from agents.models import Agent
from conversations import batch_callbacks, batches
from conversations.batch_models import Batch, BatchItem
from conversations.models import ACTIVE, Conversation, Run
from core.time import now
from tests.support.api import Api, Tenant
from tests.support.receiver import Receiver
from tests.support.turns import fresh, messages, send, thinker, work

pytestmark = pytest.mark.usefixtures("redis")
PATH = "/messages/batches"


@pytest.fixture(autouse=True)
def _room(settings: Any) -> None:
    settings.BATCH_RUNS, settings.BATCH_RUNS_OF_ONE = 4, 2


@pytest.fixture
def agents(tenant: Tenant) -> list[Agent]:
    return [thinker(tenant, name=f"agent {number}").agent for number in range(3)]


def requests(*agents: Agent, **more: Any) -> list[dict[str, Any]]:
    return [
        {"agent_id": agent.pk, "messages": [{"role": "user", "content": f"[[say Hi {n}]]"}], **more}
        for n, agent in enumerate(agents)
    ]


def given(api: Api, *agents: Agent, **more: Any) -> str:
    return str(api.post(PATH, {"requests": requests(*agents), **more}).ok()["id"])


def going() -> list[Run]:
    return list(Run.objects.filter(status__in=ACTIVE).order_by("created_at"))


def done(rounds: int = 20) -> None:
    """Feed and work until nothing is left."""
    for _ in range(rounds):
        batches.feed()
        for run in going():
            work(run)
    batches.feed()


def counts(api: Api, batch_id: str) -> dict[str, int]:
    shown = api.get(f"{PATH}/{batch_id}").ok()["metadata"]["counts"]
    return {word: count for word, count in shown.items() if count}


def test_each_request_becomes_a_run_of_its_agent(api: Api, agents: list[Agent]) -> None:
    made = api.post(PATH, {"requests": requests(*agents)}).ok()
    assert (made["status"], made["job_type"]) == ("created", "batch")
    assert (made["metadata"]["request_count"], made["metadata"]["counts"]["pending"]) == (3, 3)
    assert going() == []
    batches.feed()
    assert counts(api, made["id"]) == {"running": 2, "pending": 1}
    assert api.get(f"{PATH}/{made['id']}").ok()["status"] == "running"
    done()
    ended = api.get(f"{PATH}/{made['id']}").ok()
    assert (ended["status"], ended["metadata"]["counts"]["completed"]) == ("completed", 3)
    assert ended["completed_at"] is not None
    assert [text for _, text in messages(fresh(agents[1]))] == ["[[say Hi 1]]", "Hi 1"]
    assert {run.run_type for run in Run.objects.all()} == {"send_message_batch"}
    assert not BatchItem.objects.exclude(rows=[]).exists()
    assert [batch["id"] for batch in api.get(PATH).ok()] == [made["id"]]


def test_what_was_said_is_listed_by_agent_and_item(api: Api, agents: list[Agent]) -> None:
    batch_id = given(api, *agents)
    done()
    found = api.get(f"{PATH}/{batch_id}/messages").ok()["messages"]
    assert len(found) == 6
    of_one = api.get(f"{PATH}/{batch_id}/messages", agent_id=agents[0].pk, order="asc").ok()["messages"]
    assert [(m["role"], m["content"][0]["text"]) for m in of_one] == [("user", "[[say Hi 0]]"), ("assistant", "Hi 0")]
    item = BatchItem.objects.get(agent=agents[0])
    assert {(m["batch_item_id"], m["run_id"]) for m in of_one} == {(item.pk, item.run_id)}
    rest = api.get(f"{PATH}/{batch_id}/messages", after=found[1]["id"]).ok()["messages"]
    assert [m["id"] for m in rest] == [m["id"] for m in found[2:]]


def test_requests_of_one_agent_come_one_after_another(api: Api, agents: list[Agent]) -> None:
    given(api, agents[0], agents[0], agents[1])
    assert batches.feed() == 2
    assert {run.agent_id for run in going()} == {agents[0].pk, agents[1].pk}
    done()
    said = [text for role, text in messages(fresh(agents[0])) if role == "assistant"]
    assert said == ["Hi 0", "Hi 1"]


def test_organizations_share_the_room(api: Api, agents: list[Agent], their_api: Api, stranger: Tenant) -> None:
    given(api, *agents)
    given(their_api, *(thinker(stranger).agent for _ in range(3)))
    assert batches.feed() == 4
    assert batches.feed() == 0
    shares = [run.organization_id for run in going()]
    assert len(set(shares)) == 2
    assert {shares.count(organization) for organization in shares} == {2}


def test_a_turn_that_runs_comes_first(api: Api, tenant: Tenant, agents: list[Agent]) -> None:
    run = send(tenant, fresh(agents[0]), "[[say Mine]]")
    batch_id = given(api, agents[0], agents[1])
    assert batches.feed() == 1
    assert counts(api, batch_id) == {"pending": 1, "running": 1}
    work(run)
    assert batches.feed() == 0, "it waits a little before it tries again"
    BatchItem.objects.filter(status="waiting").update(not_before=now() - timedelta(seconds=1))
    done()
    assert counts(api, batch_id) == {"completed": 2}


def test_a_starter_that_dies_starts_nothing_twice(
    api: Api, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_id = given(api, agents[0])
    with monkeypatch.context() as patched:
        patched.setattr(batches, "_note_run", lambda item, run: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            batches.feed()
    [run] = going()
    work(run)
    assert batches.feed() == 0
    BatchItem.objects.update(not_before=now() - timedelta(seconds=1))
    done()
    assert Run.objects.count() == 1
    assert counts(api, batch_id) == {"completed": 1}


def test_a_request_that_cannot_be_made_fails_alone(api: Api, agents: list[Agent]) -> None:
    body = {"requests": requests(agents[0]) + requests(agents[1], override_model="scripted/nope")}
    batch_id = api.post(PATH, body).ok()["id"]
    done()
    assert counts(api, batch_id) == {"completed": 1, "failed": 1}
    shown = api.get(f"{PATH}/{batch_id}").ok()
    [refused] = shown["metadata"]["errors"]
    assert (shown["status"], refused["agent_id"], "'nope'" in refused["message"]) == ("completed", agents[1].pk, True)


def test_a_run_that_is_deleted_is_not_made_again(api: Api, agents: list[Agent]) -> None:
    batch_id = given(api, agents[0])
    batches.feed()
    Run.objects.all().delete()
    assert batches.feed() == 0
    assert api.get(f"{PATH}/{batch_id}").ok()["status"] == "completed"
    assert counts(api, batch_id) == {"cancelled": 1}


def test_a_revoked_keys_batch_begins_nothing_more(api: Api, agents: list[Agent]) -> None:
    batch_id = given(api, *agents)
    batches.feed()
    ApiKey.objects.update(revoked_at=now())
    done()
    ApiKey.objects.update(revoked_at=None)
    assert counts(api, batch_id) == {"completed": 2, "failed": 1}


def test_a_cancelled_batch_begins_nothing_more(api: Api, agents: list[Agent]) -> None:
    batch_id = given(api, *agents)
    batches.feed()
    cancelled = api.patch(f"{PATH}/{batch_id}/cancel").ok()
    assert (cancelled["status"], cancelled["metadata"]["counts"]["cancelled"]) == ("cancelled", 3)
    assert going() == []
    assert batches.feed() == 0
    assert api.patch(f"{PATH}/{batch_id}/cancel").status == 409


def test_what_finds_no_room_for_a_day_expires(api: Api, agents: list[Agent], settings: Any) -> None:
    batch_id = given(api, agents[0])
    Batch.objects.update(created_at=now() - timedelta(hours=25))
    BatchItem.objects.update(not_before=now() + timedelta(hours=1))
    batches.feed()
    assert (api.get(f"{PATH}/{batch_id}").ok()["status"], counts(api, batch_id)) == ("expired", {"failed": 1})


def test_batches_have_limits(api: Api, agents: list[Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.post(PATH, {"requests": []}).status == 422
    unknown = "agent-00000000-0000-4000-8000-000000000000"
    missing = api.post(PATH, {"requests": [*requests(agents[0]), {"agent_id": unknown, "input": "x"}]})
    assert (missing.status, unknown in missing.detail, Batch.objects.count()) == (404, True, 0)
    monkeypatch.setattr(batches, "MOST_WAITING", 2)
    assert api.post(PATH, {"requests": requests(*agents)}).status == 429


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    found = Receiver()
    yield found
    found.close()


def test_the_end_is_told(api: Api, agents: list[Agent], receiver: Receiver) -> None:
    batch_id = given(api, agents[0], callback_url=receiver.url)
    assert batch_callbacks.send_due() == 0
    done()
    receiver.status = 500
    assert batch_callbacks.send_due() == 0
    assert api.get(f"{PATH}/{batch_id}").ok()["callback_status_code"] == 500
    receiver.status = 200
    Batch.objects.update(callback_due_at=now())
    assert batch_callbacks.send_due() == 1
    [_, (_, headers, body)] = receiver.got
    told = orjson.loads(body)
    assert (told["batch_id"], told["status"], told["metadata"]["counts"]["completed"]) == (batch_id, "completed", 1)
    assert headers["X-Perennial-Signature"].startswith("sha256=")
    assert batch_callbacks.send_due() == 0


def test_lists_cost_the_same_at_any_length(api: Api, agents: list[Agent], django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        given(api, *agents)
    with django_assert_max_num_queries(4):
        assert len(api.get(PATH).ok()) == 5
    assert Conversation.objects.count() == 3
