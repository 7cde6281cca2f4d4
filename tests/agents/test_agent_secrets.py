"""An agent's secrets: written by callers, found by its tools, and read back by nobody."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from letta_client.types import AgentState

from accounts.models import AuditEntry
from agents.models import AgentVariable
from agents.schemas.agents import CreateAgent
from agents.tools.variables import variables_of
from core.secrets import Secret
from tests.support.api import Api, Tenant

VALUE = "hunter2-hunter2"


@pytest.fixture
def agent(api: Api) -> dict[str, Any]:
    return api.post("/agents/", {"model": "scripted/demo", "secrets": {"TOKEN": VALUE, "URL": "http://x"}}).ok()


def shown(api: Api, agent: dict[str, Any]) -> dict[str, str]:
    found = api.get(f"/agents/{agent['id']}", include=["agent.secrets"]).ok()
    assert found["secrets"] == found["tool_exec_environment_variables"]
    AgentState.model_validate(found)
    return {item["key"]: item["value"] for item in found["secrets"]}


def test_no_answer_and_no_column_has_a_secrets_value(api: Api, agent: dict[str, Any]) -> None:
    assert shown(api, agent) == {item["key"]: item["value"] for item in agent["secrets"]}
    assert list(shown(api, agent)) == ["TOKEN", "URL"]
    assert api.get(f"/agents/{agent['id']}").ok()["secrets"] == []
    full = api.get("/agents/", include=["agent.secrets"]).response.content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(v::text, '') FROM agents_agentvariable AS v")
        stored = str(cursor.fetchone())
    deeds = str(list(AuditEntry.objects.filter(action="agent.secrets").values_list("before", "after")))
    assert "TOKEN" in deeds
    sent = repr(CreateAgent.model_validate({"secrets": {"TOKEN": VALUE}}))
    assert [VALUE in text for text in (str(agent), full, stored, deeds, sent)] == [False] * 5


def test_the_agents_tools_find_them(agent: dict[str, Any]) -> None:
    assert variables_of(agent["id"]) == {"TOKEN": VALUE, "URL": "http://x"}


def test_an_update_replaces_all_of_them_and_a_mask_keeps_what_it_hides(api: Api, agent: dict[str, Any]) -> None:
    api.patch(f"/agents/{agent['id']}", {"name": "other"}).ok()
    masks = shown(api, agent)
    api.patch(f"/agents/{agent['id']}", {"secrets": {"TOKEN": masks["TOKEN"], "NEW": "n"}}).ok()
    assert variables_of(agent["id"]) == {"TOKEN": VALUE, "NEW": "n"}
    assert api.patch(f"/agents/{agent['id']}", {"secrets": {"NONE": masks["TOKEN"]}}).status == 422
    api.patch(f"/agents/{agent['id']}", {"tool_exec_environment_variables": {"OLD": "spelling"}}).ok()
    assert variables_of(agent["id"]) == {"OLD": "spelling"}
    assert api.patch(f"/agents/{agent['id']}", {"secrets": {}}).ok()["secrets"] == []


def test_a_refusal_does_not_repeat_the_value(api: Api) -> None:
    for field in ("secrets", "tool_exec_environment_variables"):
        for wrong in ({"A B": VALUE}, {"A": [VALUE]}, {"A=": VALUE}, VALUE):
            answer = api.post("/agents/", {"model": "scripted/demo", field: wrong})
            assert (answer.status, VALUE in answer.detail) == (422, False)


def test_one_that_no_key_opens_is_shown_as_such_and_breaks_nothing(api: Api, agent: dict[str, Any]) -> None:
    AgentVariable.objects.filter(key="TOKEN").update(value=Secret(stored="v1:gone:AAAA"))
    assert "unreadable" in shown(api, agent)["TOKEN"]
    assert variables_of(agent["id"]) == {"URL": "http://x"}
    api.patch(f"/agents/{agent['id']}", {"secrets": {"TOKEN": "new"}}).ok()
    assert variables_of(agent["id"]) == {"TOKEN": "new"}


def test_they_move_to_a_new_encryption_key(settings: Any, agent: dict[str, Any]) -> None:
    settings.ENCRYPTION_KEYS = ["new:fedcba9876543210", *settings.ENCRYPTION_KEYS]
    call_command("reencrypt", stdout=StringIO(), stderr=StringIO())
    settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
    assert variables_of(agent["id"])["TOKEN"] == VALUE


def test_the_admin_shows_names_alone(client: Any, tenant: Tenant, agent: dict[str, Any]) -> None:
    tenant.user.is_staff = True
    tenant.user.save()
    client.force_login(tenant.user)
    page = client.get(f"/admin/agents/agent/{agent['id']}/tools/").content.decode()
    assert ("TOKEN" in page, VALUE in page) == (True, False)
