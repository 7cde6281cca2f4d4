"""/v1/conversations as the SDK uses it, and as another organization must not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from letta_client.types import Conversation as SdkConversation

from agents.models import Agent
from conversations.models import Conversation, Message, Run, RunStatus
from tests.support.api import Api, Tenant
from tests.support.factories import default_of, make_agent, make_conversation, make_run, make_turn, say

KEYS: dict[str, list[str]] = json.loads((Path(__file__).parent / "golden" / "contract_keys.json").read_text())
EXTRA = {"description", "context_window_limit", "hidden", "archived", "archived_at"}
UNKNOWN = "conv-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization)


def ids(conversations: list[dict[str, Any]]) -> list[str]:
    return [conversation["id"] for conversation in conversations]


def test_a_created_conversation_has_the_shape_of_the_contract(api: Api, agent: Agent, tenant: Tenant) -> None:
    made = api.post(f"/conversations/?agent_id={agent.pk}", {"summary": "a chat"}).ok()
    assert set(made) == {*KEYS["conversation"], *EXTRA}
    assert (made["agent_id"], made["summary"], made["model"]) == (agent.pk, "a chat", None)
    assert made["created_by_id"] == made["last_updated_by_id"] == tenant.user.pk
    assert len(made["in_context_message_ids"]) == 1
    read = SdkConversation.model_validate(made)
    assert (read.id, read.archived, read.created_at is not None) == (made["id"], False, True)


def test_a_conversation_is_created_without_a_body(api: Api, agent: Agent) -> None:
    assert api.post(f"/conversations?agent_id={agent.pk}").ok()["summary"] is None


def test_a_conversation_may_have_a_model_of_its_own(api: Api, agent: Agent) -> None:
    body = {"model": "scripted/demo", "model_settings": {"provider_type": "openai", "temperature": 0.2}}
    made = api.post(f"/conversations/?agent_id={agent.pk}", body).ok()
    assert (made["model"], made["model_settings"]) == ("scripted/demo", body["model_settings"])
    refused = api.post(f"/conversations/?agent_id={agent.pk}", {"model": "scripted/nope"})
    assert refused.status == 400
    assert "scripted/demo" in refused.detail


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("", {}, 422),
        ("?agent_id=nonsense", {}, 422),
        ("?agent_id=agent-00000000-0000-4000-8000-000000000000", {}, 404),
        ("AGENT", {"summary": 7}, 422),
        ("AGENT", {"context_window_limit": 0}, 422),
        ("AGENT", {"isolated_block_labels": ["nobody"]}, 400),
        ("AGENT", b"{", 422),
    ],
)
def test_what_cannot_be_created_says_so(api: Api, agent: Agent, query: str, body: Any, status: int) -> None:
    answer = api.post("/conversations/" + query.replace("AGENT", f"?agent_id={agent.pk}"), body)
    assert answer.status == status
    assert answer.detail
    assert Conversation.objects.filter(is_default=False).count() == 0


def test_a_retrieved_conversation_names_what_the_model_sees(api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent, summary="trip")
    system = Message.objects.get(conversation=conversation)
    gone = say(conversation, "user", "long ago", in_context=False)
    turn = make_turn(conversation)
    summary = say(conversation, "summary", "They met.")
    shown = api.get(f"/conversations/{conversation.pk}").ok()
    assert shown["in_context_message_ids"] == [system.pk, summary.pk, *(m.pk for m in turn.messages)]
    assert gone.pk not in shown["in_context_message_ids"]


def test_the_default_conversation_is_reached_through_its_agent(api: Api, agent: Agent) -> None:
    by_agent = api.get(f"/conversations/{agent.pk}").ok()
    assert by_agent == api.get("/conversations/default", agent_id=agent.pk).ok()
    assert by_agent["id"] == default_of(agent).pk


def test_lists_leave_out_default_hidden_and_archived_conversations(api: Api, agent: Agent) -> None:
    shown = make_conversation(agent)
    make_conversation(agent, hidden=True)
    archived = make_conversation(agent, archived_at=datetime.now(UTC))
    assert ids(api.get("/conversations/").ok()) == [shown.pk]
    assert ids(api.get("/conversations/", archive_status="archived").ok()) == [archived.pk]
    assert ids(api.get("/conversations/", archive_status="all").ok()) == [archived.pk, shown.pk]


def test_conversations_are_found_by_agent_and_by_title(api: Api, agent: Agent, tenant: Tenant) -> None:
    garden = make_conversation(agent, summary="The Garden plan")
    make_conversation(agent, summary="Invoices")
    elsewhere = make_conversation(make_agent(tenant.organization), summary="garden too")
    assert ids(api.get("/conversations/", agent_id=agent.pk, summary_search="garden").ok()) == [garden.pk]
    assert set(ids(api.get("/conversations/", summary_search="GARDEN").ok())) == {garden.pk, elsewhere.pk}


def test_conversations_are_ordered_by_what_is_asked_with_the_unused_ones_last(api: Api, agent: Agent) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    never, late, early = (make_conversation(agent, summary=name) for name in ("never", "late", "early"))
    for conversation, hours in ((late, 2), (early, 1)):
        conversation.last_message_at = start + timedelta(hours=hours)
        conversation.save()
    path, order = "/conversations/", {"order_by": "last_message_at"}
    assert ids(api.get(path, **order).ok()) == [late.pk, early.pk, never.pk]
    assert ids(api.get(path, after=late.pk, limit=1, **order).ok()) == [early.pk]
    assert ids(api.get(path, after=early.pk, **order).ok()) == [never.pk]
    assert ids(api.get(path, before=never.pk, **order).ok()) == [late.pk, early.pk]
    assert ids(api.get(path, order="asc", **order).ok()) == [never.pk, early.pk, late.pk]


def test_a_list_costs_the_same_queries_whatever_its_length(api: Api, agent: Agent) -> None:
    api.get("/runs/")
    for count in (1, 8):
        for _ in range(count):
            make_turn(make_conversation(agent))
        with CaptureQueriesContext(connection) as queries:
            api.get("/conversations/").ok()
        assert len(queries) == 4


def test_only_what_is_sent_is_changed(api: Api, agent: Agent, tenant: Tenant) -> None:
    conversation = make_conversation(agent, summary="old", description="kept")
    shown = api.patch(f"/conversations/{conversation.pk}", {"summary": "renamed"}).ok()
    assert (shown["summary"], shown["description"], shown["last_updated_by_id"]) == ("renamed", "kept", tenant.user.pk)
    assert shown["in_context_message_ids"]
    cleared = api.patch(f"/conversations/{conversation.pk}", {"description": None}).ok()
    assert (cleared["summary"], cleared["description"]) == ("renamed", None)


def test_settings_of_a_conversation_are_changed(api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent, compiled_version=agent.prompt_version)
    at = "2026-03-01T10:00:00Z"
    body = {
        "model": "scripted/demo",
        "model_settings": {"temperature": 0.5},
        "context_window_limit": 9000,
        "last_message_at": at,
    }
    assert body.items() <= api.patch(f"/conversations/{conversation.pk}", body).ok().items()
    conversation.refresh_from_db()
    assert conversation.compiled_version < agent.prompt_version, "the prompt is compiled anew for the new model"
    assert api.patch(f"/conversations/{conversation.pk}", {"model": "nobody/x"}).status == 400


def test_archiving_is_undone_and_keeps_its_first_time(api: Api, agent: Agent) -> None:
    path = f"/conversations/{make_conversation(agent).pk}"
    first = api.patch(path, {"archived": True}).ok()
    assert first["archived"]
    assert api.patch(path, {"archived": True}).ok()["archived_at"] == first["archived_at"]
    again = api.patch(path, {"archived": False}).ok()
    assert (again["archived"], again["archived_at"]) == (False, None)


def test_a_deleted_conversation_is_gone_with_its_messages_and_the_others_stay(api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent)
    make_turn(conversation)
    kept = make_turn(default_of(agent))
    answer = api.delete(f"/conversations/{conversation.pk}")
    assert answer.ok() is None
    assert api.get(f"/conversations/{conversation.pk}").status == 404
    assert not Message.objects.filter(conversation_id=conversation.pk).exists()
    assert Run.objects.filter(pk=kept.run.pk).exists()


def test_the_default_conversation_is_not_deleted(api: Api, agent: Agent) -> None:
    answer = api.delete(f"/conversations/{agent.pk}")
    assert answer.status == 409
    assert "reset" in answer.detail


def test_what_runs_in_a_conversation_is_cancelled(api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent)
    run = make_run(conversation, status=RunStatus.RUNNING)
    assert api.post(f"/conversations/{conversation.pk}/cancel").ok() == {run.pk: "cancelled"}
    run.refresh_from_db()
    assert (run.status, run.stop_reason) == (RunStatus.CANCELLED, "cancelled")


def test_cancelling_where_nothing_runs_is_409(api: Api, agent: Agent) -> None:
    assert api.post(f"/conversations/{make_conversation(agent).pk}/cancel").status == 409


@pytest.mark.parametrize(
    "settings", [{"mode": "nonsense"}, {"sliding_window_percentage": 7}, {"clip_chars": "long"}, {"model": 3}]
)
def test_settings_that_no_compaction_has_are_422(api: Api, agent: Agent, settings: dict[str, Any]) -> None:
    for path in (f"/conversations/{agent.pk}/compact", f"/agents/{agent.pk}/summarize"):
        answer = api.post(path, {"compaction_settings": settings})
        assert (answer.status, next(iter(settings)) in answer.detail) == (422, True)


def test_an_unknown_conversation_is_404_and_a_malformed_id_422(api: Api) -> None:
    answer = api.get(f"/conversations/{UNKNOWN}")
    assert (answer.status, answer.detail) == (404, f"Conversation with ID {UNKNOWN} not found")
    wrong = api.get("/conversations/conv-1")
    assert wrong.status == 422
    assert "conversation_id" in wrong.detail


def test_another_organization_finds_no_conversation(their_api: Api, agent: Agent) -> None:
    conversation = make_conversation(agent, summary="ours")
    make_run(conversation, status=RunStatus.RUNNING)
    for ref in (conversation.pk, agent.pk, default_of(agent).pk):
        path = f"/conversations/{ref}"
        assert their_api.get(path).status == 404
        assert their_api.patch(path, {"summary": "theirs"}).status == 404
        assert their_api.delete(path).status == 404
        assert their_api.post(f"{path}/cancel").status == 404
        assert their_api.get(f"{path}/messages").status == 404
    assert their_api.post(f"/conversations/?agent_id={agent.pk}").status == 404
    assert their_api.get("/conversations/default/messages", agent_id=agent.pk).status == 404
    assert their_api.get(f"/agents/{agent.pk}/messages").status == 404
    assert their_api.get("/conversations/").ok() == their_api.get("/messages/").ok() == []
    conversation.refresh_from_db()
    assert conversation.summary == "ours"
