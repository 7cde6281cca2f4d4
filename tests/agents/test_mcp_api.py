"""MCP servers through `/v1/mcp-servers`: made, changed, asked for tools, run, deleted; against real servers."""

from __future__ import annotations

from typing import Any

import pytest

from agents.mcp.models import McpServer, McpTool
from agents.models import Agent, AgentTool, Tool
from core.secrets import Secret
from tests.support.api import Answer, Api, Tenant
from tests.support.factories import make_agent
from tests.support.mcp_servers import stdio_config

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("mcp_allowed")]


def config(url: str, path: str = "/mcp", kind: str = "streamable_http", **more: Any) -> dict[str, Any]:
    return {"mcp_server_type": kind, "server_url": f"{url}{path}", **more}


def create(api: Api, given: dict[str, Any], name: str = "demo") -> Answer:
    return api.post("/mcp-servers/", {"server_name": name, "config": given})


def tools(api: Api, server_id: str) -> dict[str, Any]:
    return {tool["name"]: tool for tool in api.get(f"/mcp-servers/{server_id}/tools").ok()}


def run(api: Api, server_id: str, tool_name: str, **args: Any) -> Answer:
    tool = tools(api, server_id)[tool_name]
    return api.post(f"/mcp-servers/{server_id}/tools/{tool['id']}/run", {"args": args})


@pytest.mark.parametrize("kind", ["streamable_http", "sse"])
def test_a_server_is_made_and_its_tools_run_over_http(api: Api, mcp_url: str, kind: str) -> None:
    paths = {"streamable_http": "/mcp", "sse": "/sse"}
    server = create(api, config(mcp_url, paths[kind], kind)).ok()
    assert server["mcp_server_type"] == kind
    assert server["server_name"] == "demo"
    found = tools(api, server["id"])
    assert {"add", "echo", "fail", "wait"} <= set(found)
    assert found["add"]["tool_type"] == "external_mcp"
    assert found["add"]["tags"] == ["mcp:demo"]
    assert found["add"]["json_schema"]["parameters"]["required"] == ["a", "b"]
    assert api.get(f"/mcp-servers/{server['id']}/tools/{found['add']['id']}").ok() == found["add"]
    assert run(api, server["id"], "add", a=1, b=2).ok()["func_return"] == "3"
    failed = run(api, server["id"], "fail", reason="so").ok()
    assert failed["status"] == "error"
    assert "fail" in failed["stderr"][0]


def test_a_commands_calls_share_a_process_that_is_started_anew_when_it_died(api: Api) -> None:
    made = create(api, stdio_config()).ok()
    assert made == {**stdio_config(), "env": None, "server_name": "demo", "id": made["id"]}
    server = made["id"]
    assert [run(api, server, "count").ok()["func_return"] for _ in range(2)] == ["1", "2"]
    assert run(api, server, "die").status == 502
    assert run(api, server, "count").ok()["func_return"] == "1"


def test_secrets_are_encrypted_and_never_answered(api: Api, mcp_url: str) -> None:
    secret: dict[str, Any] = {
        "auth_header": "X-Key",
        "auth_token": "tok-123",
        "custom_headers": {"X-Other": "abc-456", "X-Who": "{{ WHO | me }}"},
    }
    given = config(mcp_url, "/mcp?api_key=789-key&page=2", **secret)
    made = create(api, given).ok()
    shown = api.get("/mcp-servers/").json[0]
    assert shown == made
    assert shown["auth_token"] == shown["custom_headers"]["X-Other"] == "********"
    assert shown["custom_headers"]["X-Who"] == "{{ WHO | me }}"
    assert shown["server_url"].endswith("/mcp?api_key=********&page=2")
    stored = str(McpServer.objects.values().get())
    assert not any(word in stored for word in ("tok-123", "abc-456", "789-key"))
    assert run(api, made["id"], "header", name="x-key").ok()["func_return"] == "tok-123"
    assert run(api, made["id"], "header", name="x-who").ok()["func_return"] == "me"
    changed = {
        **{k: shown[k] for k in ("auth_token", "custom_headers", "server_url")},
        "mcp_server_type": "streamable_http",
    }
    api.patch(f"/mcp-servers/{made['id']}", {"server_name": "renamed", "config": changed}).ok()
    assert run(api, made["id"], "header", name="x-key").ok()["func_return"] == "tok-123"
    assert run(api, made["id"], "header", name="x-other").ok()["func_return"] == "abc-456"


def test_a_bearer_token_goes_as_one(api: Api, mcp_url: str) -> None:
    server = create(api, config(mcp_url, auth_token="abc")).ok()["id"]
    assert run(api, server, "header", name="authorization").ok()["func_return"] == "Bearer abc"


def test_a_refresh_reports_what_changed_and_agents_keep_their_tools(api: Api, tenant: Tenant, mcp_url: str) -> None:
    server = create(api, config(mcp_url, "/changing")).ok()["id"]
    before = tools(api, server)
    agent = make_agent(tenant.organization)
    for name in ("stays", "goes"):
        api.patch(f"/agents/{agent.pk}/tools/attach/{before[name]['id']}").ok()
    run(api, server, "change").ok()
    version = Agent.objects.get(pk=agent.pk).prompt_version
    changes = api.patch(f"/mcp-servers/{server}/refresh").ok()
    assert changes == {"deleted": ["goes"], "updated": ["stays"], "added": ["comes"]}
    after = tools(api, server)
    assert after["stays"]["id"] == before["stays"]["id"]
    assert after["stays"]["json_schema"]["parameters"]["properties"]["a"]["type"] == "number"
    assert Agent.objects.get(pk=agent.pk).prompt_version > version, "workers load its tools anew"
    assert list(AgentTool.objects.filter(agent=agent).values_list("tool__name", flat=True)) == ["stays"]
    assert api.patch(f"/mcp-servers/{server}/refresh").ok() == {"deleted": [], "updated": [], "added": []}
    api.patch(f"/tools/{after['stays']['id']}", {"tags": ["mine"]}).ok()
    assert api.patch(f"/mcp-servers/{server}/refresh").ok()["updated"] == ["stays"]
    assert tools(api, server)["stays"]["tags"] == ["mcp:demo", "mine"]
    api.delete(f"/mcp-servers/{server}")
    assert not AgentTool.objects.filter(agent=agent).exists()
    assert not Tool.objects.filter(organization=tenant.organization).exists()
    assert api.get(f"/mcp-servers/{server}").status == 404


def test_a_name_that_another_tool_has_is_prefixed(api: Api, mcp_url: str) -> None:
    first = create(api, config(mcp_url), "first").ok()["id"]
    second = create(api, config(mcp_url), "second one").ok()["id"]
    assert "add" in tools(api, first)
    assert "add" not in tools(api, second)
    assert run(api, second, "second_one_add", a=2, b=2).ok()["func_return"] == "4"


def test_an_unsound_schema_is_kept_marked_and_refused(api: Api, mcp_url: str) -> None:
    server = create(api, config(mcp_url, "/changing")).ok()["id"]
    broken = tools(api, server)["broken"]
    assert broken["metadata_"]["mcp"]["health"]["status"] == "INVALID"
    assert broken["json_schema"]["parameters"] == {"type": "object", "properties": {}}
    answer = run(api, server, "broken", a=1)
    assert answer.status == 400
    assert "strin" in answer.detail
    assert api.post("/tools/mcp/servers/demo/broken").status == 400


FACES = {
    "/hangs": (408, "within"),
    "/garbage": (502, "content type"),
    "/huge": (502, "more than 8 MB"),
    "/endless": (502, "answered"),
    "/elsewhere": (502, "Redirect"),
}


@pytest.mark.parametrize("path", FACES)
def test_a_bad_server_is_refused_in_time_and_not_kept(api: Api, mcp_url: str, settings: Any, path: str) -> None:
    status, said = FACES[path]
    settings.MCP_CONNECT_TIMEOUT_S = 1.0
    answer = create(api, config(mcp_url, path))
    assert answer.status == status
    assert said in answer.detail
    assert "x-should-retry" in answer.response
    assert not McpServer.objects.exists()


def test_a_call_that_takes_too_long_is_given_up_and_the_next_one_works(api: Api, mcp_url: str, settings: Any) -> None:
    server = create(api, config(mcp_url)).ok()["id"]
    settings.MCP_EXECUTE_TIMEOUT_S = 0.3
    assert run(api, server, "wait", seconds=30).status == 408
    settings.MCP_EXECUTE_TIMEOUT_S = 30.0
    assert run(api, server, "add", a=1, b=1).ok()["func_return"] == "2"


def test_an_older_server_that_forgets_its_sessions_is_met_anew(api: Api, mcp_url: str) -> None:
    server = create(api, config(mcp_url, "/forgets")).ok()["id"]
    told = [run(api, server, "once").ok()["func_return"] for _ in range(2)]
    assert len(set(told)) == 2
    refused = run(api, server, "picky").ok()
    assert (refused["status"], "not these arguments" in refused["func_return"]) == ("error", True)
    assert tools(api, server)["odd"]["metadata_"]["mcp"]["health"]["status"] == "NON_STRICT_ONLY"


def test_a_server_that_wants_an_authorization_is_kept_without_tools(api: Api, mcp_url: str) -> None:
    server = create(api, config(mcp_url, "/closed")).ok()["id"]
    assert McpServer.objects.get().state == "unauthorized"
    assert api.get(f"/mcp-servers/{server}/tools").ok() == []
    answer = api.patch(f"/mcp-servers/{server}/refresh")
    assert answer.status == 502
    assert "/v1/mcp-servers/connect/" in answer.detail


def test_private_addresses_and_commands_are_refused_unless_the_operator_allows_them(
    api: Api, mcp_url: str, settings: Any
) -> None:
    settings.MCP_ALLOWED_HOSTS, settings.MCP_DISABLE_STDIO = [], True
    private = create(api, config(mcp_url))
    assert private.status == 502
    assert "MCP_ALLOWED_HOSTS" in private.detail
    command = create(api, stdio_config())
    assert command.status == 403
    assert "MCP_DISABLE_STDIO" in command.detail


def test_names_are_unique_and_addresses_sound(api: Api, mcp_url: str) -> None:
    create(api, config(mcp_url)).ok()
    assert create(api, config(mcp_url)).status == 409
    assert create(api, config("ftp://example.test"), "other").status == 422
    assert create(api, config("https://me:secret@example.test"), "other").status == 422


def test_the_older_routes_serve_servers_by_name(api: Api, mcp_url: str) -> None:
    older = {"server_name": "old", "type": "streamable_http", "server_url": f"{mcp_url}/mcp", "auth_token": "x"}
    assert "add" in [tool["name"] for tool in api.post("/tools/mcp/servers/test", older).ok()]
    assert [server["server_name"] for server in api.put("/tools/mcp/servers", older).ok()] == ["old"]
    assert api.get("/tools/mcp/servers").ok()["old"]["auth_token"] == "********"
    listed = {tool["name"]: tool for tool in api.get("/tools/mcp/servers/old/tools").ok()}
    assert listed["add"]["inputSchema"]["required"] == ["a", "b"]
    assert listed["add"]["health"]["status"] == "NON_STRICT_ONLY"
    assert api.post("/tools/mcp/servers/old/add").ok()["name"] == "add"
    ran = api.post("/tools/mcp/servers/old/tools/add/execute", {"args": {"a": 1, "b": 4}}).ok()
    assert ran["func_return"] == "5"
    assert api.post("/tools/mcp/servers/old/resync").ok()["added"] == []
    api.patch("/tools/mcp/servers/old", {"server_name": "new"}).ok()
    assert api.delete("/tools/mcp/servers/new").ok() == []
    assert not McpTool.objects.exists()


def test_a_list_of_servers_takes_one_query(
    api: Api, tenant: Tenant, mcp_url: str, django_assert_num_queries: Any
) -> None:
    for name in ("one", "two"):
        create(api, config(mcp_url), name).ok()
    with django_assert_num_queries(2):  # the key, the list
        assert len(api.get("/mcp-servers/").ok()) == 2


def test_a_server_of_another_organization_is_not_found_by_its_name(api: Api, their_api: Api, mcp_url: str) -> None:
    create(api, config(mcp_url)).ok()
    assert their_api.get("/mcp-servers/").ok() == []
    assert their_api.get("/tools/mcp/servers/demo/tools").status == 404
    assert their_api.post("/tools/mcp/servers/demo/tools/add/execute", {"args": {"a": 1, "b": 1}}).status == 404
    assert their_api.delete("/tools/mcp/servers/demo").status == 404


def test_a_server_that_no_key_opens_is_listed_and_refused(api: Api, mcp_url: str) -> None:
    server = create(api, config(mcp_url, "/mcp?token=x")).ok()["id"]
    McpServer.objects.update(config=Secret(stored="v1:gone:AAAA"))
    assert api.get("/mcp-servers/").ok()[0]["server_url"] == mcp_url
    assert api.patch(f"/mcp-servers/{server}/refresh").status == 409
    assert api.delete(f"/mcp-servers/{server}").status == 204
