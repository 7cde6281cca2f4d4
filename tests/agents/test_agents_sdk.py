"""Letta's own Python SDK, unchanged, against our agents, blocks, tools, passages, models and tags."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import letta_client
import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from letta_client import Letta

from tests.support.api import Tenant


@pytest.fixture
def sdk(tenant: Tenant) -> Iterator[Letta]:
    transport = httpx.WSGITransport(get_wsgi_application())  # type: ignore[arg-type]
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # as Django's own test client does: the test's transaction goes on
    with httpx.Client(transport=transport, base_url="http://test") as http:
        yield Letta(base_url="http://test", api_key=tenant.key, http_client=http, max_retries=0)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_an_agents_life(sdk: Letta) -> None:
    blocks = [{"label": "human", "value": "Name: Ada."}, {"label": "persona", "value": "I am Sam."}]
    agent = sdk.agents.create(name="Sam", model="scripted/demo", memory_blocks=blocks, tags=["a"])
    assert [block.label for block in agent.blocks] == ["human", "persona"]
    assert sdk.agents.retrieve(agent.id, include=["agent.tags"]).tags == ["a"]
    assert sdk.agents.update(agent.id, description="d", metadata={"k": 1}).description == "d"
    assert "Name: Ada." in sdk.agents.recompile(agent.id)
    sdk.agents.delete(agent.id)
    with pytest.raises(letta_client.NotFoundError):
        sdk.agents.retrieve(agent.id)


def test_an_agent_goes_through_a_file(sdk: Letta) -> None:
    agent = sdk.agents.create(name="Sam", model="scripted/demo", secrets={"TOKEN": "old"})
    written = sdk.agents.export_file(agent.id)
    made = sdk.agents.import_file(
        file=("sam.af", written.encode()), name="Eve", secrets='{"TOKEN": "new"}', strip_messages=True
    )
    copy = sdk.agents.retrieve(made.agent_ids[0], include=["agent.secrets"])
    assert (copy.name, [secret.key for secret in copy.secrets or []]) == ("Eve", ["TOKEN"])
    with pytest.raises(letta_client.UnprocessableEntityError, match="agents"):
        sdk.agents.import_file(file=("sam.af", b"{}"))


def test_lists_are_walked_page_by_page(sdk: Letta) -> None:
    made = [sdk.agents.create(name=f"Agent {n}", model="scripted/demo").id for n in range(5)]
    assert [agent.id for agent in sdk.agents.list(limit=2, order="asc")] == made
    assert [agent.id for agent in sdk.agents.list(limit=2)] == made[::-1]
    assert len(list(sdk.tools.list(limit=3))) == len({tool.id for tool in sdk.tools.list(limit=200)})


def test_blocks_alone_and_on_an_agent(sdk: Letta) -> None:
    agent = sdk.agents.create(model="scripted/demo")
    block = sdk.blocks.create(label="notes", value="v1", limit=500)
    assert [b.label for b in sdk.agents.blocks.attach(block.id, agent_id=agent.id).blocks] == ["notes"]
    assert sdk.agents.blocks.update("notes", agent_id=agent.id, value="v2").value == "v2"
    assert sdk.agents.blocks.retrieve("notes", agent_id=agent.id).value == sdk.blocks.retrieve(block.id).value == "v2"
    assert [b.id for b in sdk.agents.blocks.list(agent.id)] == [block.id] == [b.id for b in sdk.blocks.list()]
    assert [a.id for a in sdk.blocks.agents.list(block.id)] == [agent.id]
    with pytest.raises(letta_client.UnprocessableEntityError, match="limit"):
        sdk.blocks.update(block.id, value="x" * 501)
    assert sdk.agents.blocks.detach(block.id, agent_id=agent.id).blocks == []
    sdk.blocks.delete(block.id)


def test_tools_of_an_agent(sdk: Letta) -> None:
    agent = sdk.agents.create(model="scripted/demo", include_base_tools=False)
    tool = next(iter(sdk.tools.list(name="memory_rethink")))
    assert sdk.agents.tools.attach(tool.id, agent_id=agent.id) is None
    assert [t.id for t in sdk.agents.tools.list(agent.id)] == [tool.id] == [sdk.tools.retrieve(tool.id).id]
    assert sdk.agents.tools.detach(tool.id, agent_id=agent.id) is None
    assert list(sdk.agents.tools.list(agent.id)) == []


def test_archival_memory(sdk: Letta) -> None:
    agent = sdk.agents.create(model="scripted/demo", embedding="scripted/hashing-384")
    [passage] = sdk.agents.passages.create(agent.id, text="The capital of France is Paris.", tags=["geo"])
    assert [p.id for p in sdk.agents.passages.list(agent.id)] == [passage.id]
    assert sdk.agents.passages.search(agent.id, query="capital of France").results[0].id == passage.id
    assert sdk.passages.search(query="capital", agent_id=agent.id)[0].passage.id == passage.id
    sdk.agents.passages.delete(str(passage.id), agent_id=agent.id)
    assert sdk.agents.passages.list(agent.id) == []


def test_health_models_and_tags(sdk: Letta) -> None:
    assert sdk.health().status == "ok"
    assert "scripted/demo" in {model.handle for model in sdk.models.list()}
    assert "scripted/hashing-384" in {model.handle for model in sdk.models.embeddings.list()}
    sdk.agents.create(model="scripted/demo", tags=["x", "y"])
    assert sdk.tags.list() == ["x", "y"]


def test_what_goes_wrong_has_the_sdks_classes(sdk: Letta) -> None:
    with pytest.raises(letta_client.BadRequestError, match="scripted/demo"):
        sdk.agents.create(model="scripted/nope")
    with pytest.raises(letta_client.UnprocessableEntityError, match="agent_id"):
        sdk.agents.retrieve("nonsense")
    with pytest.raises(letta_client.AuthenticationError):
        sdk.with_options(api_key="pn_000000000000_x").agents.list()


@pytest.mark.usefixtures("mcp_allowed")
def test_mcp_servers_and_their_tools(sdk: Letta, mcp_url: str) -> None:
    config = {"mcp_server_type": "streamable_http", "server_url": f"{mcp_url}/mcp", "auth_token": "secret"}
    server = sdk.mcp_servers.create(server_name="demo", config=config)  # type: ignore[arg-type]
    assert type(server).__name__ == "StreamableHTTPMcpServer"
    assert server.id is not None
    assert [found.id for found in sdk.mcp_servers.list()] == [server.id] == [sdk.mcp_servers.retrieve(server.id).id]
    tools = {tool.name: tool for tool in sdk.mcp_servers.tools.list(server.id)}
    assert tools["add"].tool_type == "external_mcp"
    assert sdk.mcp_servers.tools.retrieve(tools["add"].id, mcp_server_id=server.id) == tools["add"]
    ran = sdk.mcp_servers.tools.run(tools["add"].id, mcp_server_id=server.id, args={"a": 1, "b": 2})
    assert (ran.status, ran.func_return) == ("success", "3")
    assert sdk.mcp_servers.refresh(server.id) == {"added": [], "updated": [], "deleted": []}
    changed = {"mcp_server_type": "streamable_http", "custom_headers": {"X-A": "b"}}
    assert sdk.mcp_servers.update(server.id, server_name="new", config=changed).server_name == "new"  # type: ignore[arg-type]
    sdk.mcp_servers.delete(server.id)
    with pytest.raises(letta_client.NotFoundError):
        sdk.mcp_servers.retrieve(server.id)
