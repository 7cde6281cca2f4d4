"""Custom tools in turns that call this server: in their agent's name, within its organization, while they run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from accounts import tool_keys
from accounts.models import ApiKey, AuditEntry, ToolKey
from agents.actions import attach_tool
from agents.models import Block, Tool
from agents.sandbox import configured
from agents.tools.grants import Grant, grant
from conversations.gates import MAX_DEPTH
from conversations.models import Conversation, Message, Run
from tests.support.api import Api, Tenant
from tests.support.client_package import installed
from tests.support.turns import fresh, thinker, turn

TRIES = """
def tries(client, agent_id, own: str, theirs: str, other: str):
    message = {"agent_id": other, "messages": [{"role": "user", "content": "hi"}]}
    provider = {"name": "x", "provider_type": "openai", "api_key": "k"}
    made = {
        "blocks": lambda: [block.value for block in client.blocks.list(label="shared")],
        "theirs": lambda: client.blocks.retrieve(theirs).value,
        "write": lambda: client.blocks.update(own, value="written by a tool").value,
        "provider": lambda: client.post("/v1/providers/", body=provider, cast_to=object),
        "batch": lambda: client.post("/v1/messages/batches", body={"requests": [message]}, cast_to=object),
        "itself": lambda: client.agents.messages.create_async(agent_id, input="[[say hi]]").id,
        "other": lambda: client.agents.messages.create_async(other, input="[[say hi]]").id,
    }
    found = {}
    for name, make in made.items():
        try:
            found[name] = make()
        except Exception as error:
            found[name] = f"{getattr(error, 'status_code', '')} {error}"
    return found
"""
NAMES = ("own", "theirs", "other")
STRINGS = {"type": "object", "properties": {name: {"type": "string"} for name in NAMES}}
SCHEMA = {"name": "tries", "parameters": STRINGS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = tmp_path_factory.mktemp("sandbox")
    installed(found)
    return found


@pytest.fixture(autouse=True)
def sandbox_of_this_test(settings: Any, folder: Any) -> Iterator[None]:
    settings.SANDBOX_DIR, settings.SANDBOX_POOL = folder, 0
    configured.sandbox.cache_clear()
    yield
    configured.sandbox.cache_clear()


def agent_with_tool(tenant: Tenant, **fields: Any) -> Conversation:
    tool, _ = Tool.objects.get_or_create(
        organization=tenant.organization, name="tries", defaults={"source_code": TRIES, "json_schema": SCHEMA, **fields}
    )
    conversation = thinker(tenant)
    attach_tool(tenant.caller, conversation.agent_id, tool.pk)
    return fresh(conversation)


def tried(tenant: Tenant, conversation: Conversation, *ids: str) -> str:
    args = dict(zip(NAMES, ids, strict=False))
    run = turn(tenant, conversation, f"[[tool tries {json.dumps(args)} then say Done]]")
    [item] = Message.objects.get(run=run, role="tool").tool_returns
    return str(item["content"])


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("redis")
def test_a_granted_tool_does_in_its_agents_name_what_its_organization_may(
    tenant: Tenant, stranger: Tenant, live_server: Any, settings: Any
) -> None:
    settings.SANDBOX_API_URL = live_server.url
    conversation, other = agent_with_tool(tenant, client=True), thinker(tenant)
    own = Block.objects.create(organization=tenant.organization, label="shared", value="ours")
    theirs = Block.objects.create(organization=stranger.organization, label="shared", value="theirs")
    found = json.loads(tried(tenant, conversation, own.pk, theirs.pk, other.agent_id))
    assert (found["blocks"], found["write"]) == (["ours"], "written by a tool")
    own.refresh_from_db()
    assert own.value == "written by a tool"
    assert found["theirs"].startswith("404 ")
    assert "owners and admins" in found["provider"]
    assert found["batch"].startswith("403 ")
    assert found["itself"].startswith("400 ")
    sent = Run.objects.get(pk=found["other"])
    assert (sent.agent_id, sent.user_id, sent.options["depth"]) == (other.agent_id, conversation.agent_id, 1)
    assert ApiKey.objects.get(organization=tenant.organization).pk == sent.api_key_id, "that key's limits hold"
    assert not ToolKey.objects.exists(), "it was gone with its call"


@pytest.mark.django_db
@pytest.mark.usefixtures("redis")
def test_a_tool_that_was_granted_none_is_told_so(tenant: Tenant) -> None:
    conversation = agent_with_tool(tenant)
    said = tried(tenant, conversation)
    assert "was not granted" in said
    assert "SANDBOX_CLIENT" in said


@pytest.mark.django_db
def test_a_grant_is_kept_in_the_audit_and_ends_with_a_change_of_the_source(api: Api, tenant: Tenant) -> None:
    made = api.post("/tools/", {"source_code": 'def peek(client) -> str:\n    """Peek."""\n    return "x"\n'}).ok()
    assert made["json_schema"]["parameters"]["properties"] == {}, "a model knows nothing of it"
    tool = Tool.objects.get(pk=made["id"])
    grant(tool, Grant(client=True), tenant.user.pk)
    entry = AuditEntry.objects.get(action="tool.grant")
    assert (entry.before["client"], entry.after["client"]) == (False, True)
    api.patch(f"/tools/{tool.pk}", {"source_code": 'def peek(client) -> str:\n    """Peek."""\n    return "y"\n'}).ok()
    tool.refresh_from_db()
    assert not tool.client


@pytest.mark.django_db
def test_a_tools_key_is_good_while_its_call_runs_and_for_its_organization(tenant: Tenant, stranger: Tenant) -> None:
    agent, theirs = thinker(tenant).agent, thinker(stranger).agent
    key = ApiKey.objects.get(organization=tenant.organization)
    holder = tool_keys.Holder(organization_id=tenant.organization.pk, agent_id=agent.pk, api_key_id=key.pk)
    with tool_keys.held(holder, 60) as secret:
        called = Api(secret)
        assert called.get(f"/agents/{agent.pk}").status == 200
        assert called.get(f"/agents/{theirs.pk}").status == 404
        ToolKey.objects.update(expires_at=timezone.now())
        assert called.get(f"/agents/{agent.pk}").status == 401, "of a worker that has died"
        ToolKey.objects.update(expires_at=timezone.now() + timezone.timedelta(seconds=60))
        ApiKey.objects.update(revoked_at=timezone.now())
        assert called.get(f"/agents/{agent.pk}").status == 401, "whose sender's key was revoked"
        ApiKey.objects.update(revoked_at=None)
        assert called.get(f"/agents/{agent.pk}").status == 200
    assert called.get(f"/agents/{agent.pk}").status == 401


@pytest.mark.django_db
@pytest.mark.usefixtures("redis")
def test_agents_do_not_call_each_other_without_end(tenant: Tenant) -> None:
    agent, other = thinker(tenant).agent, thinker(tenant).agent
    holder = {"organization_id": tenant.organization.pk, "agent_id": agent.pk}
    with tool_keys.held(tool_keys.Holder(**holder, depth=MAX_DEPTH), 60) as last:
        refused = Api(last).post(f"/agents/{other.pk}/messages/async", {"input": "hi"})
    assert (refused.status, "called one another" in refused.detail) == (429, True)
