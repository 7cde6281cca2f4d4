"""/v1/agents/{id}/generate: one question to the model, and nothing of it is kept but its trace."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from agents.models import Agent
from conversations.models import Message, Run
from tests.support.api import Api, Tenant
from tests.support.factories import make_agent
from tests.support.turns import traces


@pytest.fixture
def agent(tenant: Tenant) -> Agent:
    return make_agent(tenant.organization, model_settings={"temperature": 0.3})


def test_a_question_is_answered_and_only_traced(api: Api, agent: Agent) -> None:
    before = Message.objects.count()
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body = {"prompt": "[[say Forty-two.]]", "system_prompt": "Be brief.", "response_schema": schema}
    made = api.post(f"/agents/{agent.pk}/generate", body).ok()
    assert (made["content"], made["model"], made["usage"]["step_count"]) == ("Forty-two.", "scripted/demo", 1)
    assert made["usage"]["total_tokens"] == made["usage"]["prompt_tokens"] + made["usage"]["completion_tokens"] > 0
    assert (Message.objects.count(), Run.objects.count()) == (before, 0)
    [trace] = [row for row in traces("") if row["agent_id"] == agent.pk]
    sent = orjson.loads(trace["request"])
    assert (trace["call_type"], sent["temperature"]) == ("generate", 0.3)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert "tools" not in sent
    assert sent["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"prompt": ""}, 422), ({"prompt": "x", "override_model": "nobody/x"}, 400)],
)
def test_what_cannot_be_asked_says_so(api: Api, agent: Agent, body: dict[str, Any], status: int) -> None:
    assert api.post(f"/agents/{agent.pk}/generate", body).status == status


def test_another_organization_asks_no_agent(their_api: Api, agent: Agent) -> None:
    assert their_api.post(f"/agents/{agent.pk}/generate", {"prompt": "x"}).status == 404
