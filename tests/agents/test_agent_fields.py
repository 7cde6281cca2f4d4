"""Fields of agents that old clients send, what they mean today, and those that this version refuses."""

from __future__ import annotations

from typing import Any

import pytest

from agents.models import Agent
from agents.reasoning import reasoning_settings
from agents.schemas.agents import CreateAgent
from conversations.models import Message
from providers.catalog import describe
from tests.support.api import Api
from tests.support.factories import make_agent

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.mark.parametrize(
    ("handle", "sent", "settings"),
    [
        ("anthropic/claude-sonnet-4-5", {"reasoning": True}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("anthropic/claude-sonnet-4-5", {"enable_reasoner": False}, {"thinking": {"type": "disabled"}}),
        (
            "anthropic/claude-sonnet-4-5",
            {"max_reasoning_tokens": 9000},
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
        ),
        (
            "google_ai/gemini-2.5-pro",
            {"llm_config": {"max_reasoning_tokens": 300}},
            {"thinking_config": {"include_thoughts": True, "thinking_budget": 300}},
        ),
        ("openai/gpt-5", {"llm_config": {"reasoning_effort": "high"}}, {"reasoning": {"reasoning_effort": "high"}}),
        ("openai/gpt-5", {"reasoning": False}, {"reasoning": {"reasoning_effort": "none"}}),
        ("openai/gpt-4o", {"reasoning": False}, {}),
        ("openai/gpt-4o", {"llm_config": {"enable_reasoner": True}}, {}),
    ],
)
def test_the_old_spellings_of_reasoning_become_settings_of_the_models_type(
    handle: str, sent: dict[str, Any], settings: dict[str, Any]
) -> None:
    provider, _, model = handle.partition("/")
    assert reasoning_settings(CreateAgent(**sent), describe(provider, model)) == settings


@pytest.mark.parametrize(
    "sent",
    [
        {"enable_sleeptime": True},
        {"include_multi_agent_tools": True},
        {"from_template": "t"},
        {"template": True},
        {"memory_variables": {"a": "b"}},
        {"base_template_id": "t"},
        {"identity_ids": ["identity-1"]},
    ],
)
def test_what_belongs_to_a_later_version_is_refused_where_it_is_given(api: Api, sent: dict[str, Any]) -> None:
    (name,) = sent
    answer = api.post("/agents/", {"model": "scripted/demo", **sent})
    assert (answer.status, answer.detail.partition(":")[0].partition(".")[0]) == (422, name)
    empty: dict[str, Any] = {name: None}
    if name == "include_multi_agent_tools":
        empty = {name: False}
    assert api.post("/agents/", {"model": "scripted/demo", **empty}).status == 200


def test_first_messages_keep_their_parts_and_who_sent_them(api: Api) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    first = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, image], "otid": "o-1", "sender_id": "ada"},
        {"role": "assistant", "content": ""},
    ]
    made = api.post("/agents/", {"model": "scripted/demo", "initial_message_sequence": first}).ok()
    user, assistant = Message.objects.filter(agent_id=made["id"], seq__gt=0).order_by("seq")
    assert [part["type"] for part in user.content] == ["text", "image"]
    assert (user.text, user.otid, user.sender_id, assistant.content) == (
        "look",
        "o-1",
        "ada",
        [{"type": "text", "text": ""}],
    )
    assert api.get(f"/agents/{made['id']}/messages").status == 200
    for wrong in ({"type": "image", "source": {"type": "url", "url": "http://x"}}, {"type": "video"}, 7):
        body = {"model": "scripted/demo", "initial_message_sequence": [{"role": "user", "content": [wrong]}]}
        assert api.post("/agents/", body).status == 422
    no_image = {"type": "image", "source": {"type": "base64", "data": "AAAA"}}
    body = {"model": "scripted/demo", "initial_message_sequence": [{"role": "user", "content": [no_image]}]}
    assert api.post("/agents/", body).status == 400


def test_filters_that_nothing_here_can_meet_find_nothing(api: Api, tenant: Any) -> None:
    make_agent(tenant.organization)
    assert len(api.get("/agents/").ok()) == 1
    assert api.get("/agents/", identity_id="identity-1").ok() == []
    assert api.get("/agents/count", identifier_keys=["ada"]).ok() == 0


@pytest.mark.parametrize("key", ["created_at", "updated_at", "last_run_completion"])
def test_pages_by_each_order_meet_every_agent_once_in_both_directions(api: Api, tenant: Any, key: str) -> None:
    agents = [make_agent(tenant.organization) for _ in range(5)]
    Agent.objects.filter(pk__in=[agents[1].pk, agents[3].pk]).update(last_run_completion=agents[0].created_at)
    for order in ("asc", "desc"):
        whole = [one["id"] for one in api.get("/agents/", order_by=key, order=order).ok()]
        assert set(whole) == {agent.pk for agent in agents}
        forwards: list[str] = []
        first: dict[str, Any] = {"order_by": key, "order": order, "limit": 2}
        while page := api.get("/agents/", **first).ok():
            forwards += [one["id"] for one in page]
            first["after"] = forwards[-1]
        before = [one["id"] for one in api.get("/agents/", order_by=key, order=order, before=whole[3], limit=2).ok()]
        assert (forwards, before) == (whole, whole[1:3])
