"""`client.mcp_servers`, method by method, with a real MCP server."""

from __future__ import annotations

from typing import Any

import pytest
from letta_client import NotFoundError

from tests.e2e.surface.world import World, calls


def config(world: World, path: str = "/mcp") -> Any:
    return {"mcp_server_type": "streamable_http", "server_url": world.mcp_url + path}


def add(world: World, name: str, path: str = "/mcp") -> Any:
    return world.client.mcp_servers.create(server_name=name, config=config(world, path))


def tool_named(world: World, server_id: str, name: str) -> Any:
    """A name that another tool has already is preceded by the server's."""
    tools = world.client.mcp_servers.tools.list(server_id)
    [found] = [tool for tool in tools if tool.name == name or tool.name.endswith(f"_{name}")]
    return found


@calls("mcp_servers.create")
def mcp_servers_create(world: World) -> Any:
    made = add(world, "made")
    assert (made.server_name, made.mcp_server_type) == ("made", "streamable_http")
    return made


@calls("mcp_servers.retrieve")
def mcp_servers_retrieve(world: World) -> Any:
    made = add(world, "kept")
    found = world.client.mcp_servers.retrieve(made.id)
    assert found.server_url == made.server_url
    return found


@calls("mcp_servers.list")
def mcp_servers_list(world: World) -> Any:
    made = add(world, "listed")
    found = world.client.mcp_servers.list()
    assert made.id in {server.id for server in found}
    return found


@calls("mcp_servers.update")
def mcp_servers_update(world: World) -> Any:
    made = add(world, "old-name")
    changed = world.client.mcp_servers.update(made.id, server_name="new-name", config=config(world))
    assert changed.server_name == "new-name"
    return changed


@calls("mcp_servers.delete")
def mcp_servers_delete(world: World) -> Any:
    made = add(world, "gone")
    answer = world.client.mcp_servers.delete(made.id)
    with pytest.raises(NotFoundError):
        world.client.mcp_servers.retrieve(made.id)
    return answer


@calls("mcp_servers.refresh")
def mcp_servers_refresh(world: World) -> Any:
    made = add(world, "refreshed", "/changing")
    assert tool_named(world, made.id, "goes")
    world.client.mcp_servers.tools.run(tool_named(world, made.id, "change").id, mcp_server_id=made.id)
    answer = world.client.mcp_servers.refresh(made.id)
    assert tool_named(world, made.id, "comes")
    return answer


@calls("mcp_servers.tools.list")
def mcp_servers_tools_list(world: World) -> Any:
    made = add(world, "with-tools")
    assert tool_named(world, made.id, "echo")
    return world.client.mcp_servers.tools.list(made.id)


@calls("mcp_servers.tools.retrieve")
def mcp_servers_tools_retrieve(world: World) -> Any:
    made = add(world, "with-one")
    found = world.client.mcp_servers.tools.retrieve(tool_named(world, made.id, "add").id, mcp_server_id=made.id)
    assert (found.name.endswith("add"), found.tool_type) == (True, "external_mcp")
    return found


@calls("mcp_servers.tools.run")
def mcp_servers_tools_run(world: World) -> Any:
    made = add(world, "run")
    tool = tool_named(world, made.id, "add")
    answer = world.client.mcp_servers.tools.run(tool.id, mcp_server_id=made.id, args={"a": 2, "b": 3})
    assert (answer.status, answer.func_return) == ("success", "5")
    return answer
