"""The API's own description: every route with its shapes, and documentation that loads nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

METHODS = {"get", "post", "patch", "put", "delete"}
# Routes of Letta's V1 that this version serves, as its SDK calls them.
OURS = """
get /v1/health/
get /v1/models/
get /v1/models/embedding
get /v1/providers/
post /v1/providers/
post /v1/providers/check
get /v1/providers/{provider_id}
patch /v1/providers/{provider_id}
delete /v1/providers/{provider_id}
post /v1/providers/{provider_id}/check
patch /v1/providers/{provider_id}/refresh
post /v1/agents/
get /v1/agents/
get /v1/agents/count
post /v1/agents/import
get /v1/agents/{agent_id}/export
post /v1/agents/{agent_id}/export
get /v1/agents/{agent_id}
patch /v1/agents/{agent_id}
delete /v1/agents/{agent_id}
post /v1/agents/{agent_id}/recompile
post /v1/agents/{agent_id}/system-prompt/recompile
get /v1/agents/{agent_id}/context
post /v1/agents/{agent_id}/generate
get /v1/agents/{agent_id}/core-memory
get /v1/agents/{agent_id}/core-memory/blocks
get /v1/agents/{agent_id}/core-memory/blocks/{block_label}
patch /v1/agents/{agent_id}/core-memory/blocks/{block_label}
patch /v1/agents/{agent_id}/core-memory/blocks/attach/{block_id}
patch /v1/agents/{agent_id}/core-memory/blocks/detach/{block_id}
get /v1/agents/{agent_id}/tools
patch /v1/agents/{agent_id}/tools/attach/{tool_id}
patch /v1/agents/{agent_id}/tools/detach/{tool_id}
patch /v1/agents/{agent_id}/tools/approval/{tool_name}
post /v1/agents/{agent_id}/tools/{tool_name}/run
post /v1/agents/{agent_id}/archival-memory
get /v1/agents/{agent_id}/archival-memory
get /v1/agents/{agent_id}/archival-memory/search
delete /v1/agents/{agent_id}/archival-memory/{memory_id}
post /v1/passages/search
patch /v1/agents/{agent_id}/messages/{message_id}
post /v1/agents/{agent_id}/messages/preview-raw-payload
post /v1/conversations/{conversation_id}/messages/preview-raw-payload
post /v1/messages/search
post /v1/messages/batches
get /v1/messages/batches
get /v1/messages/batches/{batch_id}
get /v1/messages/batches/{batch_id}/messages
patch /v1/messages/batches/{batch_id}/cancel
post /v1/agents/messages/search
post /v1/blocks/
get /v1/blocks/
get /v1/blocks/count
get /v1/blocks/{block_id}
patch /v1/blocks/{block_id}
delete /v1/blocks/{block_id}
get /v1/blocks/{block_id}/agents
get /v1/_internal_blocks/
post /v1/_internal_blocks/
delete /v1/_internal_blocks/{block_id}
get /v1/_internal_blocks/{block_id}/agents
get /v1/_internal_agents/count
patch /v1/_internal_agents/{agent_id}/core-memory/blocks/{block_label}
get /v1/tools/
get /v1/tools/count
get /v1/tools/{tool_id}
post /v1/tools/
put /v1/tools/
patch /v1/tools/{tool_id}
delete /v1/tools/{tool_id}
post /v1/tools/add-base-tools
post /v1/tools/generate-schema
post /v1/tools/search
post /v1/tools/run
get /v1/tags/
post /v1/conversations/{conversation_id}/fork
post /v1/mcp-servers/
get /v1/mcp-servers/
get /v1/mcp-servers/{mcp_server_id}
patch /v1/mcp-servers/{mcp_server_id}
delete /v1/mcp-servers/{mcp_server_id}
patch /v1/mcp-servers/{mcp_server_id}/refresh
get /v1/mcp-servers/connect/{mcp_server_id}
get /v1/mcp-servers/{mcp_server_id}/tools
get /v1/mcp-servers/{mcp_server_id}/tools/{tool_id}
post /v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run
get /v1/tools/mcp/servers
put /v1/tools/mcp/servers
patch /v1/tools/mcp/servers/{mcp_server_name}
delete /v1/tools/mcp/servers/{mcp_server_name}
post /v1/tools/mcp/servers/test
post /v1/tools/mcp/servers/connect
get /v1/tools/mcp/servers/{mcp_server_name}/tools
post /v1/tools/mcp/servers/{mcp_server_name}/resync
post /v1/tools/mcp/servers/{mcp_server_name}/{mcp_tool_name}
post /v1/tools/mcp/servers/{mcp_server_name}/tools/{tool_name}/execute
get /v1/_internal_runs/
get /v1/jobs/
get /v1/jobs/active
get /v1/jobs/{job_id}
patch /v1/jobs/{job_id}/cancel
delete /v1/jobs/{job_id}
patch /v1/steps/{step_id}/transaction/{transaction}
""".strip().splitlines()


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    from config.api import api

    return dict(api.get_openapi_schema())


@pytest.fixture
def operations(described: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{method} {path}": operation
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


@pytest.mark.parametrize("route", OURS)
def test_a_route_is_described(operations: dict[str, Any], route: str) -> None:
    assert route in operations


def test_every_answer_of_a_route_has_a_shape(operations: dict[str, Any]) -> None:
    plain = {name for name in operations if name.startswith("delete ")}
    bare = [
        name
        for name, operation in operations.items()
        if name not in plain and "stream" not in name and 200 not in operation["responses"]
    ]
    assert bare == []


def test_operation_ids_are_unique(operations: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(ids) == len(set(ids))


def test_every_route_but_health_wants_a_key(operations: dict[str, Any]) -> None:
    without = {name for name, operation in operations.items() if not operation.get("security")}
    assert without == {"get /v1/health/", "get /v1/ready/"}


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    named = set(re.findall(r"#/components/schemas/([\w.\-\[\]]+)", str(described)))
    assert named <= set(described["components"]["schemas"])
    assert "AgentState" in named


def test_the_documentation_loads_nothing_from_elsewhere() -> None:
    page = Client().get("/v1/docs").content.decode()
    assets = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert assets
    assert [asset for asset in assets if not asset.startswith("/static/")] == []
    for asset in assets:
        assert finders.find(asset.removeprefix("/static/")), asset


def test_the_description_is_served_without_a_key() -> None:
    assert Client().get("/v1/openapi.json").json()["info"]["title"] == "Perennial"
