"""Every route of the API, walked with the ids of another organization, without a key, and with keys that may not.

The routes are read from the API's own description. A new one that this file does not know how to call fails a test here:
add its path parameter to `theirs`, or its body to `BODIES`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models import Model
from django.forms.models import model_to_dict

from accounts.actions import NewKey, create_api_key
from agents.mcp.models import McpServer
from agents.mcp.target import sealed
from agents.models import Agent, AgentBlock, AgentTool, Archive, Block, Passage, Tool, ToolType
from config.api import api as ninja
from conversations.batch_models import Batch
from conversations.models import Conversation, Message, Run, Step
from providers.models import Provider
from tests.support.api import Answer, Api, Tenant
from tests.support.seed import Seeded, Size, seed

METHODS = ("get", "post", "patch", "put", "delete")
OPEN = {"get /v1/health/", "get /v1/ready/"}
# What a key that may only read is allowed to send by another method than GET, since nothing is changed by it.
READING = {
    "post /v1/passages/search",
    "post /v1/messages/search",
    "post /v1/agents/messages/search",
    "post /v1/tools/generate-schema",
    "post /v1/tools/search",
    "post /v1/runs/{run_id}/stream",
    "post /v1/conversations/{conversation_id}/stream",
}
SEND = {"input": "[[say hi]]"}
NOWHERE = "http://127.0.0.1:9/mcp"
OLDER_MCP = {"server_name": "new", "type": "sse", "server_url": NOWHERE}
# The least that a route with a required body takes.
SOURCE = 'def one():\n    """One."""\n'
BODIES: dict[str, dict[str, Any]] = {
    "post /v1/tools/": {"source_code": SOURCE},
    "put /v1/tools/": {"source_code": SOURCE},
    "post /v1/tools/generate-schema": {"code": SOURCE},
    "post /v1/agents/{agent_id}/tools/{tool_name}/run": {"args": {}},
    "patch /v1/agents/{agent_id}/tools/approval/{tool_name}": {"requires_approval": True},
    "post /v1/agents/": {"name": "new", "model": "scripted/demo"},
    "post /v1/blocks/": {"label": "new", "value": "x"},
    "post /v1/_internal_blocks/": {"label": "new", "value": "x"},
    "post /v1/agents/{agent_id}/archival-memory": {"text": "x"},
    "post /v1/agents/{agent_id}/messages": SEND,
    "post /v1/agents/{agent_id}/generate": {"prompt": "x"},
    "post /v1/agents/{agent_id}/messages/stream": SEND,
    "post /v1/agents/{agent_id}/messages/async": SEND,
    "post /v1/agents/{agent_id}/messages/preview-raw-payload": SEND,
    "post /v1/conversations/{conversation_id}/messages/preview-raw-payload": SEND,
    "post /v1/conversations/{conversation_id}/messages": SEND,
    "post /v1/providers/": {"name": "new", "provider_type": "scripted", "api_key": "x"},
    "post /v1/providers/check": {"provider_type": "scripted", "api_key": "x"},
    "post /v1/messages/batches": {
        "requests": [{"input": "x", "agent_id": "agent-00000000-0000-4000-8000-000000000000"}]
    },
    "post /v1/tools/run": {"source_code": "def one():\n    return 1\n", "args": {}},
    "post /v1/messages/search": {"query": "hi"},
    "patch /v1/agents/{agent_id}/messages/{message_id}": {"message_type": "user_message", "content": "x"},
    "patch /v1/steps/{step_id}/feedback": {"feedback": "positive"},
    "post /v1/mcp-servers/": {"server_name": "new", "config": {"mcp_server_type": "sse", "server_url": NOWHERE}},
    "patch /v1/mcp-servers/{mcp_server_id}": {"server_name": "new", "config": {"mcp_server_type": "sse"}},
    "post /v1/mcp-servers/{mcp_server_id}/tools/{tool_id}/run": {"args": {}},
    "post /v1/tools/mcp/servers/connect": OLDER_MCP,
    "post /v1/tools/mcp/servers/test": OLDER_MCP,
    "put /v1/tools/mcp/servers": OLDER_MCP,
}
QUERIES: dict[str, dict[str, str]] = {"get /v1/agents/{agent_id}/archival-memory/search": {"query": "x"}}
# Texts of the caller's own, not references to rows.
NO_REFERENCE = {
    "return_token_ids",
    "otid",
    "sender_id",
    "group_id",
    "template_id",
    "base_template_id",
    "deployment_id",
    "entity_id",
}


@dataclass(frozen=True)
class Route:
    name: str
    method: str
    path: str
    path_ids: tuple[str, ...]
    query_ids: tuple[str, ...]
    body_ids: tuple[str, ...]


def _routes() -> Iterator[Route]:
    described = ninja.get_openapi_schema()
    schemas = described["components"]["schemas"]
    for path, item in described["paths"].items():
        for method, operation in item.items():
            if method not in METHODS:
                continue
            parameters = operation.get("parameters", [])
            body = str(operation.get("requestBody", {}))
            fields = [name for ref in re.findall(r"schemas/(\w+)", body)[:1] for name in schemas[ref]["properties"]]
            yield Route(
                name=f"{method} {path}",
                method=method,
                path=path.removeprefix("/v1"),
                path_ids=tuple(p["name"] for p in parameters if p["in"] == "path"),
                query_ids=tuple(p["name"] for p in parameters if p["in"] == "query" and _refers(p["name"])),
                body_ids=tuple(name for name in fields if _refers(name)),
            )


def _refers(name: str) -> bool:
    return name not in NO_REFERENCE and (name.endswith(("_id", "_ids")) or name in ("before", "after"))


ROUTES = list(_routes())
KEYED = [route for route in ROUTES if route.name not in OPEN]
WITH_IDS = [route for route in KEYED if any(name.endswith("_id") for name in route.path_ids)]
FIELDS = [
    pytest.param((route, place, name), id=f"{route.name} {place} {name}")
    for route in KEYED
    for place, names in (("query", route.query_ids), ("body", route.body_ids))
    for name in names
]


@dataclass(frozen=True)
class Side:
    """One organization's ids, by the names of the parameters that take them."""

    world: Seeded
    ids: dict[str, str]

    def of(self, name: str) -> str:
        """Also for the plural, and for cursors, which are ids of what is listed."""
        return self.ids[name.removesuffix("s") if name.endswith("_ids") else name]


def side(name: str) -> Side:
    world = seed(name, size=Size(agents=1, turns=1, days=1), number=len(name))  # else their trace ids are equal
    agent = world.agents[0]
    tool = Tool.objects.create(
        organization=world.organization, name=f"tool_of_{name}", tool_type=ToolType.CUSTOM, json_schema={"name": name}
    )
    provider = Provider.objects.create(
        organization=world.organization, name=f"of-{name}", provider_type="scripted", api_key="sk-of-" + name
    )
    server = McpServer.objects.create(
        organization=world.organization, name=name, server_type="sse", config=sealed({"server_url": NOWHERE})
    )
    assert world.archive is not None
    message = Message.objects.filter(conversation=world.conversations[0]).latest("seq")
    ids = {
        "agent_id": agent.pk,
        "block_id": world.blocks[0].pk,
        "block_label": world.blocks[0].label,
        "tool_id": tool.pk,
        "provider_id": provider.pk,
        "mcp_server_id": server.pk,
        "mcp_server_name": server.name,
        "mcp_tool_name": "search",
        "tool_name": "search",
        "memory_id": world.passages[0].pk,
        "archive_id": world.archive.pk,
        "conversation_id": world.conversations[0].pk,
        "message_id": message.pk,
        "run_id": world.runs[0].pk,
        "job_id": world.runs[0].pk.replace("run", "job"),
        "transaction": "tx-1",
        "step_id": world.steps[0].pk,
        "project_id": world.project.pk,
        "identity_id": f"identity-{uuid.uuid4()}",
        "folder_id": f"source-{uuid.uuid4()}",
        "source_id": f"source-{uuid.uuid4()}",
        "created_by_id": world.owner.pk,
        "trace_id": world.runs[0].trace_id,
        "batch_id": Batch.objects.create(organization=world.organization, request_count=1).pk,
    }
    return Side(world, ids)


@pytest.fixture
def ours(db: None) -> Side:
    return side("ours")


@pytest.fixture
def theirs(db: None) -> Side:
    return side("theirs")


@pytest.fixture
def us(ours: Side) -> Api:
    return Api(ours.world.secret)


def listed_cursor(route: Route, whose: Side) -> str:
    """An id of what the route lists."""
    noun = route.path.rstrip("/").rpartition("/")[2]
    nouns = {
        "agents": "agent_id",
        "blocks": "block_id",
        "tools": "tool_id",
        "providers": "provider_id",
        "messages": "message_id",
        "conversations": "conversation_id",
        "batches": "batch_id",
        "runs": "run_id",
        "jobs": "job_id",
        "active": "job_id",
        "_internal_runs": "run_id",
        "_internal_blocks": "block_id",
        "steps": "step_id",
        "archival-memory": "memory_id",
    }
    return whose.ids[nouns[noun]] if noun in nouns else "tag"


def call(client: Api, route: Route, ids: dict[str, str], query: dict[str, Any], body: dict[str, Any]) -> Answer:
    path = route.path.format(**ids)
    if query:
        path += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    if route.method == "get":
        return client.get(path)
    if route.method == "delete":
        return client.delete(path)
    answer: Answer = getattr(client, route.method)(path, body)
    return answer


def rows_of(whose: Side) -> dict[str, Any]:
    """All that the organization has, to see that nobody changed it."""
    organization = whose.world.organization
    models: tuple[type[Model], ...] = (
        Agent,
        Block,
        Tool,
        Provider,
        Archive,
        Passage,
        Conversation,
        Message,
        Run,
        Step,
        McpServer,
        Batch,
    )
    found: dict[str, Any] = {
        model.__name__: {row.pk: model_to_dict(row) for row in model._default_manager.filter(organization=organization)}
        for model in models
    }
    for link in (AgentBlock, AgentTool):
        found[link.__name__] = sorted(link._default_manager.filter(agent__organization=organization).values_list("pk"))
    return found


def ids_in(answer: Answer, whose: Side) -> set[str]:
    """Ids of the organization's rows that the answer has."""
    text = answer.response.content.decode()
    named = {whose.ids[name] for name in whose.ids if name != "block_label"}
    rows = rows_of(whose)
    return {
        one
        for one in named | {str(pk) for model in rows.values() if isinstance(model, dict) for pk in model}
        if one in text
    }


def told(answer: Answer) -> str:
    return f"{answer.status}: {answer.response.content[:200]!r}"


def swept(client: Api, route: Route, ids: dict[str, str]) -> Answer:
    return call(client, route, ids, QUERIES.get(route.name, {}), BODIES.get(route.name, {}))


def test_another_organizations_ids_are_not_found(us: Api, theirs: Side) -> None:
    before = rows_of(theirs)
    answers = {route.name: swept(us, route, theirs.ids) for route in WITH_IDS}
    assert {name: told(answer) for name, answer in answers.items() if answer.status != 404} == {}
    assert rows_of(theirs) == before


def test_another_organizations_id_beside_one_of_ours_is_not_found(us: Api, ours: Side, theirs: Side) -> None:
    before = rows_of(theirs)
    answers = {
        f"{route.name} ({name})": swept(us, route, {**ours.ids, name: theirs.ids[name]})
        for route in WITH_IDS
        if len(route.path_ids) > 1
        for name in route.path_ids
        if name.endswith("_id")
    }
    assert {name: told(answer) for name, answer in answers.items() if answer.status != 404} == {}
    assert rows_of(theirs) == before


@pytest.mark.parametrize("sent", FIELDS)
def test_another_organizations_id_in_a_field_shows_and_changes_nothing(
    us: Api, ours: Side, theirs: Side, sent: tuple[Route, str, str]
) -> None:
    """Not found; or, where the field narrows a list, an empty one."""
    route, place, name = sent
    before = rows_of(theirs)
    foreign = listed_cursor(route, theirs) if name in ("before", "after") else theirs.of(name)
    given: Any = [foreign] if name.endswith("_ids") and place == "body" else foreign
    query = {**QUERIES.get(route.name, {}), **({name: given} if place == "query" else {})}
    body = {**BODIES.get(route.name, {}), **({name: given} if place == "body" else {})}
    answer = call(us, route, ours.ids, query, body)
    assert answer.status in (200, 400, 404, 422), f"{answer.status}: {answer.response.content[:500]!r}"
    if answer.status == 200:
        assert not ids_in(answer, theirs), answer.response.content[:500]
    assert rows_of(theirs) == before


def test_without_a_key_a_route_is_closed(ours: Side) -> None:
    strangers = (Api(None), Api("pn_0123456789ab_wrong"), Api(ours.world.secret[:-1] + "~"), Api("sk-other"))
    answers = {(route.name, n): swept(one, route, ours.ids) for route in KEYED for n, one in enumerate(strangers)}
    assert {name: told(answer) for name, answer in answers.items() if answer.status != 401 or not answer.detail} == {}


def test_a_key_that_may_only_read_changes_nothing(ours: Side) -> None:
    _, key = create_api_key(ours.world.organization, ours.world.owner, NewKey(name="reader", scopes=["read"]))
    before = rows_of(ours)
    writing = [route for route in KEYED if route.method != "get" and route.name not in READING]
    answers = {route.name: swept(Api(key), route, ours.ids) for route in writing}
    refused = {name for name, answer in answers.items() if answer.status == 403 and "write" in answer.detail}
    assert {name: told(answer) for name, answer in answers.items() if name not in refused} == {}
    assert rows_of(ours) == before


def malformed(name: str, ids: dict[str, str]) -> list[str]:
    """Ids that are none, and one of another kind."""
    if name.endswith("_name"):
        return []  # any text is one
    if name == "block_label":
        return ["not an id!"]
    if name == "transaction":
        return ["x" * 201]
    other = ids["run_id"] if name != "run_id" else ids["step_id"]
    return ["agent-123", f"x{ids[name]}", ids[name][:-1], other]


def test_a_malformed_id_is_named(us: Api, ours: Side) -> None:
    answers = {
        (route.name, name, value): swept(us, route, {**ours.ids, name: value})
        for route in KEYED
        for name in route.path_ids
        for value in malformed(name, ours.ids)
    }
    named = {key for key, answer in answers.items() if answer.status == 422 and key[1] in answer.detail}
    assert {key: told(answer) for key, answer in answers.items() if key not in named} == {}


def test_routes_that_need_no_key_are_few(tenant: Tenant) -> None:
    for name in OPEN:
        assert Api(None).get(name.removeprefix("get /v1")).status == 200
    for path in ("/openapi.json", "/docs"):
        assert Api(None).get(path).status == 200


def test_another_organizations_project_is_not_found(us: Api, theirs: Side) -> None:
    answer = us.get("/agents/", headers={"X-Project-Id": theirs.ids["project_id"]})
    assert answer.status == 404


def test_the_sweep_knows_every_route() -> None:
    assert len(WITH_IDS) > 40
    known = {"agent_id", "block_id", "block_label", "tool_id", "memory_id", "conversation_id"}
    known |= {"message_id", "run_id", "step_id", "provider_id", "batch_id"}
    known |= {"mcp_server_id", "mcp_server_name", "mcp_tool_name", "tool_name"}
    known |= {"job_id", "transaction"}
    unknown = {name for route in KEYED for name in route.path_ids} - known
    assert not unknown, f"add to side(), and here: {unknown}"
